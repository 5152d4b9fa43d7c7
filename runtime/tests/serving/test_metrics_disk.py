"""Metrics on a full disk: their memory maps have their blocks from the start, or the process waits for them (5.36)."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlsd.serving.telemetry import metrics
from support import small_disk
from support.gameday import Seen

WORKER = """
import sys
from contextlib import suppress
from pathlib import Path
from mlsd.design.design import load_design
from mlsd.serving.telemetry import metrics

if sys.argv[1] == "reserved":
    metrics.reserve()
counts = metrics.Metrics(load_design())
with open(Path(sys.argv[2]) / "filler", "wb", buffering=0) as filler, suppress(OSError):
    while True:
        filler.write(bytes(4096))
for k in range(300):
    counts.refused(f"role-{k}", 400)
    counts.ages({f"view-{k % 10}": 1.0})
print(metrics.exposition().count(b"role-"))
"""


def run(folder: Path, how: str) -> "subprocess.CompletedProcess[str]":
    """A process that meets 300 new labels after its disk has filled up."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    argv = [*small_disk.under(folder), sys.executable, "-c", WORKER, how, str(folder)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
@pytest.mark.fault("Disk full for metrics", "the worker lives and goes on counting")
def test_new_labels_on_a_full_disk_do_not_end_the_process(tmp_path: Path, seen: Seen) -> None:
    done = run(tmp_path / "one", "reserved")
    assert (done.returncode, done.stdout.strip()) == (0, "300"), done.stderr
    if small_disk.may_mount():
        assert run(tmp_path / "two", "as it comes").returncode == -signal.SIGBUS
    seen("300 new labels counted on a full disk; without reserving its blocks the process ends by SIGBUS")


def test_a_process_without_room_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = iter([errno.ENOSPC, errno.EDQUOT, errno.ENOSPC])
    reserve = os.posix_fallocate

    def full_for_a_while(file: int, start: int, size: int) -> None:
        if (code := next(refusals, None)) is not None:
            raise OSError(code, os.strerror(code))
        reserve(file, start, size)

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", full_for_a_while)
    monkeypatch.setattr(metrics, "RETRY_S", 0.01)
    metrics.reserve()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {f"{kind}_{os.getpid()}.db": metrics.FILE_BYTES for kind in metrics.FILES}
    assert len([line for line in caplog.messages if "no room on the disk" in line]) == 1


def test_the_reserved_files_are_those_that_are_used(tmp_path: Path) -> None:
    """A metric of another kind would lie in a file that nobody reserved."""
    code = (
        "from mlsd.design.design import load_design; from mlsd.serving.telemetry.metrics import Metrics;"
        "m = Metrics(load_design()); m.model('e', 1, 1); m.refused('live', 400)"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    kinds = {path.stem.rpartition("_")[0] for path in tmp_path.glob("*.db")}
    assert kinds == set(metrics.FILES)
    assert all(path.stat().st_size <= metrics.FILE_BYTES / 4 for path in tmp_path.glob("*.db"))
