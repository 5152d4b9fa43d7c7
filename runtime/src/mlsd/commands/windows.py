"""What the demo lets users ask before each look of the monitor."""

from mlsd.core.result import StepResult
from mlsd.loadtest import sender
from mlsd.monitoring import monitor as step
from mlsd.problem.context import Context

WINDOW_S = 6
SHIFTED_REQUESTS = 1000
"""With the planted change: so many, however fast or busy the machine is, for they decide what retraining can learn."""


def monitor(context: Context, *, shifted: bool) -> StepResult:
    """Traffic at the load test's rate, as usual or with the planted change, then one look at it."""
    seconds = SHIFTED_REQUESTS / context.design.load_test.rps if shifted else WINDOW_S
    sender.start(context.design, context.home, seconds=seconds, shifted=shifted).wait()
    return step.run(context, None, expect_drift=shifted)
