"""The bench: its client counts right, its verdicts fire, and the command measures and writes."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest

from conftest import PROJECT, ROOT, RUNTIME

from render_defaults import render

sys.path.insert(0, str(ROOT / "bench"))
client = import_module("rig.client")
goals = import_module("rig.goals")
results = import_module("rig.results")


class Answers(ThreadingTCPServer):
    """Answers every request at once, but for those it was told to treat otherwise."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, special: dict[int, str]) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.special, self.seen, self.lock = special, 0, threading.Lock()


class Conversation(StreamRequestHandler):
    """One connection."""

    server: Answers

    def handle(self) -> None:
        while head := self._head():
            self.rfile.read(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            with self.server.lock:
                kind = self.server.special.get(self.server.seen, "whole")
                self.server.seen += 1
            if kind == "hang up":
                return
            if kind == "stall":
                time.sleep(0.5)
            body = b'{"degraded":["pruned"]}' if kind == "pruned" else b'{"degraded":[]}'
            status = b"429 Busy" if kind == "refused" else b"200 OK"
            length = str(len(body)).encode()
            timing = b"server-timing: features;dur=1.5, service;dur=2.5\r\n"
            self.wfile.write(
                b"HTTP/1.1 " + status + b"\r\n" + timing + b"Content-Length: " + length + b"\r\n\r\n" + body
            )

    def _head(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in {b"", b"\r\n"}:
            lines.append(line)
        return b"".join(lines)


@contextmanager
def asked(tmp_path: Path, special: dict[int, str], **job: Any) -> Iterator[dict[str, Any]]:
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text('{"user_id":1}\n{"user_id":2}', encoding="utf-8")
    with Answers(special) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wanted = client.Job(server.server_address[1], "/rank", str(bodies), full='"degraded":[]', **job)
        yield client.run(wanted)
        server.shutdown()


def test_the_client_tells_whole_pruned_refused_and_broken_answers_apart(tmp_path: Path) -> None:
    special = {3: "pruned", 5: "refused", 7: "hang up"}
    with asked(tmp_path, special, seconds=0.2, connections=2, least=30, reconnect=True, hops=True) as seen:
        assert seen["sent"] >= 30
        assert seen["statuses"] == {"200": seen["sent"] - 2, "429": 1, "0": 1}
        assert seen["whole"] == seen["sent"] - 3
        assert seen["degraded"] == {'"pruned"': 1}
        assert seen["hops"]["features"]["p50_ms"] == pytest.approx(1.5)


def test_an_open_loop_counts_from_the_schedule(tmp_path: Path) -> None:
    """5.33: behind one stalled answer the others are late, and say so; a closed loop would hide it."""
    with asked(tmp_path, {5: "stall"}, seconds=0.6, connections=1, rate=50.0, timeline=True) as seen:
        assert seen["sent"] == 30
        late = [took for _, took, *_ in seen["timeline"] if took > 100]
        assert len(late) >= 10
        assert seen["max_ms"] >= 450


def test_a_broken_connection_is_an_error_unless_it_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), asked(tmp_path, {2: "hang up"}, seconds=0.2):
        pass


def made_up(**changes: Any) -> dict[str, Any]:
    batch = {"scores_a_second": 2e6, "peak_mb": 300.0}
    worker = {"answered": 0.9995, "requests": 3000}
    return {"batch": batch | changes.get("batch", {}), "worker_drill": worker | changes.get("worker_drill", {})}


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {row[0]: row[-1] for row in results.judged(found)}


def test_a_goal_is_met_missed_or_not_measured() -> None:
    batch, worker = "batch: scores a second on 2 cores", "one worker SIGKILLed under load"
    good = verdicts(made_up())
    assert good[batch] == good[worker] == "met"
    assert set(good.values()) == {"met", "**not measured**"}
    assert verdicts(made_up(batch={"scores_a_second": 9e5}))[batch] == "**missed**"
    assert verdicts(made_up(batch={"peak_mb": 1001.0}))[batch] == "**missed**"
    assert verdicts(made_up(worker_drill={"answered": 0.9989}))[worker] == "**missed**"
    assert len(good) == len(goals.GOALS) == 13


def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    """5.33: a small world, three parts; exit 0 though the goals are not for such sizes."""
    design = tmp_path / "design.yaml"
    design.write_text(render("design.yaml"), encoding="utf-8")
    path = os.pathsep.join([str(ROOT / "bench"), str(RUNTIME / "src"), str(PROJECT / "src")])
    env = os.environ | {"PYTHONPATH": path, "MLSD_DESIGN": str(design), "MLSD_HOME": str(tmp_path / "unused")}
    output, parts = tmp_path / "RESULTS.md", ["merging", "feature_log", "batch"]
    command = [sys.executable, str(ROOT / "bench" / "serving.py"), "--quick", "--folder", str(tmp_path / "bench")]
    done = subprocess.run(
        [*command, "--output", str(output), "--only", *parts], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "unused").exists()
    found = json.loads((tmp_path / "bench" / "results.json").read_text(encoding="utf-8"))["found"]
    assert found["feature_log"]["exact"] == found["feature_log"]["replayed"] > 0
    assert found["feature_log"]["bytes_a_request"] > 100
    assert found["batch"]["scores"] == found["batch"]["users"] * 200
    text = output.read_text(encoding="utf-8")
    assert text.startswith("# Serving, side by side\n")
    assert all(goal.measure in text for goal in goals.GOALS)
