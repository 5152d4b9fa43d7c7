"""What a step of the loop measured: each design number beside the measured one, kept for the report."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, JsonValue

from mlsd.core.home import Home, write_json


class Check(BaseModel):
    """One design number and what was measured against it."""

    model_config = ConfigDict(frozen=True)

    name: str
    designed: str
    measured: str
    passed: bool


class StepResult(BaseModel):
    """One step: a line for people, checks for the exit code, details for the report."""

    step: str
    summary: str
    checks: list[Check]
    details: dict[str, JsonValue] = {}
    seconds: float = 0.0
    at: datetime

    @property
    def passed(self) -> bool:
        """True only if there is at least one check and none failed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def save(self, home: Home) -> None:
        """Write the result where the report finds it."""
        write_json(home.results / f"{self.step}.json", self.model_dump(mode="json"))
