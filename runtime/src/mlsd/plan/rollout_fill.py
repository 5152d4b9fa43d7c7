"""Step 1: whether each step of a rollout sees enough answers within its time, at a given rate of requests."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from mlsd.design.design import Design
from mlsd.design.online_sections import Delivery

SURELY = 0.99
LARGEST_FIRST_PERCENT = 5
"""Of users whom the first canary step may reach."""


@dataclass(frozen=True)
class Sample:
    """What one step needs: so many answers, of so many percent of the requests, within so many seconds."""

    stage: Literal["shadow", "canary"]
    percent: int
    answers: int
    within_s: float

    def seconds(self, rps: float) -> float:
        """Mean time to the last answer needed, when so many requests a second arrive."""
        return self.answers / (rps * self.percent / 100)

    def surely_s(self, rps: float) -> float:
        """Time in which 99 of 100 such steps are filled: requests of independent users arrive as a Poisson process.

        So the time to the n-th of them is gamma distributed with shape n.
        """
        from scipy.special import gammaincinv

        return float(gammaincinv(self.answers, SURELY)) / (rps * self.percent / 100)

    def answers_in_time(self, rps: float) -> int:
        """So many, and no more, would surely be there in time: at most those needed now."""
        from scipy.special import gammaincinv

        expected = rps * self.percent / 100 * self.within_s
        return bisect_right(range(1, self.answers + 1), expected, key=lambda n: float(gammaincinv(n, SURELY)))

    def fills(self, rps: float) -> bool:
        """Whether its time is enough."""
        return self.surely_s(rps) <= self.within_s

    def __str__(self) -> str:
        return f"{self.stage} {self.percent} %"


def samples(delivery: Delivery) -> list[Sample]:
    """Of every step, in order: shadow, then canary percentages up to everyone."""
    shadow, canary, within = delivery.shadow, delivery.canary, delivery.step_timeout_s
    first = Sample("shadow", shadow.percent, shadow.min_requests, within)
    return [first, *(Sample("canary", percent, canary.min_requests, within) for percent in canary.steps)]


def traffic(design: Design) -> tuple[str, int]:
    """The field that says how many requests a second a rollout may count on here, and how many."""
    return min(
        ("load_test.rps", design.load_test.rps), ("scale.peak_rps", design.scale.peak_rps), key=lambda each: each[1]
    )


def _remedy(sample: Sample, field: str, rps: int, *, first: bool) -> str:
    """What would fill a step that is not filled: each number on its own is enough."""
    short = sample.surely_s(rps) / sample.within_s
    found = [f"delivery.step_timeout_s to {math.ceil(sample.surely_s(rps))}"]
    percent, highest = math.ceil(sample.percent * short), LARGEST_FIRST_PERCENT if first else 99
    if sample.stage == "canary" and percent <= highest:
        found.append(f"the step to {percent} %")
    found.append(f"{field} to {math.ceil(rps * short)} if so many come")
    raised, fewer = f"raise {', or '.join(found)}", sample.answers_in_time(rps)
    return f"{raised}; or lower delivery.{sample.stage}.min_requests to {fewer}" if fewer else raised


def table(design: Design) -> list[str]:
    """One line a step: in what time it is filled at `traffic`, and whether that is in time."""
    field, rps = traffic(design)
    lines = [f"rollout, at {field} {rps}; surely: 99 times of 100"]
    for each in samples(design.delivery):
        verdict = "fits" if each.fills(rps) else "no  "
        took = f"{each.answers} answers in {each.seconds(rps):.3g} s on average, surely in {each.surely_s(rps):.3g}"
        lines.append(f"  {verdict}  {each!s:<14}{took} of {each.within_s:g} s")
    return lines


def shortfall(design: Design) -> str | None:
    """The first step that cannot be relied on to fill, and what to do about it; None when all can."""
    field, rps = traffic(design)
    for position, each in enumerate(samples(design.delivery)):
        if not each.fills(rps):
            needs = f"{each}: {each.answers} answers surely take {each.surely_s(rps):.3g} s"
            return f"{needs}; {_remedy(each, field, rps, first=position == 1)}"
    return None
