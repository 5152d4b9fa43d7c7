"""`mlsd monitor`: one pass over the traffic since the last verdict; what moved asks the hooks for an action."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlsd.core.clock import now
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Release
from mlsd.design.design import Design
from mlsd.evaluation.drift import MIN_ROWS
from mlsd.models.bundle import Manifest, read_bundle
from mlsd.monitoring import checks, comparison, reference, slice_quality, state
from mlsd.monitoring.checks import Finding
from mlsd.monitoring.comparison import Row
from mlsd.monitoring.outcomes import Outcomes, outcomes
from mlsd.monitoring.reference import Reference
from mlsd.monitoring.served_rows import SCORE, live
from mlsd.monitoring.triggers import hook_client
from mlsd.monitoring.triggers.trigger import Alert, Trigger, decide
from mlsd.monitoring.windows import Window, observe
from mlsd.problem.context import Context
from mlsd.problem.names import business_metric
from mlsd.serving.inference.replay import snapshots


@dataclass(frozen=True)
class Observation:
    """What one pass found about the live release."""

    release: Release
    manifest: Manifest
    reference: Reference | None
    window: Window
    start: datetime
    rows: list[Row]
    outcomes: Outcomes


def _live_release(home: Home) -> tuple[Release, Manifest]:
    release = Ledger(home.releases_db).champion() if home.releases_db.exists() else None
    if release is None:
        raise UserError(f"{home.releases_db}: no release is live; run `mlsd up` first")
    folder = home.model_folder(release.model_version, release.model_digest)
    return release, read_bundle(folder, release.model_digest)[0]


def _look(context: Context, since: datetime | None) -> Observation:
    design, home, problem = context.design, context.home, context.problem
    release, manifest = _live_release(home)
    stored = reference.of_release(release, context)
    if stored is None:
        return Observation(release, manifest, None, Window(), release.since, [], outcomes(context, None))
    last = state.load(home)
    judged = last.judged if last.release_id == release.id else None
    start = since or max(filter(None, (release.since, stored.end, judged)))
    new_below = design.serving.cold_start.min_interactions
    window = observe(live(home, release.id, start), problem, snapshots(home), stored.layout, new_below)
    rows = comparison.features(window, stored, manifest, design.monitoring)
    return Observation(release, manifest, stored, window, start, rows, outcomes(context, stored))


def _findings(seen: Observation, design: Design, unit: str) -> list[Finding]:
    limits, known = design.monitoring, seen.outcomes
    unknown = f"no verdict: {known.requests} labelled requests, {MIN_ROWS} needed"
    change = slice_quality.changes(known.baseline, known.current)
    found = [*checks.drift(seen.rows, design)]
    found.append(checks.auc("quality", "all", change.get("all"), limits.max_metric_drop, unknown))
    for name in slice_quality.SLICES:
        part = slice_quality.scores(seen.window)[name]
        score = f", top score {part['top_score']:.3f}" if part["requests"] else ""
        otherwise = f"no verdict: {part['requests']} requests{score}"
        found.append(checks.auc("slice", name, change.get(name), limits.max_slice_drop, otherwise))
    found.append(checks.business(known.business, design, unit, unknown))
    found.append(checks.age(seen.manifest.created_at, now(), design))
    found.append(checks.log(seen.window.lost, seen.window.requests))
    return found


def _details(seen: Observation, design: Design, alerts: list[Alert]) -> dict[str, Any]:
    window, stored = seen.window, seen.reference
    score = window.bins.get(SCORE)
    return {
        "release": {"id": seen.release.id, "model_version": seen.release.model_version},
        "window": {
            "start": seen.start.isoformat(),
            "end": window.end.isoformat() if window.end else None,
            "requests": window.requests,
            "rows": window.rows,
            "lost": window.lost,
            "degraded": dict(window.degraded),
        },
        "reference": {"requests": stored.requests, "rows": stored.rows, "end": stored.end.isoformat()}
        if stored
        else None,
        "features": [checks.as_details(row) for row in seen.rows],
        "device_psi": comparison.devices(window, stored) if stored else None,
        "score": {
            "edges": score.edges if score else [],
            "current": score.counts if score else [],
            "reference": stored.columns[SCORE].bins.counts if stored else [],
        },
        "slices": seen.outcomes.by_slice(slice_quality.scores(window)),
        "thresholds": {"alert": design.monitoring.psi_alert, "warning": design.monitoring.psi_warning},
        "alerts": [alert.message for alert in alerts],
    }


def _fire(home: Home, triggers: list[Trigger], end: datetime, last: state.State) -> list[dict[str, Any]]:
    told = []
    for trigger in triggers:
        run = hook_client.fire(home, trigger, end)
        last.fired[trigger.action] = now()
        last.last_key = trigger.key
        told.append({"key": trigger.key, "reason": trigger.reason, **run})
    return told


def _triggered(told: list[dict[str, Any]], *, expected: bool) -> Check:
    runs = ", ".join(f"{each['action']} run {each['run_id']}" for each in told)
    return Check(
        name="trigger",
        designed="one new run" if expected else "none",
        measured=runs or "none",
        passed=[each["created"] for each in told] == [True] if expected else not told,
    )


def _moved(seen: Observation, design: Design) -> Check:
    """The planted shift must be seen: at least one critical feature over the limit."""
    over = sorted((row for row in seen.rows if row.verdict == "alert"), key=lambda row: -row.psi)
    names = ", ".join(f"{row.name} {row.psi:.2f}" for row in over)
    few = "insufficient rows" if any(row.verdict == "insufficient rows" for row in seen.rows) else "none"
    designed = f"PSI > {design.monitoring.psi_alert:g} is seen"
    return Check(name="shift of a critical feature", designed=designed, measured=names or few, passed=bool(over))


def _verdict(seen: Observation) -> bool:
    return bool(seen.rows) and all(row.verdict != "insufficient rows" for row in seen.rows)


def _summary(seen: Observation, alerts: list[Alert]) -> str:
    if seen.reference is None:
        return (
            f"release {seen.release.id}: no verdict; its first {reference.REQUESTS} requests are still being collected"
        )
    warned = [row.name for row in seen.rows if row.verdict == "warning"]
    window = f"release {seen.release.id}: {seen.window.requests:,} requests, {seen.window.rows:,} rows"
    verdict = f"{len(alerts)} alerts" if _verdict(seen) else "insufficient rows, no verdict on drift"
    return f"{window}; {verdict}; {len(warned)} warnings{': ' if warned else ''}{', '.join(warned[:6])}"


def run(context: Context, since: datetime | None = None, *, expect_drift: bool = False) -> StepResult:
    """Judge the live traffic since the last verdict, and fire what must be fired.

    Args:
        context: the design's thresholds.
        since: look from this time on instead.
        expect_drift: a shift was planted; then seeing it and firing once is what passes.

    Raises:
        UserError: nothing is live, or a trigger must fire and the hook server is not there.
    """
    design, home, problem = context.design, context.home, context.problem
    unit = business_metric(design, problem).unit
    seen = _look(context, since)
    found = _findings(seen, design, unit)
    alerts = [finding.alert for finding in found if finding.alert]
    last, end = state.load(home), seen.window.end or now()
    cooldown = timedelta(minutes=design.monitoring.retrain_cooldown_min)
    told = _fire(home, decide(alerts, seen.release.id, seen.start, last.fired, cooldown), end, last)
    if _verdict(seen):  # otherwise the next run looks at these rows again, together with newer ones
        last.release_id, last.judged = seen.release.id, end
    state.store(home, last)
    drifted = {alert.subject for alert in alerts if alert.kind == "drift"}
    shown = [
        finding.check for finding in found if not (expect_drift and finding.alert and finding.alert.subject in drifted)
    ]
    before = [_moved(seen, design)] if expect_drift else []
    return StepResult(
        step="monitor_shifted" if expect_drift else "monitor",
        summary=_summary(seen, alerts),
        checks=[*before, *shown, _triggered(told, expected=expect_drift)],
        details={**_details(seen, design, alerts), "triggers": told},
        at=now(),
    )
