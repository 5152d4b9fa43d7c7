"""The rollout as a list of typed steps, read from the design: shadow, then canary percentages up to everyone."""

from dataclasses import dataclass
from typing import Literal

from mlsd.design.online_sections import Delivery


@dataclass(frozen=True)
class Step:
    """One step: mirrored copies (shadow) or users (canary), in percent, and what its verdict needs."""

    stage: Literal["shadow", "canary"]
    percent: int
    min_requests: int
    timeout_s: float

    @property
    def users_percent(self) -> int:
        """Share of users who see the candidate's answers."""
        return self.percent if self.stage == "canary" else 0

    def __str__(self) -> str:
        return f"{self.stage} {self.percent} %"


def steps(delivery: Delivery) -> list[Step]:
    """Every step, in order."""
    shadow, canary, timeout = delivery.shadow, delivery.canary, delivery.step_timeout_s
    first = Step("shadow", shadow.percent, shadow.min_requests, timeout)
    return [first, *(Step("canary", percent, canary.min_requests, timeout) for percent in canary.steps)]
