"""Load that nobody waits for any more, and requests that are none: the run ends and says why (5.34)."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.loadtest import sender
from mlsd.local import processes
from support.paths import PYTHONPATH
from support.ranking_stand_in import serving
from support.waiting import within

pytestmark = pytest.mark.slow

STARTER = """
import os, sys, time
from pathlib import Path
from mlsd.design.design import load_design
from mlsd.core.home import Home
from mlsd.loadtest import sender
running = sender.start(load_design(), Home(Path(sys.argv[1])), host=sys.argv[2], seconds=600, rps=20)
running.wait_begun()
print(running.process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def asking(home: Home) -> Home:
    """A state folder with one request to send."""
    home.data.mkdir(parents=True)
    (home.data / "traffic.jsonl").write_text(json.dumps({"user_id": 7, "candidates": [1, 2]}) + "\n")
    return home


@pytest.mark.parametrize("how", ["by itself", "by down"])
def test_load_ends_when_whoever_started_it_is_killed(asking: Home, how: str) -> None:
    """A drill's load is an hour long; the next measurement would be of both."""
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    with serving() as host:
        argv = [sys.executable, "-c", STARTER, str(asking.root), host]
        with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as starter:
            assert starter.stdout is not None
            load = psutil.Process(int(starter.stdout.readline()))
            if how == "by down":
                processes.stop_all(asking)
                assert not processes._is_alive(load)
            starter.kill()
        assert within(30, lambda: not processes._is_alive(load))


def test_a_torn_line_of_the_traffic_is_named(asking: Home, design: Design) -> None:
    with (asking.data / "traffic.jsonl").open("a") as file:
        file.write('{"user_id": 8, "candi')
    with serving() as host, pytest.raises(UserError, match=r"traffic\.jsonl, line 2: no request .* run `mlsd data`"):
        sender.start(design, asking, host=host, seconds=5).wait()


def test_a_run_that_was_ended_keeps_its_result(asking: Home, design: Design) -> None:
    with serving() as host:
        running = sender.start(design, asking, host=host, seconds=600)
        running.wait_begun()
        first = running.finish()
        assert running.finish() is first


@pytest.mark.parametrize("retry", [True, False])
def test_what_is_refused_is_asked_again_when_the_server_says_so(asking: Home, design: Design, *, retry: bool) -> None:
    """Two answers a second, four asked for: with a second's patience fewer are refused for good, and all is counted."""
    with serving(most=2) as host:
        pattern = sender.Pattern(retry=retry)
        found = sender.start(design, asking, host=host, seconds=2, rps=4, pattern=pattern).wait()
    assert found.sent == 8
    assert (found.retried > 0) == retry
    assert found.errors == 0
    if retry:
        assert "refused and asked again" in found.refusals
    else:
        assert found.shed >= 2
