"""Run the compiled pipeline on this machine: each step a process of its own, no Docker; one run at a time."""

import fcntl
import os
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

import psutil

import mlsd
from mlsd.core.errors import GateError, UserError
from mlsd.core.home import Home, read_json
from mlsd.pipelines.graph import IMAGE, compile_pipeline, training_pipeline

KEPT = 3
DEADLINE_S = 6 * 3600.0  # of one run, all steps


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
def _environment(temporary: Path) -> Iterator[None]:
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
def _quoted_interpreter() -> Iterator[None]:
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
def _deadline(seconds: float) -> Iterator[threading.Event]:
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


def reason(log: str) -> str:
    """The line of a failed run's output that says why: the last error, else the last line with words of its own."""
    lines = [line.strip() for line in log.splitlines() if re.search(r"[A-Za-z]{3}", line)]
    own = [line for line in lines if not re.search(r"\b(Task|Pipeline|Running|SUCCESS|FAILURE)\b", line)]
    errors = [line for line in own if re.search(r"Error\b|not found|Killed|Traceback|denied|No space", line)]
    return (errors or own or lines or ["no output"])[-1]


def _explain(folder: Path, log: Path) -> Exception:
    if not (folder / "error.json").exists():
        why = reason(log.read_text(encoding="utf-8", errors="replace"))
        return UserError(f"training pipeline failed: {why}; see {log}")
    error = read_json(folder / "error.json", "run `mlsd train` again")
    kind = GateError if error["kind"] == "gate" else UserError
    return kind(error["message"])


def run_pipeline(home: Home, folder: Path, arguments: dict[str, str]) -> None:
    """Compile the pipeline beside its outputs and run it; its output goes to a log file.

    Raises:
        UserError: a step met bad input, or broke down.
        GateError: a step refused.
    """
    from kfp import local

    compile_pipeline(folder / "pipeline.yaml")
    log = home.logs / "train.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    runner = local.SubprocessRunner(use_venv=False)
    with (
        log.open("w", encoding="utf-8") as output,
        redirect_stdout(output),
        _environment(folder / "tmp"),
        _quoted_interpreter(),
        _deadline(DEADLINE_S) as late,
    ):
        local.init(runner, pipeline_root=str(folder / "outputs"), workspace_root=str(folder / "workspace"))
        try:
            training_pipeline(IMAGE)(**arguments)
            return
        except RuntimeError:
            output.flush()
            failure = _explain(folder, log)
            if late.is_set():
                failure = UserError(f"training pipeline: no result within {DEADLINE_S:g} s, ended; see {log}")
    raise failure
