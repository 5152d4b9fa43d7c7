"""Fences around kfp on this machine: one run at a time, these packages, any path, and an end."""

import fcntl
import os
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

import mlsd
from mlsd.core.errors import UserError
from mlsd.core.home import Home

KEPT = 3


@contextmanager
def exclusive(home: Home) -> Iterator[Path]:
    """Hold the pipelines folder; the lock goes with the process.

    Raises:
        UserError: another run holds it.
    """
    folder = home.root / "pipelines"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another training run is under way; wait for it, then run this again") from None
        yield folder


def new_folder(parent: Path) -> Path:
    """A folder for one run; only the newest runs are kept."""
    numbers = sorted(int(path.name) for path in parent.iterdir() if path.name.isdigit())
    for number in numbers[: -(KEPT - 1)]:
        shutil.rmtree(parent / str(number))
    folder = parent / str(numbers[-1] + 1 if numbers else 1)
    folder.mkdir()
    return folder


@contextmanager
def environment(temporary: Path) -> Iterator[None]:
    """For the steps: where the packages lie, whatever the working directory, and temporary files under the run."""
    source = str(Path(mlsd.__file__).resolve().parents[1])
    changed = {
        "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])),
        "TMPDIR": str(temporary),
    }
    before = {name: os.environ.get(name) for name in changed}
    temporary.mkdir()
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def quoted_interpreter() -> Iterator[None]:
    """kfp puts the interpreter's path into a shell line as it is; in a folder with a space it has to be quoted."""
    before = sys.executable
    sys.executable = shlex.quote(before)
    try:
        yield
    finally:
        sys.executable = before


def _end_children() -> None:
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


@contextmanager
def deadline(seconds: float) -> Iterator[threading.Event]:
    """kfp waits for a step for ever: end what it started when the time is up; the event says that it was."""
    late = threading.Event()

    def end() -> None:
        late.set()
        _end_children()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
