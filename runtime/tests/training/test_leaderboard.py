"""The leaderboard on frames with planted truth: what each candidate finds, that it repeats itself, who is chosen."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mlsd.core.errors import UserError
from mlsd.design.design import Design
from mlsd.models.bundle import read_bundle
from mlsd.models.scoring import load_bundle
from mlsd.problem.problem import Problem, load_problem
from mlsd.training.boosted_trees import fit_trees
from mlsd.training.bundling import Lineage
from mlsd.training.candidate import Candidate
from mlsd.training.gating.winner import Draw, InService, choose_first, choose_next
from mlsd.training.leaderboard import Parts, run_leaderboard
from mlsd.training.logistic_regression import fit_logistic
from mlsd.training.pairwise import Pairs
from mlsd.training.rows import Rows, from_frame
from support.frames import training_frame

pytestmark = pytest.mark.slow


LINEAGE = Lineage("0123456789ab", "src-test", datetime(2025, 4, 1, tzinfo=UTC))
DRAW = Draw(rounds=200, seed=1, margin=0.02)


@pytest.fixture(scope="module")
def problem(design: Design) -> Problem:
    return load_problem(design.problem)


@pytest.fixture(scope="module")
def parts(problem: Problem) -> Parts:
    frame = training_frame(problem.feature_names, requests=2000)
    first, second = frame["at"].quantile([0.8, 0.9])
    cuts = (frame["at"] < first, (frame["at"] >= first) & (frame["at"] < second), frame["at"] >= second)
    return Parts(*(from_frame(frame[cut], problem.feature_names) for cut in cuts))


def altered(design: Design, **training: object) -> Design:
    content = design.model_dump(mode="json")
    content["training"] |= {"trees": 60, "bootstrap_rounds": 200, **training}
    return Design.model_validate(content)


@pytest.fixture(scope="module")
def candidates(
    design: Design, problem: Problem, parts: Parts, tmp_path_factory: pytest.TempPathFactory
) -> list[Candidate]:
    return run_leaderboard(altered(design), problem, parts, LINEAGE, tmp_path_factory.mktemp("models"))


def test_the_leaderboard_climbs(candidates: list[Candidate]) -> None:
    """4.02, 4.04, 2.03: a baseline, a logistic regression, trees, and the challenger with the design's objective."""
    names = [candidate.name for candidate in candidates]
    assert names == ["popularity", "logistic_regression/pointwise", "boosted_trees/pointwise", "boosted_trees/listwise"]
    popularity, logistic, trees, challenger = candidates
    assert popularity.lift == 0 and popularity.ndcg10 < logistic.ndcg10 < min(trees.ndcg10, challenger.ndcg10)
    assert all(candidate.passed for candidate in candidates[1:]), [candidate.reason for candidate in candidates]
    assert trees.versus_logistic is not None and trees.versus_logistic > 0


def test_every_candidate_is_calibrated_and_measured(candidates: list[Candidate]) -> None:
    """2.04, 4.19, 4.20, 4.22: probabilities from a listwise model too; slices with n; latency beside accuracy."""
    for candidate in candidates[1:]:
        assert candidate.ece < 0.06
        assert set(candidate.slices) == {"weekend", "new_user", "new_item"}
        assert all(row.requests > 0 for row in candidate.slices.values())
        assert (
            candidate.p99_ms is not None and candidate.p50_ms is not None and 0 < candidate.p50_ms <= candidate.p99_ms
        )


def test_the_bundle_on_disk_is_what_was_measured(candidates: list[Candidate], parts: Parts, problem: Problem) -> None:
    """4.23: the same artefact, by digest, from the experiment on."""
    for candidate in candidates[1:]:
        bundle = load_bundle(Path(str(candidate.bundle)), candidate.digest)
        assert bundle.manifest.metrics["ndcg10"] == candidate.ndcg10
        assert bundle.manifest.train_window[1] < parts.test.start
        assert set(bundle.manifest.reference) == {*problem.feature_names, "score"}


def test_two_trainings_give_the_same_models(
    design: Design, problem: Problem, parts: Parts, candidates: list[Candidate], tmp_path: Path
) -> None:
    again = run_leaderboard(altered(design), problem, parts, LINEAGE, tmp_path)
    for one, two in zip(candidates[1:], again[1:], strict=True):
        first, _, _ = read_bundle(Path(str(one.bundle)), one.digest)
        second, _, _ = read_bundle(Path(str(two.bundle)), two.digest)
        assert first.model_sha256 == second.model_sha256
        assert first.calibration == second.calibration
        assert one.ndcg10 == two.ndcg10


@pytest.mark.parametrize("objective", ["pointwise", "pairwise", "listwise"])
def test_every_objective_of_the_design_learns_the_order(
    design: Design, problem: Problem, parts: Parts, tmp_path: Path, objective: str
) -> None:
    """2.03: pointwise, pairwise and listwise all train."""
    content = altered(design).model_dump(mode="json") | {"ranking": objective}
    last = run_leaderboard(Design.model_validate(content), problem, parts, LINEAGE, tmp_path)[-1]
    assert last.objective == objective
    assert last.lift_ci[0] > 0.05 and last.auc > 0.7


def test_the_pairwise_gradient_is_the_derivative_of_its_loss(parts: Parts) -> None:
    pairs = Pairs.drawn(parts.test, seed=3)
    assert (parts.test.label[pairs.better] == 1).all() and (parts.test.label[pairs.worse] == 0).all()
    assert (parts.test.request[pairs.better] == parts.test.request[pairs.worse]).all()
    raw = np.random.default_rng(0).normal(size=len(parts.test))

    def loss(scores: np.ndarray) -> float:
        return float(np.log1p(np.exp(scores[pairs.worse] - scores[pairs.better])).sum())

    first, second = pairs.gradient(raw, None)
    for place in (int(pairs.better[0]), int(pairs.worse[0]), 5):
        step = np.zeros(len(raw))
        step[place] = 1e-4
        up, here, down = loss(raw + step), loss(raw), loss(raw - step)
        assert first[place] == pytest.approx((up - down) / 2e-4, abs=1e-4)
        assert second[place] == pytest.approx((up - 2 * here + down) / 1e-8, abs=1e-2)


def test_requests_without_a_negative_give_no_pairs(parts: Parts) -> None:
    one = Rows(
        matrix=np.zeros((3, 1), dtype=np.float32),
        label=np.array([1, 1, 0], dtype=np.int8),
        request=np.array([0, 0, 1]),
        popularity=np.zeros(3),
        slices={},
        start=parts.test.start,
        end=parts.test.end,
    )
    assert len(Pairs.drawn(one, seed=0).better) == 0


def test_logistic_regression_takes_missing_and_constant_columns(parts: Parts) -> None:
    matrix = parts.train.matrix.copy()
    matrix[:, 4] = 3.0
    matrix[:, 5] = np.nan
    rows = Rows(
        matrix, parts.train.label, parts.train.request, parts.train.popularity, {}, parts.train.start, parts.train.end
    )
    assert "NaN" not in fit_logistic(rows).text


def test_training_does_not_look_at_the_test_rows(design: Design, problem: Problem, parts: Parts) -> None:
    text = fit_trees(parts.train, altered(design), problem.feature_names, "pointwise", leaves=7).text
    assert text == fit_trees(parts.train, altered(design), problem.feature_names, "pointwise", leaves=7).text


def test_the_two_best_become_champion_and_challenger(candidates: list[Candidate], parts: Parts) -> None:
    """4.08."""
    choice = choose_first(candidates, parts.test)
    by_rank = sorted(candidates[1:], key=lambda candidate: -candidate.ndcg10)
    assert (choice.challenger, choice.champion) == (by_rank[0].name, by_rank[1].name)


def _refused(candidate: Candidate) -> Candidate:
    return candidate.model_copy(update={"checks": [candidate.checks[0].model_copy(update={"passed": False})]})


def test_a_refused_candidate_is_not_chosen(candidates: list[Candidate], parts: Parts) -> None:
    popularity, logistic, trees, challenger = candidates
    choice = choose_first([popularity, logistic, _refused(trees), _refused(challenger)], parts.test)
    assert (choice.champion, choice.challenger) == ("logistic_regression/pointwise", None)
    nothing = choose_first([popularity, *map(_refused, candidates[1:])], parts.test)
    assert (nothing.champion, nothing.challenger) == (None, None)


def _in_service(candidate: Candidate) -> InService:
    return InService(version=7, folder=str(candidate.bundle), digest=str(candidate.digest))


def test_a_new_model_is_compared_with_the_one_in_service_on_the_same_rows(
    candidates: list[Candidate], parts: Parts, problem: Problem
) -> None:
    better = choose_next(candidates, parts.test, _in_service(candidates[1]), problem.feature_names, DRAW)
    assert better.challenger in {"boosted_trees/pointwise", "boosted_trees/listwise"}
    assert better.champion_ndcg10 == candidates[1].ndcg10
    worse = choose_next(candidates[:2], parts.test, _in_service(candidates[3]), problem.feature_names, DRAW)
    assert worse.challenger is None and worse.check is not None and not worse.check.passed


def test_a_champion_whose_features_are_gone_cannot_be_compared(
    candidates: list[Candidate], parts: Parts, problem: Problem
) -> None:
    with pytest.raises(UserError, match=problem.feature_names[0]):
        choose_next(candidates, parts.test, _in_service(candidates[1]), problem.feature_names[1:], DRAW)
