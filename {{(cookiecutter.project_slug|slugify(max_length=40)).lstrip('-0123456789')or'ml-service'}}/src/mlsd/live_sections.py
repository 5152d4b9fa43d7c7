"""Steps 5-6 of `design.yaml`, section by section: types, ranges and the rules inside one section."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from mlsd.sections import Count, NotNegative, Part, Positive, Rate, Share


class ColdStart(Part):
    """Below this many interactions a user gets the popular items."""

    min_interactions: Annotated[int, Field(ge=0)]


class FeatureLog(Part):
    """Prediction records: queue bound, share with every feature value, how long they are kept."""

    queue: Count
    full_sample: Rate
    retention_days: Count


class Serving(Part):
    """Step 5: the request path."""

    cold_start: ColdStart
    max_body_kib: Count
    feature_log: FeatureLog


class LoadTest(Part):
    """Open-loop load on one machine; the design's own rate is for the cluster."""

    rps: Count
    seconds: Count
    warmup_s: NotNegative
    max_client_lag_ms: Positive
    max_error_rate: Rate


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

    max_error_rate: Rate
    max_slow_rate: Rate
    min_rank_correlation: Annotated[float, Field(ge=-1, le=1)]
    max_score_psi: Positive
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

    psi_alert: Positive
    psi_warning: Positive
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
