"""The whole loop on one machine, in the order of the design; whatever happens, no process is left behind."""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

from mlsd import plan
from mlsd.home import Home, write_json
from mlsd.local import load, stack
from mlsd.local.context import Context
from mlsd.result import Check, StepResult

MARKER = "demo.json"
LONG_ENOUGH_S = 600


def clean_start(home: Home) -> None:
    """Remove the state of an earlier demo; state that no demo made is moved aside, not deleted."""
    if not home.root.exists():
        home.root.mkdir(parents=True)
    elif (home.root / MARKER).exists() or not any(home.root.iterdir()):
        shutil.rmtree(home.root)
    else:
        number = next(n for n in range(1, 10_000) if not home.root.with_name(f"{home.root.name}.{n}").exists())
        home.root.rename(home.root.with_name(f"{home.root.name}.{number}"))
    write_json(home.root / MARKER, {"note": "made by `mlsd demo`, which starts over by deleting this folder"})


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop_everything(home: Home) -> None:
    children = psutil.Process().children(recursive=True)
    stack.down(home)
    for child in children:
        if child.is_running():
            child.terminate()
    for child in psutil.wait_procs(children, timeout=5)[1]:
        child.kill()


@contextmanager
def _nothing_left_behind(home: Home) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut the clean-up short
        _stop_everything(home)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, before)


def _served(result: StepResult, sent: load.LoadSummary) -> StepResult:
    """Add what the users saw while the release went through its steps."""
    check = Check(
        name="failed requests meanwhile",
        designed="0",
        measured=f"{sent.errors} of {sent.sent}",
        passed=sent.sent > 0 and sent.errors == 0,
    )
    details = result.details | {"load": sent.model_dump(mode="json")}
    return result.model_copy(update={"checks": [*result.checks, check], "details": details})


def _release(context: Context, step: str, fault: str | None = None, *, shifted: bool = False) -> StepResult:
    from mlsd.local import releases

    traffic = load.start(context.design, context.home, seconds=LONG_ENOUGH_S, shifted=shifted)
    try:
        result = releases.release(context.design, context.home, context.problem, fault=fault)
    finally:
        sent = traffic.finish()
    return _served(result.model_copy(update={"step": step}), sent)


def _offline(context: Context, path: Path | None) -> Iterator[StepResult]:
    from mlsd.data import step as data
    from mlsd.features import step as features
    from mlsd.pipelines import training

    yield plan.run(context.declared, context.home)
    yield data.run(context.declared, context.home, context.problem, path)
    yield features.run(context.design, context.home, context.problem)
    yield training.run(context.design, context.home, context.problem, None)


def _online(context: Context) -> Iterator[StepResult]:
    yield stack.up(context.design, context.home, context.problem)
    yield load.run(context.design, context.home)
    yield _release(context, "release")
    yield _release(context, "release_invert", "invert")
    yield _release(context, "release_slow", "slow")


def _monitored(context: Context) -> Iterator[StepResult]:
    from mlsd.monitoring import step as monitoring
    from mlsd.monitoring.wait import wait_for_retrain
    from mlsd.monitoring.wait import wait_for_retrain

    yield monitoring.run(context.design, context.home, context.problem)
    load.run(context.design, context.home, shifted=True)
    yield monitoring.run(context.design, context.home, context.problem, None, expect_drift=True)
    yield wait_for_retrain(context.design, context.home)
    yield _release(context, "release_retrained", shifted=True)


def run(context: Context, path: Path | None) -> Iterator[StepResult]:
    """Run every step; stop at the first one that fails, then still write the report.

    Args:
        context: the declared design and the state folder.
        path: folder of the user's own data, or None for the synthetic world.
    """
    from mlsd.report import step as report

    stack.down(context.home)
    clean_start(context.home)
    with _nothing_left_behind(context.home):
        for part in (_offline(context, path), _online(context), _monitored(context)):
            for result in part:
                yield result
                if not result.passed:
                    yield report.run(context.design, context.home)
                    return
        yield report.run(context.design, context.home)
