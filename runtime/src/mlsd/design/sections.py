"""Steps 1-4 of `design.yaml`, section by section: types, ranges and the rules inside one section."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mlsd.design.components import known_store

LARGEST = 1_000_000_000
"""No count, time or size of a design is above it: a number beyond is a slip of the keyboard, or a gate switched off."""
Count = Annotated[int, Field(gt=0, le=LARGEST)]
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST)]
Value = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(ge=0, le=1)]
FailureRate = Annotated[float, Field(ge=0, lt=1)]
"""A share that may fail at most: none is strict, all of it would never fire."""
Psi = Annotated[float, Field(gt=0, le=10)]
"""Two distributions of a few hundred rows that share nothing lie about 10 apart: a higher limit would never fire."""


class Part(BaseModel):
    """One section; unknown fields are refused, as is what is no finite number; values cannot be changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` and `on` as true, which would count as 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("a number or text, no switch")
        return value


class Scale(Part):
    """Step 1: how much traffic, how many candidates each request carries."""

    peak_rps: Count
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
    """The business metric (one that the pack computes), its target in the metric's unit, and why anyone cares."""

    metric: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    target: Positive
    because: Annotated[str, Field(min_length=8)]


class Label(Part):
    """What counts as an engagement, and when the answer can be trusted."""

    event: Literal["click", "like", "comment"]
    min_dwell_s: Annotated[float, Field(ge=0, le=86_400)]
    maturity_h: NotNegative


class Synthetic(Part):
    """Size of the synthetic world."""

    users: Annotated[int, Field(ge=50, le=LARGEST)]
    items: Annotated[int, Field(ge=50, le=LARGEST)]
    days: Annotated[int, Field(ge=7, le=3650)]
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
    value_range: tuple[Value, Value]
    positive_from: Value
    sampled_negatives: Count
    max_age_h: MaxAge

    @model_validator(mode="after")
    def _threshold_divides_the_values(self) -> Self:
        """Above the lowest value, else every engagement is positive; a file without values has 1.0 in each row."""
        low, high = self.value_range
        if low >= high:
            raise ValueError(f"value_range: found [{low:g}, {high:g}], expected the lowest value, then a higher one")
        if not low < self.positive_from <= high:
            raise ValueError(
                f"positive_from: found {self.positive_from:g}, expected above {low:g} and at most {high:g}: "
                "otherwise every value of value_range, or none, is a positive label"
            )
        return self


class Data(Part):
    """Step 3: where the data comes from and how much of it is needed."""

    source: str
    path: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)]
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
    online_store: Annotated[str, AfterValidator(known_store)]
    max_age_h: MaxAge
    when_stale: Literal["default", "flag"]


class TrainingGates(Part):
    """A candidate that misses one of these is refused."""

    min_lift: Annotated[float, Field(gt=-1, lt=1)]
    min_auc: Annotated[float, Field(ge=0.5, lt=1)]
    max_auc: Annotated[float, Field(gt=0.5, lt=1)]
    max_calibration_error: Share
    max_slice_loss: FailureRate
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
    leaves: Annotated[int, Field(ge=2, le=131_072)]
    learning_rate: Share
    bootstrap_rounds: Annotated[int, Field(ge=100, le=LARGEST)]
    retrain_test_requests: Annotated[int, Field(ge=50, le=LARGEST)]
    gates: TrainingGates

    @model_validator(mode="after")
    def _something_left_to_train_on(self) -> Self:
        if self.validation_share + self.test_share > 0.5:
            raise ValueError("validation_share + test_share must be at most 0.5")
        return self
