"""Release and rollback on this machine."""

from mlsd.core.result import StepResult
from mlsd.delivery import rollback as back
from mlsd.delivery.release import run_release
from mlsd.local.ports import ports_of
from mlsd.local.target import local_target
from mlsd.problem.context import Context


def release(context: Context, version: int | None = None, fault: str | None = None) -> StepResult:
    """Take a model version through shadow and canary to champion; see `mlsd.delivery.release.run_release`.

    A serving mode that lives on precomputed rankings gets the candidate's first: like is compared with like.
    """
    design, home = context.design, context.home
    target, models = local_target(design, home, ports_of(home))
    if design.serving_mode != "online":
        from mlsd.delivery.precompute import ensure

        ensure(context, version if version is not None else models.challenger())
    return run_release(design, home, target, models, version=version, fault=fault)


def rollback(context: Context, reason: str) -> StepResult:
    """All traffic back to the previous release; see `mlsd.delivery.rollback.run`."""
    design, home = context.design, context.home
    target, models = local_target(design, home, ports_of(home))
    return back.run(design, home, target, models, reason=reason)
