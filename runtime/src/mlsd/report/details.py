"""The parts of a step's details that the charts draw, typed. One that is absent, or of another shape, is not drawn."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mlsd.core.result import StepResult

Pair = tuple[float, float]


class Slice(BaseModel):
    """NDCG@10 of a candidate on one slice, and the difference to the baseline."""

    requests: int
    ndcg10: float | None = None
    difference: float | None = None
    difference_ci: Pair | None = None


class CandidateRow(BaseModel):
    """One model of the leaderboard."""

    name: str
    ndcg10: float
    ndcg10_ci: Pair
    lift: float
    lift_ci: Pair
    auc: float
    log_loss: float
    ece: float
    p99_ms: float | None = None
    slices: dict[str, Slice] = {}
    passed: bool
    reason: str = ""


class Curve(BaseModel):
    """Mean prediction and observed share per bin."""

    predicted: list[float]
    observed: list[float]


class Training(BaseModel):
    """`train`."""

    leaderboard: list[CandidateRow]
    reliability: dict[str, Curve] = {}
    champion: int | None = None
    challenger: int | None = None
    champion_candidate: str | None = None
    challenger_candidate: str | None = None


class Latencies(BaseModel):
    """Percentiles of one histogram."""

    count: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


class Load(BaseModel):
    """`load`: what one run measured."""

    sent: int
    errors: int
    shed: int = 0
    total: Latencies
    hops: dict[str, Latencies]
    rps: float = 0.0


class Moment(BaseModel):
    """Traffic in force from `t` seconds on."""

    t: float
    stage: str
    canary_pct: float
    mirror_pct: float


class GateRow(BaseModel):
    """One gate of one step of a release."""

    stage: str
    percent: float
    name: str
    designed: str
    measured: str
    verdict: str


class Rollout(BaseModel):
    """`release`, with or without a planted fault."""

    release: int
    champion_before: int
    model_version: int
    outcome: str
    reason: str = ""
    fault: str | None = None
    timeline: list[Moment]
    gates: list[GateRow] = []
    seconds_to_safe: float | None = None


class Feature(BaseModel):
    """One row of the drift table."""

    name: str
    psi: float
    ks: float
    ks_p: float
    n: int
    training_psi: float | None = None
    critical: bool
    verdict: str


class Thresholds(BaseModel):
    """PSI that alerts and that warns."""

    alert: float
    warning: float


class Scores(BaseModel):
    """Counts of the score in the reference's bins."""

    reference: list[float]
    current: list[float]


class SliceScores(BaseModel):
    """Live traffic of one slice."""

    requests: int
    share: float
    top_score: float | None = None
    top_score_p10: float | None = None
    top_score_p90: float | None = None


class Monitored(BaseModel):
    """`monitor`: drift of one window."""

    features: list[Feature]
    thresholds: Thresholds
    score: Scores
    slices: dict[str, SliceScores] = {}


class Family(BaseModel):
    """Whether a family of models fits into the inference budget."""

    family: str
    fits: bool
    why: str


class Capacity(BaseModel):
    """Replicas at the peak."""

    replicas: int
    formula: str
    monthly_usd: float


class Plan(BaseModel):
    """`plan`: what the numbers ask for."""

    capacity: Capacity
    families: list[Family]


class Data(BaseModel):
    """`data`: what was read."""

    source: str
    counts: dict[str, int]
    label_rate: float


class LoadOfRelease(BaseModel):
    """What users saw while a release went through its steps."""

    load: Load


Part = TypeVar("Part", bound=BaseModel)


def read(kind: type[Part], result: StepResult | None) -> Part | None:
    """The typed details of a result; None if the step has not run, or stopped before it measured them."""
    if result is None:
        return None
    try:
        return kind.model_validate(result.details)
    except ValidationError:
        return None
