"""What looks for news outlives every error and says it once; what was refused is tried again (5.11, 5.35)."""

import logging
import threading

import pytest

from mlsd.core import polling
from mlsd.core.polling import Backoff, poll

LOGGER = logging.getLogger("mlsd.test")


def test_an_error_is_said_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    errors = iter([SystemError("odd"), SystemError("odd"), MemoryError("full"), SystemError("odd")])
    seen, done = [], threading.Event()

    def look() -> None:
        error = next(errors, None)
        if error is None:
            done.set()
            return
        seen.append(str(error))
        raise error

    poll(look, 0.001, LOGGER, lambda: "the old one stays")
    assert done.wait(20)
    assert seen == ["odd", "odd", "full", "odd"]
    assert [record.getMessage() for record in caplog.records] == [
        f"the old one stays: {x}" for x in ("odd", "full", "odd")
    ]


def test_the_first_look_can_be_the_callers_own() -> None:
    threads = []
    poll(lambda: threads.append(threading.current_thread()), 3600, LOGGER, str, at_once=True)
    assert threads == [threading.current_thread()]


def test_what_was_refused_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Backoff()
    assert not refused.holds("a")
    refused.add("a")
    assert refused.holds("a") and not refused.holds("b")
    monkeypatch.setattr(polling, "RETRY_S", 0.0)
    refused.add("a")
    assert not refused.holds("a")
