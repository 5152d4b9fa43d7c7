"""Designs for rollouts on a machine that stalls now and then."""

from typing import Any

from mlsd.design.design import Design


def _delivery(design: Design, **changes: Any) -> Design:
    return design.model_copy(update={"delivery": design.delivery.model_copy(update=changes)})


def tolerant(design: Design) -> Design:
    """A stall makes a few answers slow, a sick candidate all of them; and it keeps the way back waiting."""
    gates = design.delivery.gates.model_copy(update={"max_slow_rate": 0.2, "max_seconds_to_safe": 20.0})
    return _delivery(design, gates=gates)


def staying(design: Design) -> Design:
    """The canary never has enough answers: a rollout stays there until something ends it."""
    canary = design.delivery.canary.model_copy(update={"min_requests": 1_000_000})
    return _delivery(tolerant(design), canary=canary, step_timeout_s=120.0)
