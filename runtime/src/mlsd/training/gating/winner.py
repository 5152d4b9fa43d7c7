"""Which candidate becomes champion or challenger: one that passed every gate, and only as far as the rows can tell."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mlsd.core.errors import UserError
from mlsd.core.result import Check
from mlsd.evaluation.bootstrap import interval
from mlsd.models.scoring import load_bundle
from mlsd.training.candidate import BASELINE, Candidate, Scored
from mlsd.training.gating import gates
from mlsd.training.rows import Rows


class InService(BaseModel):
    """The model that serves now: its registered version and its bundle."""

    model_config = ConfigDict(frozen=True)

    version: int
    folder: str
    digest: str


class Choice(BaseModel):
    """Names of candidates, or None; `check` is the comparison that decided about the challenger, if there was one."""

    model_config = ConfigDict(frozen=True)

    champion: str | None = None
    challenger: str | None = None
    check: Check | None = None
    champion_ndcg10: float | None = None


class Draw(BaseModel):
    """How models are compared: rounds and seed of the bootstrap, and the NDCG@10 that may be lost."""

    model_config = ConfigDict(frozen=True)

    rounds: int
    seed: int
    margin: float


def _compare(title: str, new: Scored, old: Scored, draw: Draw) -> Check:
    found = interval(new.ranking.ndcg - old.ranking.ndcg, draw.rounds, draw.seed)
    return gates.not_inferior(title, draw.margin, difference=found.mean, low=found.low, high=found.high)


def score(candidate: Candidate, rows: Rows) -> Scored:
    """Score the test rows with the candidate's bundle."""
    return Scored.of(rows, load_bundle(Path(str(candidate.bundle)), candidate.digest).score(rows.matrix))


def _best_first(candidates: list[Candidate]) -> list[Candidate]:
    """Candidates that passed every gate, by NDCG@10 of the newest rows; of equals the plainer one first."""
    passed = [candidate for candidate in candidates if candidate.passed and candidate.name != BASELINE]
    return sorted(passed, key=lambda candidate: -candidate.ndcg10)


def choose_first(candidates: list[Candidate], rows: Rows) -> Choice:
    """No model serves yet: the runner-up becomes champion, the best one challenges it through every step of a release.

    The first release has nothing to be compared with on live traffic, so it is the second best that goes live unproven.
    Nothing that serves can get worse by it, so there is no gate against a champion here.
    """
    passed = _best_first(candidates)
    if len(passed) < 2:
        return Choice(champion=passed[0].name if passed else None)
    best, champion = passed[0], passed[1]
    held = score(champion, rows)
    return Choice(
        champion=champion.name,
        challenger=best.name,
        champion_ndcg10=float(held.ranking.ndcg.mean()),
    )


def choose_next(
    candidates: list[Candidate], rows: Rows, champion: InService, features: tuple[str, ...], draw: Draw
) -> Choice:
    """A model serves: the best candidate that passed challenges it, if it is shown to be no worse than that model.

    Args:
        candidates: the leaderboard.
        rows: test rows, the newest.
        champion: the model in service, scored on the same rows.
        features: columns of the matrix.
        draw: how they are compared.

    Raises:
        UserError: the model in service needs features that are gone, so the two cannot be compared.
    """
    old = load_bundle(Path(champion.folder), champion.digest)
    gone = [name for name in old.manifest.feature_names if name not in features]
    if gone:
        raise UserError(
            f"model version {champion.version}, which serves, needs {', '.join(gone)}, which the training frame lacks; "
            "keep these features until its successor serves"
        )
    columns = [features.index(name) for name in old.manifest.feature_names]
    held = Scored.of(rows, old.score(rows.matrix[:, columns]))
    ndcg = float(held.ranking.ndcg.mean())
    passed = _best_first(candidates)
    if not passed:
        return Choice(champion_ndcg10=ndcg)
    best = passed[0]
    check = _compare(f"the champion, version {champion.version}", score(best, rows), held, draw)
    return Choice(challenger=best.name if check.passed else None, check=check, champion_ndcg10=ndcg)
