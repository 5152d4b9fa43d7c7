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


class Looker:
    """Something that looks for news and says what a failed look means."""

    def __init__(self, looked: threading.Event) -> None:
        """Say by `looked` that a look was made."""
        self._looked = looked

    def look(self) -> None:
        self._looked.set()

    def meaning(self) -> str:
        return "the old one stays"


def test_the_thread_ends_with_the_object_that_it_looks_for() -> None:
    looked, logger = threading.Event(), logging.getLogger("mlsd.test.ends")
    looker = Looker(looked)
    poll(looker.look, 0.01, logger, looker.meaning)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == logger.name)
    assert looked.wait(20) and thread.is_alive()
    del looker
    thread.join(20)
    assert not thread.is_alive()


def test_what_was_refused_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Backoff()
    assert not refused.holds("a")
    refused.add("a")
    assert refused.holds("a") and not refused.holds("b")
    monkeypatch.setattr(polling, "RETRY_S", 0.0)
    refused.add("a")
    assert not refused.holds("a")
