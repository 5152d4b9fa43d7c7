"""Run the compiled pipeline on this machine: each step a process of its own, no Docker; one run at a time."""

import re
from contextlib import redirect_stdout
from pathlib import Path

from mlsd.core.errors import GateError, UserError
from mlsd.core.home import Home, read_json
from mlsd.pipelines.fences import deadline, environment, quoted_interpreter
from mlsd.pipelines.graph import IMAGE, compile_pipeline, training_pipeline

DEADLINE_S = 6 * 3600.0  # of one run, all steps


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
        environment(folder / "tmp"),
        quoted_interpreter(),
        deadline(DEADLINE_S) as late,
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
