"""Run the compiled pipeline on this machine: each step a process of its own, no Docker; one run at a time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import mlsd
from mlsd.core.errors import GateError, UserError
from mlsd.core.home import Home, read_json
from mlsd.pipelines.graph import IMAGE, compile_pipeline, training_pipeline

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


def _explain(folder: Path, log: Path) -> Exception:
    if not (folder / "error.json").exists():
        lines = [
            line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        found = [line for line in lines if "Error" in line] or lines
        return UserError(f"training pipeline failed: {found[-1] if found else 'no output'}; see {log}")
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
    with log.open("w", encoding="utf-8") as output, redirect_stdout(output), _environment(folder / "tmp"):
        local.init(runner, pipeline_root=str(folder / "outputs"), workspace_root=str(folder / "workspace"))
        try:
            training_pipeline(IMAGE)(**arguments)
            return
        except RuntimeError:
            output.flush()
            failure = _explain(folder, log)
    raise failure
