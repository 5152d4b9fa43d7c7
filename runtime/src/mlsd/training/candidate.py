"""What was measured of one model of the leaderboard on the test rows."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mlsd.core.result import Check
from mlsd.evaluation import ranking_metrics
from mlsd.evaluation.bootstrap import Interval, interval
from mlsd.evaluation.ranking_metrics import PerRequest, Reliability
from mlsd.models.engines.benchmark import EngineReport, Measured
from mlsd.training.rows import Rows

Floats = NDArray[np.float64]
BASELINE = "popularity"


class SliceRow(BaseModel):
    """NDCG@10 on the requests of one slice, and its difference to the baseline's with the 95 % interval."""

    model_config = ConfigDict(frozen=True)

    requests: int
    ndcg10: float | None
    difference: float | None
    difference_ci: tuple[float, float] | None

    @property
    def plain(self) -> dict[str, float]:
        """The numbers for a tracking run."""
        found = {"requests": self.requests, "ndcg10": self.ndcg10, "difference": self.difference}
        return {name: float(value) for name, value in found.items() if value is not None}


class Candidate(BaseModel):
    """One model: its measurements, its verdict, and where its bundle lies."""

    model_config = ConfigDict(frozen=True)

    name: str
    family: str
    objective: str
    requests: int
    ndcg10: float
    ndcg10_ci: tuple[float, float]
    lift: float
    lift_ci: tuple[float, float]
    versus_logistic: float | None = None
    versus_logistic_ci: tuple[float, float] | None = None
    precision10: float
    recall10: float
    auc: float
    log_loss: float
    ece: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    slices: dict[str, SliceRow]
    reliability: dict[str, list[float]]
    checks: list[Check] = []
    engines: EngineReport | None = None
    bundle: str | None = None
    digest: str | None = None

    @property
    def engine(self) -> Measured | None:
        """The fastest engine with the native scores; None of a model that is not to be registered."""
        found = self.engines
        return next(row for row in found.engines if row.engine == found.best) if found else None

    @property
    def engine_metrics(self) -> dict[str, float]:
        """The engines' numbers for a tracking run."""
        rows = self.engines.engines if self.engines else []
        names = ("p50_ms", "p99_ms", "ratio", "max_difference", "ndcg10_change", "usd_per_1000")
        return {f"engine.{row.engine}.{name}": float(getattr(row, name)) for row in rows for name in names}

    @property
    def plain(self) -> dict[str, float]:
        """The numbers for a manifest or a tracking run."""
        names = ("ndcg10", "lift", "precision10", "recall10", "auc", "log_loss", "ece", "p50_ms", "p99_ms", "requests")
        return {name: float(getattr(self, name)) for name in names if getattr(self, name) is not None}

    @property
    def passed(self) -> bool:
        """True only if it was judged and missed no gate."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reason(self) -> str:
        """Why it was refused; empty if it passed."""
        missed = [f"{c.name} {c.measured}, designed {c.designed}" for c in self.checks if not c.passed]
        return "; ".join(missed)


@dataclass(frozen=True)
class Scored:
    """Scores of one model on the test rows, [n], and their ranking metrics per request."""

    score: Floats
    ranking: PerRequest

    @classmethod
    def of(cls, rows: Rows, score: Floats) -> "Scored":
        """Rank the rows of each request by `score` [n]."""
        return cls(score, ranking_metrics.per_request(rows.request, score, rows.label))


def _pair(found: Interval) -> tuple[float, float]:
    return (found.low, found.high)


def slice_table(rows: Rows, model: Scored, baseline: Scored, rounds: int, seed: int) -> dict[str, SliceRow]:
    """Per slice: the requests in which a positive row carries the slice's flag."""
    table = {}
    for name, flag in rows.slices.items():
        inside = np.isin(model.ranking.request, rows.request[flag & (rows.label > 0)])
        difference = interval((model.ranking.ndcg - baseline.ranking.ndcg)[inside], rounds, seed)
        some = difference.n > 0
        table[name] = SliceRow(
            requests=difference.n,
            ndcg10=float(model.ranking.ndcg[inside].mean()) if some else None,
            difference=difference.mean if some else None,
            difference_ci=_pair(difference) if some else None,
        )
    return table


def measure(
    name: str, rows: Rows, model: Scored, baseline: Scored, logistic: Scored | None, *, rounds: int, seed: int
) -> Candidate:
    """Measure calibrated scores against the labels, the baseline and, once there is one, the logistic regression."""
    ndcg = interval(model.ranking.ndcg, rounds, seed)
    lift = interval(model.ranking.ndcg - baseline.ranking.ndcg, rounds, seed)
    versus = interval(model.ranking.ndcg - logistic.ranking.ndcg, rounds, seed) if logistic else None
    curve: Reliability = ranking_metrics.reliability(model.score, rows.label)
    family, objective = [*name.split("/"), "baseline"][:2]
    return Candidate(
        name=name,
        family=family,
        objective=objective,
        requests=ndcg.n,
        ndcg10=ndcg.mean,
        ndcg10_ci=_pair(ndcg),
        lift=lift.mean,
        lift_ci=_pair(lift),
        versus_logistic=versus.mean if versus else None,
        versus_logistic_ci=_pair(versus) if versus else None,
        precision10=float(model.ranking.precision.mean()),
        recall10=float(model.ranking.recall.mean()),
        auc=ranking_metrics.auc(model.score, rows.label),
        log_loss=ranking_metrics.log_loss(model.score, rows.label),
        ece=curve.error,
        slices=slice_table(rows, model, baseline, rounds, seed),
        reliability=asdict(curve),
    )
