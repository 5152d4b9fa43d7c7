"""What a step of the loop measured: each design number beside the measured one, kept for the report."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from mlsd.core.home import Home, write_json

Verdict = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: dict[Verdict, int] = {"pass": 0, "fail": 1, "inconclusive": 3}
"""Of a command, by its verdict; 2 is bad input."""


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """One failure fails; else one that taught nothing is inconclusive; nothing at all is a failure, never a pass."""
    found = set(verdicts)
    if "fail" in found or not found:
        return "fail"
    return "inconclusive" if "inconclusive" in found else "pass"


class Check(BaseModel):
    """One design number and what was measured against it."""

    model_config = ConfigDict(frozen=True)

    name: str
    designed: str
    measured: str
    passed: bool
    inconclusive: bool = False
    """Not passed, and nothing was learnt: the machine or the traffic did not allow a measurement."""
    timing: bool = Field(default=False, exclude=True)
    """Whether other work on the machine can make it miss."""

    @property
    def verdict(self) -> Verdict:
        """Pass, fail, or inconclusive."""
        if self.passed:
            return "pass"
        return "inconclusive" if self.inconclusive else "fail"


def doubted(checks: Iterable[Check]) -> list[Check]:
    """The checks of a measurement that other work disturbed: a time that was missed says nothing then."""
    return [
        check.model_copy(update={"inconclusive": True}) if check.timing and not check.passed else check
        for check in checks
    ]


class StepResult(BaseModel):
    """One step: a line for people, checks for the exit code, details for the report."""

    step: str
    summary: str
    checks: list[Check]
    details: dict[str, JsonValue] = {}
    seconds: float = 0.0
    at: datetime

    @property
    def verdict(self) -> Verdict:
        """Of all checks; no check at all is a failure."""
        return overall(check.verdict for check in self.checks)

    @property
    def passed(self) -> bool:
        """True only if there is at least one check and all passed."""
        return self.verdict == "pass"

    def save(self, home: Home) -> None:
        """Write the result where the report finds it."""
        write_json(home.results / f"{self.step}.json", self.model_dump(mode="json"))
