"""What training measured of each engine on the model: the file beside the bundle that `engine: auto` reads."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mlsd.models.bundle import Finite

FILE = "engines.json"


class Measured(BaseModel):
    """One engine against the native one, on rows of the test set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    p50_ms: Finite
    p99_ms: Finite
    ratio: Finite  # of p50 to the native engine's
    max_difference: Finite  # of a raw score to the native engine's
    same_order: bool  # of every request of the test set
    ndcg10_change: Finite
    meets_budget: bool
    usd_per_1000: Finite  # requests, at the assumed prices of `mlsd plan`


class EngineReport(BaseModel):
    """All engines that can score a model, the native one first, and why the others cannot."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidates: int
    budget_ms: Finite
    engines: list[Measured]
    refused: dict[str, str]
    best: str  # the fastest with the native scores


def read(folder: Path) -> EngineReport | None:
    """The report beside a bundle; None if there is none that can be read. A hint only: nothing is trusted for it."""
    try:
        return EngineReport.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
