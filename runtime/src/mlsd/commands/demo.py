"""The whole loop on one machine, in the order of the design; whatever happens, no process is left behind."""

import logging
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

from mlsd.core.home import Home, write_json
from mlsd.core.result import Check, StepResult
from mlsd.loadtest import load, sender
from mlsd.loadtest.summary import LoadSummary
from mlsd.local import stack
from mlsd.plan import plan
from mlsd.problem.context import Context

LOGGER = logging.getLogger("mlsd")
MARKER = "demo.json"
LONG_ENOUGH_S = 600
WINDOW_S = 6  # of traffic before each look of the monitor


def clean_start(home: Home) -> None:
    """Remove the state of an earlier demo; state that no demo made is moved aside, not deleted."""
    if not home.root.exists():
        home.root.mkdir(parents=True)
    elif (home.root / MARKER).exists() or not any(home.root.iterdir()):
        shutil.rmtree(home.root)
    else:
        number = next(n for n in range(1, 10_000) if not home.root.with_name(f"{home.root.name}.{n}").exists())
        aside = home.root.with_name(f"{home.root.name}.{number}")
        home.root.rename(aside)
        LOGGER.warning("%s was not made by a demo: moved to %s", home.root, aside)
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
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut the clean-up short
        _stop_everything(home)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, handler in before.items():
            signal.signal(number, handler)


def _served(result: StepResult, sent: LoadSummary) -> StepResult:
    """Add what the users saw while the release went through its steps."""
    check = Check(
        name="failed requests meanwhile",
        designed="0",
        measured=f"{sent.failed} of {sent.sent}",
        passed=sent.sent > 0 and sent.failed == 0,
    )
    details = result.details | {"load": sent.model_dump(mode="json")}
    return result.model_copy(update={"checks": [*result.checks, check], "details": details})


def _release(context: Context, step: str, fault: str | None = None, *, shifted: bool = False) -> StepResult:
    from mlsd.local import releases

    traffic = sender.start(context.design, context.home, seconds=LONG_ENOUGH_S, shifted=shifted)
    try:
        result = releases.release(context.design, context.home, context.problem, fault=fault)
    finally:
        sent = traffic.finish()
    return _served(result.model_copy(update={"step": step}), sent)


def _data(context: Context, path: Path | None) -> StepResult:
    from mlsd.data import ingest as step

    return step.run(context.declared, context.home, context.problem, path)


def _features(context: Context) -> StepResult:
    from mlsd.features import build as step

    return step.run(context.design, context.home, context.problem)


def _train(context: Context) -> StepResult:
    from mlsd.pipelines import training

    return training.run(context.design, context.home, context.problem, None)


def _monitor(context: Context) -> StepResult:
    from mlsd.monitoring import monitor as step

    sender.start(context.design, context.home, seconds=WINDOW_S).wait()
    return step.run(context.design, context.home, context.problem)


def _monitor_shifted(context: Context) -> StepResult:
    from mlsd.monitoring import monitor as step

    sender.start(context.design, context.home, seconds=WINDOW_S, shifted=True).wait()
    return step.run(context.design, context.home, context.problem, None, expect_drift=True)


def _retrained(context: Context) -> StepResult:
    from mlsd.monitoring.triggers.wait import wait_for_retrain

    return wait_for_retrain(context.design, context.home)


def _report(context: Context) -> StepResult:
    from mlsd.report import write as step

    return step.run(context.design, context.home)


def _steps(context: Context, path: Path | None) -> list[tuple[str, Callable[[], StepResult]]]:
    """What is going on, and the step that does it."""
    return [
        ("plan: the arithmetic of the design", lambda: plan.run(context.declared, context.home)),
        ("data: tables and their contract", lambda: _data(context, path)),
        ("features: Feast apply, materialise, point-in-time join", lambda: _features(context)),
        ("train: the Kubeflow pipeline, here", lambda: _train(context)),
        ("up: model server, Envoy, hooks", lambda: stack.up(context.design, context.home, context.problem)),
        ("load: open loop against the budget", lambda: load.run(context.design, context.home)),
        ("release: the challenger, shadow to champion", lambda: _release(context, "release")),
        ("release: a challenger with inverted scores", lambda: _release(context, "release_invert", "invert")),
        ("release: a challenger that turns slow", lambda: _release(context, "release_slow", "slow")),
        ("monitor: normal traffic", lambda: _monitor(context)),
        ("monitor: shifted traffic", lambda: _monitor_shifted(context)),
        ("retrain: started by the hook", lambda: _retrained(context)),
        ("release: the retrained model", lambda: _release(context, "release_retrained", shifted=True)),
    ]


def run(context: Context, path: Path | None) -> Iterator[StepResult]:
    """Run every step; stop at the first one that fails, then still write the report.

    Args:
        context: the declared design and the state folder.
        path: folder of the user's own data, or None for the synthetic world.
    """
    stack.down(context.home)
    clean_start(context.home)
    with _nothing_left_behind(context.home):
        for title, step in _steps(context, path):
            LOGGER.info(title)
            result = step()
            yield result
            if not result.passed:
                break
        yield _report(context)
