"""What a thousand answers cost: CPU seconds at the assumed prices of `mlsd plan`."""

from mlsd.design.design import Design
from mlsd.plan.model_costs import REQUEST_MS
from mlsd.plan.plan import PRICES


def usd_per_1000(design: Design, model_ms: float) -> float:
    """US dollars for 1,000 requests on replicas used to the designed share; `model_ms` is CPU of one request."""
    cpu_price, gib_price = PRICES[design.cloud]
    gib_per_core = design.capacity.replica_memory_mib / 1024 / design.capacity.replica_cpu
    core_hours = (model_ms + REQUEST_MS) / design.capacity.load / 3600
    return core_hours * (cpu_price + gib_per_core * gib_price)
