"""Steps 5-6 of `design.yaml`, section by section: types, ranges and the rules inside one section."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mlsd.design.components import known_engine
from mlsd.design.sections import LARGEST, Count, FailureRate, NotNegative, Part, Positive, Psi, Rate, Share


class ColdStart(Part):
    """Below this many interactions a user gets the popular items."""

    min_interactions: Annotated[int, Field(ge=0, le=LARGEST)]


class FeatureLog(Part):
    """Prediction records: queue bound, share with every feature value, how long they are kept."""

    queue: Count
    full_sample: Rate
    retention_days: Count
    hash_user_ids: bool


class StoreBreaker(Part):
    """After so many failed reads in a row the online store is left alone for a while."""

    failures: Count
    open_s: Annotated[float, Field(gt=0, le=4)]


class Admission(Part):
    """Milliseconds a request may wait for its turn: first it is pruned, then refused with 429."""

    max_queue_ms: Positive
    prune_queue_ms: Positive
    prune_to: Count

    @model_validator(mode="after")
    def _prunes_before_it_refuses(self) -> Self:
        if self.prune_queue_ms >= self.max_queue_ms:
            raise ValueError(f"prune_queue_ms {self.prune_queue_ms:g} must be below max_queue_ms {self.max_queue_ms:g}")
        return self


class PopularCache(Part):
    """Answers kept for a short time: for use under pressure, always, or never."""

    when: Literal["pressure", "always", "never"]
    max_age_s: Positive
    entries: Count


class Remote(Part):
    """A model server elsewhere that scores the matrix."""

    protocol: Literal["triton", "tf_serving", "vllm"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$")]
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]+$")]


class Serving(Part):
    """Step 5: the request path."""

    workers: Count
    engine: Annotated[str, AfterValidator(known_engine)]
    remote: Remote | None
    cold_start: ColdStart
    store_breaker: StoreBreaker
    admission: Admission
    popular_cache: PopularCache
    max_connections: Count
    max_body_kib: Count
    feature_log: FeatureLog

    @model_validator(mode="after")
    def _remote_is_named(self) -> Self:
        if (self.engine == "remote") != (self.remote is not None):
            raise ValueError(f"engine {self.engine!r} and remote {self.remote!r} do not go together")
        return self


class Batch(Part):
    """Precomputed rankings: items scored per user, kept with their scores, kept as candidates; what the run may use."""

    items: Count
    top: Count
    pool: Count
    max_age_h: Positive
    threads: Count
    memory_mib: Count

    @model_validator(mode="after")
    def _keeps_what_it_scores(self) -> Self:
        if not self.top <= self.pool <= self.items:
            raise ValueError(f"top {self.top}, pool {self.pool} and items {self.items} must not fall")
        return self


class LoadTest(Part):
    """Open-loop load on one machine; the design's own rate is for the cluster."""

    rps: Count
    seconds: Count
    warmup_s: NotNegative
    max_client_lag_ms: Positive
    max_error_rate: FailureRate
    spike_factor: Annotated[float, Field(gt=1, le=1000)]
    max_regression: Annotated[float, Field(gt=0, le=10)]


class Shadow(Part):
    """Mirrored traffic: its share, and how many pairs a verdict needs."""

    percent: Annotated[int, Field(ge=1, le=100)]
    min_requests: Count


class Canary(Part):
    """Percent of users at each step, and how many answers each verdict needs."""

    steps: Annotated[list[int], Field(min_length=2)]
    min_requests: Count

    @model_validator(mode="after")
    def _steps_ramp_up(self) -> Self:
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not rising or not 1 <= self.steps[0] <= 5 or self.steps[-1] != 100:
            raise ValueError(f"steps: found {self.steps}, expected to start at 1 to 5, to rise, and to end at 100")
        return self


class DeliveryGates(Part):
    """A candidate release that breaks one of these goes back to zero traffic."""

    max_error_rate: FailureRate
    max_slow_rate: FailureRate
    min_rank_correlation: Annotated[float, Field(gt=-1, lt=1)]
    max_score_psi: Psi
    max_seconds_to_safe: Positive


class Delivery(Part):
    """Step 5: shadow, then canary, then champion."""

    shadow: Shadow
    canary: Canary
    step_timeout_s: Positive
    gates: DeliveryGates
    keep_previous: Count


class Monitoring(Part):
    """Step 6: thresholds of alerts and triggers."""

    psi_alert: Psi
    psi_warning: Psi
    min_rows: Count
    critical_features: Annotated[list[str], Field(min_length=1)]
    max_metric_drop: Share
    max_slice_drop: Share
    max_model_age_days: Count
    retrain_cooldown_min: NotNegative

    @model_validator(mode="after")
    def _warning_comes_first(self) -> Self:
        if self.psi_warning >= self.psi_alert:
            raise ValueError(f"psi_warning {self.psi_warning:g} must be below psi_alert {self.psi_alert:g}")
        return self

    @model_validator(mode="after")
    def _an_old_model_may_be_retrained(self) -> Self:
        oldest_min = self.max_model_age_days * 24 * 60
        if self.retrain_cooldown_min >= oldest_min:
            found = f"retrain_cooldown_min: found {self.retrain_cooldown_min:g}"
            raise ValueError(f"{found}, expected below {oldest_min}, the minutes of max_model_age_days")
        return self
