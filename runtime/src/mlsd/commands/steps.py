"""The steps of the loop: one table for the command line and for the demo. What a step imports, it imports late."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlsd.core.result import StepResult
    from mlsd.problem.context import Context


@dataclass(frozen=True)
class Options:
    """What the command line asks of a step; the demo takes the defaults."""

    path: Path | None = None
    window_days: int | None = None
    seconds: float | None = None
    rps: float | None = None
    shape: str = "steady"
    shifted: bool = False
    save_baseline: bool = False
    find_knee: bool = False
    measured: bool = False
    what: str = "swap"
    version: int | None = None
    fault: str | None = None
    reason: str = "asked for on the command line"
    request_id: str = ""


@dataclass(frozen=True)
class Step:
    """One command: what `--help` says of it, and the work."""

    help: str
    run: Callable[[Context, Options], StepResult]


@dataclass(frozen=True)
class DemoStep:
    """One line of the demo: a step, what the progress line says, and the lines without which it cannot run."""

    name: str
    title: str
    run: Callable[[Context, Options], StepResult]
    needs: tuple[str, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    repeat: bool = False
    """Whether an inconclusive verdict is worth another measurement; a step that repeats by itself is not."""


def _plan(context: Context, options: Options) -> StepResult:
    from mlsd.plan import measured, plan

    return measured.run(context.design, context.home) if options.measured else plan.run(context.design, context.home)


def _data(context: Context, options: Options) -> StepResult:
    from mlsd.data import ingest
    from mlsd.local import stack

    stack.require_down(context.home, "a new world")
    return ingest.run(context, options.path)


def _features(context: Context, _: Options) -> StepResult:
    from mlsd.features import build

    return build.run(context)


def _train(context: Context, options: Options) -> StepResult:
    from mlsd.pipelines import training

    return training.run(context, options.window_days)


def _retrain(context: Context, options: Options) -> StepResult:
    from mlsd.pipelines import retrain

    return retrain.run(context, options.window_days)


def _batch(context: Context, _: Options) -> StepResult:
    from mlsd.delivery import precompute

    return precompute.run(context)


def _up(context: Context, _: Options) -> StepResult:
    from mlsd.local import stack

    return stack.up(context)


def _down(context: Context, _: Options) -> StepResult:
    from mlsd.local import stack

    return stack.down(context.home)


def _status(context: Context, _: Options) -> StepResult:
    from mlsd.local import status

    return status.status(context.design, context.home)


def _load(context: Context, options: Options) -> StepResult:
    from mlsd.loadtest import knee, load
    from mlsd.report import load_page

    design, home = context.design, context.home
    if options.find_knee:
        return load_page.write(design, home, knee.run(design, home))
    wanted = {"shape": options.shape, "shifted": options.shifted, "save_baseline": options.save_baseline}
    return load_page.write(design, home, load.run(design, home, options.seconds, options.rps, **wanted))  # type: ignore[arg-type]


def _drill(context: Context, options: Options) -> StepResult:
    from mlsd.loadtest import drills

    return drills.run(context.design, context.home, options.what, options.rps)


def _release(context: Context, options: Options) -> StepResult:
    from mlsd.local import releases

    wanted = {"version": options.version, "fault": options.fault}
    return releases.release(context, **wanted)  # type: ignore[arg-type]


def _rollback(context: Context, options: Options) -> StepResult:
    from mlsd.local import releases

    return releases.rollback(context, reason=options.reason)


def _monitor(context: Context, _: Options) -> StepResult:
    from mlsd.monitoring import monitor

    return monitor.run(context)


def _report(context: Context, _: Options) -> StepResult:
    from mlsd.report import write

    return write.run(context.design, context.home)


def _explain(context: Context, options: Options) -> StepResult:
    from mlsd.serving.inference import explain

    return explain.run(context.home, context.problem, options.request_id)


def _release_under_load(context: Context, options: Options) -> StepResult:
    from mlsd.loadtest import under_load

    wanted = {"version": options.version, "shifted": options.shifted}
    return under_load.release(context, options.fault, **wanted)  # type: ignore[arg-type]


def _monitor_traffic(context: Context, options: Options) -> StepResult:
    from mlsd.commands import windows

    return windows.monitor(context, shifted=options.shifted)


def _retrained(context: Context, _: Options) -> StepResult:
    from mlsd.monitoring.triggers.wait import wait_for_retrain

    return wait_for_retrain(context.design, context.home)


STEPS: dict[str, Step] = {
    "plan": Step("step 1-2: board line, hop budget, replicas, cost", _plan),
    "data": Step("step 3: read or synthesise the tables, check the contract", _data),
    "features": Step("step 3: Feast apply, materialise, point-in-time join", _features),
    "train": Step("step 4: the pipeline: candidates, gates, registry", _train),
    "batch": Step("step 5: every user's best items ahead of time, for serving_mode batch and hybrid", _batch),
    "up": Step("step 5: start Envoy, the champion and the hooks", _up),
    "load": Step("step 5: open-loop load against the latency budget", _load),
    "drill": Step("step 5: swap releases, kill or stop a worker, all under load", _drill),
    "release": Step("step 5: shadow, canary, champion; a bad candidate goes back by itself", _release),
    "rollback": Step("step 5: all traffic back to the previous release", _rollback),
    "monitor": Step("step 6: drift, slices, quality, business; fires the hooks", _monitor),
    "retrain": Step("step 6: new slice, same pipeline, new challenger", _retrain),
    "report": Step("the page with each design number beside the measured one", _report),
    "status": Step("what is live, what it can go back to, which processes run", _status),
    "explain": Step("replay one request from the feature log", _explain),
    "down": Step("stop every process of the stack", _down),
}
"""Every command but `demo`, in the order of the help."""

DEMO: tuple[DemoStep, ...] = (
    DemoStep("plan", "the arithmetic of the design", _plan),
    DemoStep("data", "tables and their contract", _data),
    DemoStep("features", "Feast apply, materialise, point-in-time join", _features, ("data",)),
    DemoStep("train", "the Kubeflow pipeline, here", _train, ("features",)),
    DemoStep("up", "model server, Envoy, hooks", _up, ("train",)),
    DemoStep("load", "open loop against the budget", _load, ("up",)),
    DemoStep("release", "the challenger, shadow to champion", _release_under_load, ("up",), repeat=True),
    DemoStep(
        "release_invert",
        "a challenger with inverted scores",
        _release_under_load,
        ("up",),
        {"fault": "invert"},
        repeat=True,
    ),
    DemoStep(
        "release_slow", "a challenger that turns slow", _release_under_load, ("up",), {"fault": "slow"}, repeat=True
    ),
    DemoStep("monitor", "normal traffic", _monitor_traffic, ("up",)),
    DemoStep("monitor_shifted", "shifted traffic", _monitor_traffic, ("up",), {"shifted": True}),
    DemoStep("retrain_triggered", "started by the hook", _retrained, ("monitor_shifted",)),
    DemoStep(
        "release_retrained",
        "the retrained model",
        _release_under_load,
        ("retrain_triggered",),
        {"shifted": True},
        repeat=True,
    ),
)
"""The whole loop, in order; the report comes after it, whatever happened."""
