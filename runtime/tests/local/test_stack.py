"""The stack as a whole: up, up again, down, damaged in between, interrupted and killed."""

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlsd.core.errors import UserError
from mlsd.local import processes, stack, status
from mlsd.local.ports import HOST
from support.miniature import Miniature
from support.paths import PYTHONPATH
from support.trained import trained
from support.waiting import within

pytestmark = pytest.mark.slow


UP = "import pickle, sys; small = pickle.load(open(sys.argv[1], 'rb')); print('loaded', flush=True); small.up()"


def starter(small: Miniature, tmp_path: Path) -> subprocess.Popen[bytes]:
    """A process that brings the stack up, once it has imported what that needs: importlib can swallow a Ctrl-C."""
    (tmp_path / "small.pickle").write_bytes(pickle.dumps(small))
    argv = [sys.executable, "-c", UP, str(tmp_path / "small.pickle")]
    process = subprocess.Popen(
        argv, env={**os.environ, "PYTHONPATH": PYTHONPATH}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"loaded\n"
    return process


def marked(small: Miniature) -> list[int]:
    return [process.pid for process in processes._members(str(small.home.run), ())]


def test_up_twice_then_down_then_up_again(miniature: Miniature) -> None:
    miniature.up()
    before = processes.running(miniature.home)
    assert set(before) == {"envoy", "slot-a"}
    miniature.up()
    assert processes.running(miniature.home) == before
    said = {check.name: check.measured for check in status.status(miniature.design, miniature.home).checks}
    assert said == {
        "envoy": f"pid {before['envoy']}, ready",
        "slot-a": f"pid {before['slot-a']}, ready",
        "hooks": "stopped",
        "through the edge": "ready",
    }
    result = stack.down(miniature.home)
    assert result.passed
    assert marked(miniature) == []
    assert "nothing ran" in stack.down(miniature.home).summary
    miniature.up()
    assert miniature.rank().json()["release_id"] == 1
    assert len(miniature.ledger.releases()) == 1


def test_what_died_is_started_again(miniature: Miniature) -> None:
    miniature.up()
    killed = [psutil.Process(pid) for pid in processes.running(miniature.home).values()]
    for process in killed:
        process.kill()
    assert within(30, lambda: not any(map(processes._is_alive, killed)))
    miniature.up()
    assert miniature.rank().status_code == 200


def test_nothing_trained(miniature: Miniature) -> None:
    with pytest.raises(UserError, match=r"training\.json: not found; run `mlsd train` first"):
        stack.start(miniature.design, miniature.home, miniature.target, miniature.models, [])
    trained(miniature.home, None, None, refused="AUC: 0.55, designed 0.6 to 0.98")
    with pytest.raises(UserError, match=r"no model to serve: .* gates refused \(AUC: 0\.55, .* `training` in design"):
        miniature.up()


@pytest.mark.parametrize("offset", [0, 2, 3])
def test_a_port_in_use_is_named_and_nothing_is_started(miniature: Miniature, offset: int) -> None:
    port = miniature.ports.edge + offset
    with socket.socket() as taken:
        taken.bind((HOST, port))
        taken.listen()
        with pytest.raises(UserError, match=f"port {port} .* is in use.*MLSD_PORT"):
            miniature.up()
    assert marked(miniature) == []


@pytest.mark.parametrize("gone", ["run", "envoy", "."])
def test_half_deleted_state(miniature: Miniature, gone: str) -> None:
    """Whatever part of .mlsd is deleted under a running stack: down stops it, up works."""
    miniature.up()
    shutil.rmtree(miniature.home.root / gone)
    stack.down(miniature.home)
    assert marked(miniature) == []
    miniature.up()
    assert miniature.rank().status_code == 200


@pytest.mark.parametrize("delay", [0.2, 0.7, 1.5])
def test_interrupted_while_starting(miniature: Miniature, tmp_path: Path, delay: float) -> None:
    """Ctrl-C at any point leaves no process behind, and the next run works."""
    miniature.limits[1] = {"sleep_at_start": 3}
    process = starter(miniature, tmp_path)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert marked(miniature) == []
    miniature.limits.clear()
    miniature.up()


def test_killed_while_starting(miniature: Miniature, tmp_path: Path) -> None:
    miniature.limits[1] = {"sleep_at_start": 3}
    process = starter(miniature, tmp_path)
    assert within(60, lambda: marked(miniature) != [])
    process.kill()
    process.wait(60)
    stack.down(miniature.home)
    assert marked(miniature) == []


def test_outlives_the_command_that_started_it(miniature: Miniature, tmp_path: Path) -> None:
    """Envoy wants to die with the thread that started it; it must not."""
    process = starter(miniature, tmp_path)
    assert process.wait(60) == 0
    time.sleep(0.3)
    assert set(processes.running(miniature.home)) == {"envoy", "slot-a"}
    assert miniature.rank().status_code == 200


def test_a_new_world_under_a_live_release_is_refused(miniature: Miniature) -> None:
    """`mlsd data` would take its log away and turn its clock back."""
    stack.require_down(miniature.home, "a new world")
    miniature.up()
    with pytest.raises(UserError, match=r"a new world needs a stack that is down, found slot-a; run `mlsd down` first"):
        stack.require_down(miniature.home, "a new world")
    stack.down(miniature.home)
    stack.require_down(miniature.home, "a new world")
