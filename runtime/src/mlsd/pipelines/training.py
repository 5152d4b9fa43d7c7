"""`mlsd train`: run the pipeline on the tables as they are, and say what it measured."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from mlsd.core.clock import now
from mlsd.core.errors import GateError
from mlsd.core.home import Home, read_json, write_json
from mlsd.core.result import Check, StepResult
from mlsd.models.engines.benchmark import Measured
from mlsd.pipelines.local_run import exclusive, new_folder, run_pipeline
from mlsd.pipelines.run import Outcome, read_outcome
from mlsd.problem.context import Context
from mlsd.registry.trainings import Training, record
from mlsd.training.candidate import Candidate
from mlsd.training.gating.winner import InService


def in_service(home: Home) -> InService | None:
    """The model of the release that is live, if one is."""
    from mlsd.delivery.releases.ledger import Ledger

    if not home.releases_db.exists():
        return None
    release = Ledger(home.releases_db).champion()
    if release is None:
        return None
    digest = release.model_digest
    folder = home.model_folder(release.model_version, digest)
    return InService(version=release.model_version, folder=str(folder), digest=digest)


def _row(candidate: Candidate) -> dict[str, Any]:
    row = candidate.model_dump(mode="json", exclude={"bundle", "reliability"})
    return {**row, "passed": candidate.passed, "reason": candidate.reason}


def _details(home: Home, outcome: Outcome, versions: dict[str, int], held: InService | None) -> dict[str, Any]:
    details: dict[str, Any] = {
        "champion": held.version if held else None,
        "challenger": None,
        "leaderboard": [_row(candidate) for candidate in outcome.candidates],
        "reliability": {candidate.name: candidate.reliability for candidate in outcome.candidates},
        "rows": outcome.rows,
        "tables_digest": outcome.tables_digest,
        "code_version": outcome.code_version,
        "champion_ndcg10": outcome.choice.champion_ndcg10,
    }
    if held:
        details |= {"champion_digest": held.digest, "champion_folder": held.folder}
    names = {"champion": outcome.choice.champion, "challenger": outcome.choice.challenger}
    for role, version in versions.items():
        digest = str(next(candidate.digest for candidate in outcome.candidates if candidate.name == names[role]))
        folder = str(home.model_folder(version, digest))
        details |= {role: version, f"{role}_digest": digest, f"{role}_folder": folder, f"{role}_candidate": names[role]}
    return details


def _refused(candidate: Candidate) -> Check:
    return Check(name=f"refused {candidate.name}", designed="not used", measured=str(candidate.reason), passed=True)


def _checks(outcome: Outcome) -> list[Check]:
    """The best chosen model's gates first; what was refused, with its reason; then the data's."""
    if not outcome.candidates:
        return outcome.checks
    choice = outcome.choice
    shown = choice.challenger or choice.champion or max(outcome.candidates[1:], key=lambda r: r.ndcg10).name
    candidate = next(candidate for candidate in outcome.candidates if candidate.name == shown)
    others = [_refused(other) for other in outcome.candidates[1:] if other is not candidate and not other.passed]
    engine = [_engine(candidate.engine, candidate.engines.budget_ms)] if candidate.engine and candidate.engines else []
    return [*candidate.checks, *engine, *others, *([choice.check] if choice.check else []), *outcome.checks]


def _engine(best: Measured, budget_ms: float) -> Check:
    """4.22: cost beside accuracy."""
    return Check(
        name="engine within inference",
        designed=f"<= {budget_ms:g} ms",
        measured=f"{best.engine} {best.p99_ms:.2f} ms, {best.ratio:.2f} x native, {best.usd_per_1000:.5f} USD per 1000",
        passed=best.meets_budget,
    )


def _reason(checks: list[Check]) -> str:
    """The gates that refused, with their numbers; without one, what was refused has said why itself."""
    missed = [f"{c.name}: {c.measured}, designed {c.designed}" for c in checks if not c.passed]
    others = [f"{c.name.removeprefix('refused ')}: {c.measured}" for c in checks if c.name.startswith("refused ")]
    return "; ".join(missed or others) or "no candidate passed every gate"


def _summary(outcome: Outcome, details: dict[str, Any]) -> str:
    if not outcome.candidates:
        return "refused before training; what serves goes on serving"
    scores = ", ".join(f"{candidate.name} {candidate.ndcg10:.3f}" for candidate in outcome.candidates)
    if details["refused"]:
        return f"refused by gates: {details['refused']}; NDCG@10: {scores}; what serves goes on serving"
    chosen = f"champion version {details['champion']}, challenger version {details['challenger']}"
    return f"NDCG@10: {scores}; {chosen}"


def run(context: Context, window_days: int | None = None) -> StepResult:
    """Run the pipeline. With a release live, the new model becomes its challenger; else champion and challenger.

    Args:
        context: the design in force and the state folder; the steps load the pack themselves.
        window_days: train on the newest days only.

    Raises:
        UserError: the tables are missing or broken, or another run is under way.
    """
    design, home = context.design, context.home
    from mlsd.data.storage import digest

    tables, until = digest(home), now()
    held = in_service(home)
    with exclusive(home) as parent:
        folder = new_folder(parent)
        write_json(folder / "design.yaml", design.model_dump(mode="json"))  # JSON is YAML
        arguments = {
            "home": str(home.root),
            "design": str(folder / "design.yaml"),
            "folder": str(folder),
            "tables_digest": tables,
            "window_start": (until - timedelta(days=window_days)).isoformat() if window_days else "",
            "window_end": until.isoformat(),
            "champion": held.model_dump_json() if held else "",
        }
        versions = _run(home, folder, arguments)
        outcome = read_outcome(folder)
    details = _details(home, outcome, versions, held)
    checks = _checks(outcome)
    refused = _reason(checks) if details["challenger"] is None and (held or details["champion"] is None) else ""
    details |= {"end": "refused" if refused else "promoted", "refused": refused}
    roles = {role: details[role] for role in ("champion", "challenger")}
    record(home, Training(at=until, tables_digest=tables, refused=refused, **roles))
    return StepResult(step="train", summary=_summary(outcome, details), checks=checks, details=details, at=until)


def _run(home: Home, folder: Path, arguments: dict[str, str]) -> dict[str, int]:
    """The registered versions by role; none if a gate refused, which the outcome tells."""
    try:
        run_pipeline(home, folder, arguments)
    except GateError:
        return {}
    versions: dict[str, int] = read_json(folder / "versions.json", "run `mlsd train` again")
    return versions
