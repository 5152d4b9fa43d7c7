"""What monitoring measured, as checks beside the numbers of the design, and as alerts that ask for an action."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from mlsd.core.result import Check
from mlsd.design.design import Design
from mlsd.monitoring.comparison import Row
from mlsd.monitoring.quality import Change, Share
from mlsd.monitoring.triggers.trigger import Alert, Kind


@dataclass(frozen=True)
class Finding:
    """One check, and the alert it raises when it fails."""

    check: Check
    alert: Alert | None


def _finding(kind: Kind, subject: str, check: Check) -> Finding:
    message = f"{check.name}: {check.measured}, design {check.designed}"
    return Finding(check, None if check.passed else Alert(kind, subject, message))


def drift(rows: list[Row], design: Design) -> list[Finding]:
    """Critical features and the score, the largest PSI first."""
    found = []
    for row in sorted((row for row in rows if row.critical), key=lambda row: -row.psi):
        size = f"n {row.ks.n:,} against {row.ks.reference_n:,} requests"
        measured = f"{row.psi:.3f} ({size})" if row.verdict != "insufficient rows" else f"insufficient rows ({size})"
        check = Check(
            name=f"PSI {row.name}",
            designed=f"<= {design.monitoring.psi_alert:g}",
            measured=measured,
            passed=row.verdict != "alert",
        )
        found.append(_finding("drift", row.name, check))
    return found


def _percent(change: Change) -> str:
    relative = change.current / change.baseline - 1.0
    return f"{change.current:.3f}, {relative:+.1%} [{change.low:+.1%}, {change.high:+.1%}]"


def auc(kind: Kind, name: str, change: Change | None, drop: float, otherwise: str) -> Finding:
    """AUC of everybody or of one slice; fails only when the whole interval lies beyond the allowed drop."""
    check = Check(
        name=f"AUC {name}",
        designed=f"drops at most {drop:.0%}",
        measured=_percent(change) if change else otherwise,
        passed=change is None or not change.worse_than(drop),
    )
    return _finding(kind, name, check)


def business(share: Share | None, design: Design, unit: str, otherwise: str) -> Finding:
    """The business metric on served lists, in its unit per shown item; fails when the whole interval is too low."""
    metric = design.success.metric
    check = Check(
        name=metric,
        designed=f">= {design.success.target:g} {unit} per shown item",
        measured=f"{share.value:.4f} [{share.low:.4f}, {share.high:.4f}]" if share else otherwise,
        passed=share is None or share.high >= design.success.target,
    )
    return _finding("business", metric, check)


def age(created_at: datetime, now: datetime, design: Design) -> Finding:
    """Days since the live model was trained."""
    limit = timedelta(days=design.monitoring.max_model_age_days)
    check = Check(
        name="model age",
        designed=f"<= {limit.days} days",
        measured=f"{(now - created_at) / timedelta(days=1):.1f} days",
        passed=now - created_at <= limit,
    )
    return _finding("age", "model", check)


def as_details(row: Row) -> dict[str, Any]:
    """A row of the table, for the report."""
    return {**asdict(row), "ks": row.ks.distance, "ks_p": row.ks.p, "n": row.ks.n, "reference_n": row.ks.reference_n}


def log(lost: int, requests: int) -> Finding:
    """Whether the feature log is whole: a verdict on a part of the traffic is one on whoever was lucky."""
    measured = f"{lost:,} lost beside {requests:,}"
    return Finding(Check(name="feature log", designed="0 records lost", measured=measured, passed=not lost), None)
