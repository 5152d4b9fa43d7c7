"""The whole loop on one machine, in the order of the design; whatever happens, no process is left behind."""

import logging
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import psutil

from mlsd.commands.steps import DEMO, STEPS, DemoStep, Options
from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.core.result import Check, StepResult, Verdict
from mlsd.local import stack
from mlsd.problem.context import Context

LOGGER = logging.getLogger("mlsd")
MARKER = "demo.json"
INPUT = ("plan", "data")  # lines whose errors are the user's input: they end the demo with exit code 2
REPEATS = 2
KEPT_LOGS = "logs.before"


def clean_start(home: Home) -> None:
    """Remove the state of an earlier demo but for its logs; state that no demo made is moved aside, not deleted."""
    if not home.root.exists():
        home.root.mkdir(parents=True)
    elif (home.root / MARKER).exists() or not any(home.root.iterdir()):
        _remove_but_logs(home)
    else:
        number = next(n for n in range(1, 10_000) if not home.root.with_name(f"{home.root.name}.{n}").exists())
        aside = home.root.with_name(f"{home.root.name}.{number}")
        home.root.rename(aside)
        LOGGER.warning("%s was not made by a demo: moved to %s", home.root, aside)
    write_json(home.root / MARKER, {"note": "made by `mlsd demo`, which starts over by deleting this folder"})


def _remove_but_logs(home: Home) -> None:
    """Until the next run has ended, the logs of the one before are all that tells why it ended as it did."""
    kept = home.root / KEPT_LOGS
    if home.logs.exists():
        shutil.rmtree(kept, ignore_errors=True)
        home.logs.rename(kept)
    for path in home.root.iterdir():
        if path == kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


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


def _as_result(step: DemoStep, name: str, designed: str, measured: str, *, inconclusive: bool) -> StepResult:
    check = Check(name=name, designed=designed, measured=measured, passed=False, inconclusive=inconclusive)
    return StepResult(step=step.name, summary=measured, checks=[check], at=clock.now())


def _attempt(step: DemoStep, context: Context, options: Options) -> StepResult:
    """One step; what breaks it is its result, so that the others still run."""
    try:
        return step.run(context, options)
    except UserError as error:
        if step.name in INPUT:
            raise
        return _as_result(step, "runs to its end", "a result", str(error), inconclusive=False)


def _same_model(options: Options, before: StepResult) -> Options:
    """A release that said nothing about its model may have taken it off the list of challengers: name it."""
    version = before.details.get("model_version")
    return replace(options, version=version) if isinstance(version, int) and not options.fault else options


def _repeated(step: DemoStep, context: Context, options: Options) -> StepResult:
    """One step, again while nothing was learnt."""
    result = _attempt(step, context, options)
    for number in range(1, (REPEATS if step.repeat else 0) + 1):
        if result.verdict != "inconclusive":
            break
        LOGGER.info("%s: inconclusive, measured again (%d of %d)", step.name, number, REPEATS)
        options = _same_model(options, result)
        result = _attempt(step, context, options)
    return result


def _blocked(step: DemoStep, verdicts: dict[str, Verdict]) -> StepResult | None:
    missing = [name for name in step.needs if verdicts.get(name, "fail") == "fail"]
    if not missing:
        return None
    return _as_result(
        step, "can run", f"after {', '.join(step.needs)}", f"{missing[0]} did not pass", inconclusive=True
    )


def run_steps(context: Context, path: Path | None, steps: tuple[DemoStep, ...] = DEMO) -> Iterator[StepResult]:
    """Every step that can run: one whose needs failed is inconclusive, whatever fails does not stop the others."""
    verdicts: dict[str, Verdict] = {}
    for step in steps:
        LOGGER.info("%s: %s", step.name, step.title)
        blocked = _blocked(step, verdicts)
        result = blocked or _repeated(step, context, Options(path=path, **step.options))  # type: ignore[arg-type]
        verdicts[step.name] = "fail" if blocked else result.verdict
        yield result


def run(context: Context, path: Path | None) -> Iterator[StepResult]:
    """The whole loop, then the report, whatever happened.

    Args:
        context: the declared design and the state folder.
        path: folder of the user's own data, or None for the synthetic world.

    Raises:
        UserError: the design or the data cannot be read.
    """
    stack.down(context.home)
    clean_start(context.home)
    with _nothing_left_behind(context.home):
        yield from run_steps(context, path)
        yield STEPS["report"].run(context, Options())
    shutil.rmtree(context.home.root / KEPT_LOGS, ignore_errors=True)
