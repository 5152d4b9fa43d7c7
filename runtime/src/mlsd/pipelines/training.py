"""`mlsd train`: run the pipeline on the tables as they are, and say what it measured."""

from datetime import timedelta
from pathlib import Path

from mlsd.core.clock import now
from mlsd.core.errors import GateError
from mlsd.core.home import Home, read_json, write_json
from mlsd.core.result import StepResult
from mlsd.pipelines.fences import exclusive, new_folder
from mlsd.pipelines.local_run import run_pipeline
from mlsd.pipelines.run import read_outcome
from mlsd.pipelines.training_result import checks_of, details_of, reason_of, summary_of
from mlsd.problem.context import Context
from mlsd.registry.trainings import Training, record
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


def run(context: Context, window_days: int | None = None) -> StepResult:
    """Run the pipeline. With a release live, the new model becomes its challenger; else champion and challenger.

    Args:
        context: the design in force and the state folder; the steps load the pack themselves.
        window_days: train on the newest days only.

    Raises:
        UserError: the tables are missing or broken, or another run is under way.
    """
    from mlsd.data.storage import digest

    design, home = context.design, context.home
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
    details = details_of(home, outcome, versions, held)
    checks = checks_of(outcome)
    refused = reason_of(checks) if details["challenger"] is None and (held or details["champion"] is None) else ""
    details |= {"end": "refused" if refused else "promoted", "refused": refused}
    roles = {role: details[role] for role in ("champion", "challenger")}
    record(home, Training(at=until, tables_digest=tables, refused=refused, **roles))
    return StepResult(step="train", summary=summary_of(outcome, details), checks=checks, details=details, at=until)


def _run(home: Home, folder: Path, arguments: dict[str, str]) -> dict[str, int]:
    """The registered versions by role; none if a gate refused, which the outcome tells."""
    try:
        run_pipeline(home, folder, arguments)
    except GateError:
        return {}
    versions: dict[str, int] = read_json(folder / "versions.json", "run `mlsd train` again")
    return versions
