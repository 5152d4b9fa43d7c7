"""A release while users ask: what the rollout found, and what they saw meanwhile."""

from mlsd.core.result import Check, StepResult
from mlsd.loadtest import sender
from mlsd.loadtest.sender import Pattern
from mlsd.loadtest.summary import LoadSummary
from mlsd.local import releases
from mlsd.local.machine.contention import QUIET, CpuReading, cpu_contention
from mlsd.problem.context import Context

LONG_ENOUGH_S = 600
SLOW = "slow rate"


def _step(fault: str | None, *, shifted: bool) -> str:
    return f"release_{fault}" if fault else "release_retrained" if shifted else "release"


def served(result: StepResult, sent: LoadSummary) -> StepResult:
    """Add what the users saw; a request that was refused and asked again is shown, and is no failure."""
    check = Check(
        name="failed requests meanwhile",
        designed="0",
        measured=f"{sent.errors} of {sent.sent}{sent.refusals}",
        passed=sent.sent > 0 and sent.errors == 0,
    )
    details = result.details | {"load": sent.model_dump(mode="json")}
    return result.model_copy(update={"checks": [*result.checks, check], "details": details})


def doubted_slowness(result: StepResult, others: float) -> StepResult:
    """The result with missed times inconclusive where others took more than a tenth of the machine.

    A candidate that was refused for nothing but slow answers then says nothing about the candidate.
    """
    failed = [check for check in result.checks if check.verdict == "fail"]
    of_gates = [check for check in failed if ": " in check.name]
    if others <= QUIET or not of_gates or not all(check.name.endswith(f": {SLOW}") for check in of_gates):
        return result
    names = {check.name for check in of_gates} | {"champion"}
    checks = [
        check.model_copy(update={"inconclusive": True}) if check.name in names and not check.passed else check
        for check in result.checks
    ]
    return result.model_copy(update={"checks": checks, "details": result.details | {"other_work": others}})


def release(
    context: Context,
    fault: str | None = None,
    *,
    version: int | None = None,
    shifted: bool = False,
) -> StepResult:
    """Release the challenger at the load test's rate.

    Args:
        context: rate, steps and gates; the state folder of a running stack.
        fault: planted in the candidate: `invert` or `slow`.
        version: of the model; default the challenger.
        shifted: send the requests with the planted change.

    Raises:
        UserError: nothing to release, or no stack.
    """
    design, home = context.design, context.home
    before = CpuReading.take(home)
    traffic = sender.start(design, home, seconds=LONG_ENOUGH_S, shifted=shifted, pattern=Pattern(retry=True))
    try:
        result = releases.release(context, version, fault)
    finally:
        sent = traffic.finish()
    others = cpu_contention(before, CpuReading.take(home))
    named = result.model_copy(update={"step": _step(fault, shifted=shifted)})
    return doubted_slowness(served(named, sent), others)
