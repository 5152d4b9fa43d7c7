"""What a run of the training pipeline measured, as checks, details and one sentence."""

from typing import Any

from mlsd.core.home import Home
from mlsd.core.result import Check
from mlsd.models.engines.benchmark import Measured
from mlsd.pipelines.run import Outcome
from mlsd.training.candidate import Candidate
from mlsd.training.gating.winner import InService


def _row(candidate: Candidate) -> dict[str, Any]:
    row = candidate.model_dump(mode="json", exclude={"bundle", "reliability"})
    return {**row, "passed": candidate.passed, "reason": candidate.reason}


def details_of(home: Home, outcome: Outcome, versions: dict[str, int], held: InService | None) -> dict[str, Any]:
    """Candidates, rows and lineage; of each registered version its role, digest and folder."""
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


def checks_of(outcome: Outcome) -> list[Check]:
    """The best chosen model's gates first; what was refused, with its reason; then the data's."""
    if not outcome.candidates:
        return outcome.checks
    choice = outcome.choice
    shown = choice.challenger or choice.champion or max(outcome.candidates[1:], key=lambda r: r.ndcg10).name
    candidate = next(candidate for candidate in outcome.candidates if candidate.name == shown)
    others = [
        Check(name=f"refused {other.name}", designed="not used", measured=str(other.reason), passed=True)
        for other in outcome.candidates[1:]
        if other is not candidate and not other.passed
    ]
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


def reason_of(checks: list[Check]) -> str:
    """The gates that refused, with their numbers; without one, what was refused has said why itself."""
    missed = [f"{c.name}: {c.measured}, designed {c.designed}" for c in checks if not c.passed]
    others = [f"{c.name.removeprefix('refused ')}: {c.measured}" for c in checks if c.name.startswith("refused ")]
    return "; ".join(missed or others) or "no candidate passed every gate"


def summary_of(outcome: Outcome, details: dict[str, Any]) -> str:
    """Who scored what, and who was chosen or why nobody was."""
    if not outcome.candidates:
        return "refused before training; what serves goes on serving"
    scores = ", ".join(f"{candidate.name} {candidate.ndcg10:.3f}" for candidate in outcome.candidates)
    if details["refused"]:
        return f"refused by gates: {details['refused']}; NDCG@10: {scores}; what serves goes on serving"
    return f"NDCG@10: {scores}; champion version {details['champion']}, challenger version {details['challenger']}"
