"""Rules across sections of `design.yaml`: each says what contradicts what, or None. Rules inside one section lie there.

A rule holds for every value that can take effect: a bound that another bound always reaches first is no bound.
"""

from mlsd.design.online_sections import Admission, Batch, FeatureLog, Monitoring
from mlsd.design.sections import Data, Label, Latency, Scale

DAY_H = 24
QUALITY_DAYS = 7
"""Live quality is judged over a week, so that every weekday counts alike."""


def queue_ends_within_the_budget(latency: Latency, admission: Admission) -> str | None:
    """A request is cut off when its budget is over; a longer queue would refuse nobody."""
    budget, hops = latency.service_ms - latency.hops_ms.edge, latency.hops_ms
    if admission.max_queue_ms < budget:
        return None
    return (
        f"serving.admission.max_queue_ms: found {admission.max_queue_ms:g}, expected below {budget:g}, what p99_ms "
        f"{latency.p99_ms:g} leaves after the hops retrieval {hops.retrieval:g} and edge {hops.edge:g}"
    )


def pruning_leaves_fewer(scale: Scale, admission: Admission) -> str | None:
    """Under pressure fewer candidates are scored than a request may carry."""
    if admission.prune_to < scale.candidates:
        return None
    return (
        f"serving.admission.prune_to: found {admission.prune_to}, expected below scale.candidates {scale.candidates}: "
        "otherwise nothing is pruned under pressure"
    )


def labels_mature_within_the_history(label: Label, data: Data) -> str | None:
    """The least history that is accepted must hold rows whose labels are known."""
    history_h = data.min_history_days * DAY_H
    if label.maturity_h < history_h:
        return None
    return (
        f"label.maturity_h: found {label.maturity_h:g}, expected below {history_h}, the hours of "
        f"data.min_history_days {data.min_history_days}: otherwise no row of it has a label"
    )


def log_outlives_its_labels(label: Label, log: FeatureLog) -> str | None:
    """A logged answer that is deleted before its outcome is known is never judged."""
    needed_h = label.maturity_h + QUALITY_DAYS * DAY_H
    if log.retention_days * DAY_H >= needed_h:
        return None
    return (
        f"serving.feature_log.retention_days: found {log.retention_days}, expected at least {needed_h / DAY_H:g}: the "
        f"{QUALITY_DAYS} days that live quality is judged over, and label.maturity_h {label.maturity_h:g} before them"
    )


def log_outlives_its_model(log: FeatureLog, monitoring: Monitoring) -> str | None:
    """Quality is held against the first requests of the live model: they must stay as long as it may live."""
    if log.retention_days >= monitoring.max_model_age_days:
        return None
    return (
        f"serving.feature_log.retention_days: found {log.retention_days}, expected at least "
        f"monitoring.max_model_age_days {monitoring.max_model_age_days}: the first requests of the live model are what "
        "its quality is held against"
    )


def hybrid_pool_fits_a_request(mode: str, batch: Batch, scale: Scale) -> str | None:
    """Candidates that were precomputed are scored like those of a request, and no more than one may carry."""
    if mode != "hybrid" or batch.pool <= scale.candidates:
        return None
    return (
        f"batch.pool: found {batch.pool}, expected at most scale.candidates {scale.candidates}: more are never scored "
        "in serving_mode hybrid"
    )
