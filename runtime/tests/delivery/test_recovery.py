"""Whatever moment a release is interrupted or killed at: users are safe, nothing is left running that should not."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlsd.delivery.recovery import recover
from mlsd.local import processes
from support.miniature import Miniature
from support.paths import PYTHONPATH
from support.rollouts import staying
from support.waiting import within

pytestmark = pytest.mark.slow


RELEASER = """
import pickle, sys
from mlsd.delivery.release import run_release
small = pickle.load(open(sys.argv[1], "rb"))
run_release(small.design, small.home, small.target, small.models)
"""


def releaser(small: Miniature, tmp_path: Path) -> subprocess.Popen[bytes]:
    held = dataclasses.replace(small, design=staying(small.design))
    (tmp_path / "small.pickle").write_bytes(pickle.dumps(held))
    argv = [sys.executable, "-c", RELEASER, str(tmp_path / "small.pickle")]
    return subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": PYTHONPATH}, stderr=subprocess.DEVNULL)


def wait_for(small: Miniature, stage: str) -> None:
    assert within(60, lambda: any(release.stage == stage for release in small.ledger.releases()[1:]))


@pytest.mark.parametrize("stage", ["candidate", "canary"])
def test_interrupted(standing: Miniature, tmp_path: Path, stage: str) -> None:
    """Ctrl-C: traffic is back, the candidate's process is gone, the champion never noticed."""
    with standing.load() as load:
        process = releaser(standing, tmp_path)
        wait_for(standing, stage)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode != 0
    assert set(load.codes) == {200}
    assert set(processes.running(standing.home)) == {"envoy", "slot-a"}
    assert [r.stage for r in standing.ledger.releases()][-1] == "rejected"
    assert "interrupted" in standing.ledger.history()[-1].reason


@pytest.mark.fault("Controller killed mid-step", "next command takes the candidate's traffic away; 0 errors")
@pytest.mark.parametrize("stage", ["canary"])
def test_killed(standing: Miniature, tmp_path: Path, stage: str) -> None:
    """SIGKILL: the next command finds the candidate without anyone who watches it and takes its traffic away."""
    with standing.load() as load:
        process = releaser(standing, tmp_path)
        wait_for(standing, stage)
        time.sleep(0.2)
        process.kill()
        process.wait(60)
        time.sleep(0.3)
        assert len(recover(standing.ledger, standing.target)) == 1
        moment = time.monotonic()
        assert within(30, lambda: load.since(moment).total() >= 60)
    assert set(load.codes) == {200}
    assert set(load.since(moment)) == {1}
    assert set(processes.running(standing.home)) == {"envoy", "slot-a"}
    assert [r.stage for r in standing.ledger.releases()][-1] == "rejected"
    assert recover(standing.ledger, standing.target) == []
