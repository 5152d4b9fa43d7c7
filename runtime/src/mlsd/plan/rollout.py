"""The rollout as a list of typed steps, read from the design: shadow, then canary percentages up to everyone."""

from dataclasses import dataclass
from typing import Literal

from mlsd.design.online_sections import Delivery
from mlsd.plan.rollout_fill import samples


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

    def too_few(self, found: int) -> str:
        """Why there is no verdict when its time is over, and what would give one."""
        percent = "delivery.shadow.percent" if self.stage == "shadow" else "this step in delivery.canary.steps"
        larger = f", or {percent}" if self.percent < 100 else ""
        return (
            f"{found} of {self.min_requests} answers within {self.timeout_s:g} s: send more traffic, "
            f"or raise delivery.step_timeout_s{larger}"
        )

    def __str__(self) -> str:
        return f"{self.stage} {self.percent} %"


def steps(delivery: Delivery) -> list[Step]:
    """Every step, in order."""
    return [Step(each.stage, each.percent, each.answers, each.within_s) for each in samples(delivery)]
