"""What the load test found of this machine, rate by rate: state that a plan is made from, not a report."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from mlsd.core.errors import UserError
from mlsd.core.home import Home, read_json, write_json
from mlsd.design.design import Design

MISSING = "run `mlsd up`, then `mlsd load --find-knee`"


class LoadStage(BaseModel):
    """One rate of the load curve, and what it did; CPU is per request: of the workers, the edge, the client."""

    rps: float
    sent: int
    answered_rps: float
    shed: int
    errors: int
    p50_ms: float
    p99_ms: float
    lag_p99_ms: float
    server_cpu_ms: float
    edge_cpu_ms: float
    client_cpu_ms: float
    largest_mib: float
    other_work: float
    broke: str


class LoadCurve(BaseModel):
    """A load curve on one machine; `answer_ms` and `service_ms` are evenly spaced quantiles at its lowest rate."""

    stages: list[LoadStage]
    workers: int
    cores: int
    candidates: int
    max_queue_ms: float
    answer_ms: list[float]
    service_ms: list[float]

    @property
    def knee_rps(self) -> float:
        """The highest rate that held; 0 when none did."""
        return max((stage.rps for stage in self.stages if not stage.broke), default=0.0)

    @property
    def held(self) -> list[LoadStage]:
        """The stages that broke nothing."""
        return [stage for stage in self.stages if not stage.broke]


def path_of(home: Home) -> Path:
    """The file that holds the newest one."""
    return home.root / "load_curve.json"


def record(home: Home, curve: LoadCurve) -> None:
    """Remember the newest load curve."""
    write_json(path_of(home), curve.model_dump(mode="json"))


def read_curve(design: Design, home: Home) -> LoadCurve:
    """The newest load curve.

    Raises:
        UserError: nothing was measured, or with other candidates; the file is damaged, or no rate held.
    """
    path = path_of(home)
    try:
        found = LoadCurve.model_validate(read_json(path, MISSING))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise UserError(f"{path}: {field}: {first['msg']}; delete it, then {MISSING}") from None
    if found.candidates != design.scale.candidates:
        raise UserError(
            f"{path}: measured with {found.candidates} candidates, expected {design.scale.candidates}; {MISSING}"
        )
    if not found.held:
        raise UserError(f"{path}: stages: no rate held, expected one at least; {MISSING}")
    return found
