"""Steps 1-4 of `design.yaml`, section by section: types, ranges and the rules inside one section."""

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """One section; unknown fields are refused, values cannot be changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scale(Part):
    """Step 1: how much traffic, how many candidates each request carries."""

    peak_rps: Annotated[int, Field(gt=0, le=1_000_000_000)]
    candidates: Annotated[int, Field(gt=0, le=500)]


class Hops(Part):
    """Milliseconds that each hop may take at p99."""

    retrieval: NotNegative
    edge: Positive
    features: Positive
    inference: Positive
    post: Positive


class Latency(Part):
    """What the user waits, split by hop."""

    p99_ms: Positive
    hops_ms: Hops

    @model_validator(mode="after")
    def _hops_fit(self) -> Self:
        hops = self.hops_ms.model_dump()
        if self.hop_sum_ms > self.p99_ms:
            parts = " + ".join(f"{name} {value:g}" for name, value in hops.items())
            raise ValueError(f"hops_ms must add up to at most p99_ms {self.p99_ms:g}: {parts} = {self.hop_sum_ms:g}")
        return self

    @property
    def hop_sum_ms(self) -> float:
        """All hops together, to a millionth: decimals that add up on paper need not in binary."""
        return round(math.fsum(self.hops_ms.model_dump().values()), 6)

    @property
    def service_ms(self) -> float:
        """Budget of this service as its caller sees it: the total less retrieval's share."""
        return self.p99_ms - self.hops_ms.retrieval


class Capacity(Part):
    """One replica: requests in flight, the share of that used at the peak, its size."""

    concurrency: Count
    load: Share
    replica_cpu: Count
    replica_memory_mib: Count


class Success(Part):
    """The business metric, its target, and why anyone cares."""

    metric: Literal["ctr", "watch_time", "retention", "conversion", "revenue"]
    target: Positive
    because: Annotated[str, Field(min_length=8)]


class Label(Part):
    """What counts as an engagement, and when the answer can be trusted."""

    event: Literal["click", "like", "comment"]
    min_dwell_s: NotNegative
    maturity_h: NotNegative


class Synthetic(Part):
    """Size of the synthetic world."""

    users: Annotated[int, Field(ge=50)]
    items: Annotated[int, Field(ge=50)]
    days: Annotated[int, Field(ge=7)]
    requests_per_day: Count
    shown: Annotated[int, Field(ge=2, le=100)]


class MaxAge(Part):
    """Hours after which a stored value is not trusted; also the ttl of its Feast view."""

    user: Positive
    item: Positive
    interaction: Positive


class Table(Part):
    """One input file and how its columns are named there."""

    file: str
    columns: dict[str, str]
    separator: str | None = None
    time_unit: Literal["s", "ms", "us", "iso"] = "iso"


class Mapping(Part):
    """How a user's own files become users, items and engagements."""

    users: Table | None = None
    items: Table
    engagements: Table
    value_range: tuple[float, float]
    positive_from: float
    sampled_negatives: Count
    max_age_h: MaxAge


class Data(Part):
    """Step 3: where the data comes from and how much of it is needed."""

    source: str
    path: str | None = None
    seed: Annotated[int, Field(ge=0)]
    min_history_days: Count
    min_rows: Count
    live_share: Annotated[float, Field(ge=0, le=0.2)]
    synthetic: Synthetic
    mappings: dict[str, Mapping]

    @model_validator(mode="after")
    def _source_is_known(self) -> Self:
        known = ["synthetic", *self.mappings]
        if self.source not in known:
            raise ValueError(f"source: found {self.source!r}, expected one of {', '.join(known)}")
        return self


class Features(Part):
    """The feature service that training and serving share."""

    service: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    max_age_h: MaxAge
    when_stale: Literal["default", "flag"]


class TrainingGates(Part):
    """A candidate that misses one of these is refused."""

    min_lift: float
    min_auc: Annotated[float, Field(ge=0.5, lt=1)]
    max_auc: Annotated[float, Field(gt=0.5, le=1)]
    max_calibration_error: Share
    max_slice_loss: Rate
    min_slice_requests: Count
    max_champion_loss: Annotated[float, Field(gt=0, lt=0.5)]

    @model_validator(mode="after")
    def _room_between(self) -> Self:
        if self.min_auc >= self.max_auc:
            raise ValueError(f"min_auc {self.min_auc:g} must be below max_auc {self.max_auc:g}")
        return self


class Training(Part):
    """Step 4: the split by time, the size of the trees, the gates."""

    validation_share: Share
    test_share: Share
    trees: Count
    leaves: Annotated[int, Field(ge=2)]
    learning_rate: Share
    bootstrap_rounds: Annotated[int, Field(ge=100)]
    retrain_test_requests: Annotated[int, Field(ge=50)]
    gates: TrainingGates

    @model_validator(mode="after")
    def _something_left_to_train_on(self) -> Self:
        if self.validation_share + self.test_share > 0.5:
            raise ValueError("validation_share + test_share must be at most 0.5")
        return self
