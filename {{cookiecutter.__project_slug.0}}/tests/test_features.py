"""The functions that training and serving share: a row has the same bits alone and in a batch (3.14)."""

import os
import subprocess
import sys

import numpy as np
import pytest

from feed_ranking import columns, features
from mlsd.core.errors import UserError
from mlsd.design.design import Design
from mlsd.problem.problem import Problem


def drawn(problem: Problem, n: int) -> tuple[features.Floats, features.Floats, features.Floats]:
    rng = np.random.default_rng(n)
    user = rng.normal(1.0, 3.0, (1, len(problem.user_columns))).astype(np.float32)
    items = rng.normal(1.0, 3.0, (n, len(problem.item_columns))).astype(np.float32)
    context = problem.context(np.array(["2026-03-01T13:45:10"], "datetime64[us]"), np.array(["mobile"]))
    return user, items, context


@pytest.mark.parametrize("n", [1, 2, 7, 500, 5000])
def test_a_row_has_the_same_bits_alone_in_a_request_and_in_a_batch(problem: Problem, n: int) -> None:
    user, items, context = drawn(problem, n)
    request = problem.assemble(user, items, context)
    batch = problem.assemble(
        np.asfortranarray(np.repeat(user, n, axis=0)), np.asfortranarray(items), np.repeat(context, n, axis=0)
    )
    alone = np.concatenate([problem.assemble(user, items[k : k + 1], context) for k in range(n)])
    assert request.shape == (n, len(problem.feature_names))
    assert request.dtype == np.float32
    assert request.tobytes() == batch.tobytes() == alone.tobytes()


def test_the_order_of_candidates_does_not_matter(problem: Problem) -> None:
    user, items, context = drawn(problem, 50)
    order = np.random.default_rng(1).permutation(50)
    assert np.array_equal(problem.assemble(user, items, context)[order], problem.assemble(user, items[order], context))


def test_names_are_unique_and_hold_the_critical_features(problem: Problem, design: Design) -> None:
    for names in (problem.feature_names, problem.user_columns, problem.item_columns):
        assert len(set(names)) == len(names)
    assert set(design.monitoring.critical_features) <= set(problem.feature_names)
    assert sum(problem.user_views.values(), ()) == problem.user_columns
    assert problem.user_defaults.shape == (len(problem.user_columns),)
    assert problem.item_defaults.shape == (len(problem.item_columns),)
    assert np.isfinite(problem.user_defaults).all()
    assert np.isfinite(problem.item_defaults).all()


def test_context_knows_hour_weekday_and_weekend(problem: Problem) -> None:
    """3.08: day of week and device are there."""
    at = np.array(["2026-03-02T00:30", "2026-02-28T23:59:59", "1999-12-31T23:00"], "datetime64[us]")
    rows = problem.context(at, np.array(["desktop", "fridge", "mobile"]))
    named = [dict(zip(columns.CONTEXT_COLUMNS, row.tolist(), strict=True)) for row in rows]
    assert [r["hour"] for r in named] == [0, 23, 23]
    assert [r["weekday"] for r in named] == [0, 5, 4]
    assert [r["weekend"] for r in named] == [0, 1, 0]
    assert [r["device"] for r in named] == [1, 3, 0]
    assert named[2]["now_h"] == -1


def test_an_unknown_item_counts_as_new_and_unknown_users_as_cold(problem: Problem) -> None:
    context = problem.context(np.array(["2026-03-01T13:45"], "datetime64[us]"), np.array(["mobile"]))
    row = problem.assemble(problem.user_defaults[None, :], problem.item_defaults[None, :], context)[0]
    values = dict(zip(problem.feature_names, row.tolist(), strict=True))
    assert values["item_age_h"] == values["account_age_h"] == 0
    assert values["session_idle_h"] == 8760
    assert problem.interactions(problem.user_defaults) == 0
    assert problem.popularity(problem.item_defaults[None, :]).tolist() == [0]


def test_popularity_rises_with_positives_and_stays_below_one(problem: Problem) -> None:
    items = np.repeat(problem.item_defaults[None, :], 4, axis=0)
    items[:, problem.item_columns.index("item_positives")] = np.log1p([0, 1, 10, 1e9])
    scores = problem.popularity(items)
    assert (np.diff(scores) > 0).all()
    assert scores.max() < 1


def test_who_is_new_gets_what_the_group_likes_among_the_popular(problem: Problem) -> None:
    """3.19, 3.20: a group's taste moves posts of its categories; without one it is popularity, to the bit."""
    items = np.repeat(problem.item_defaults[None, :], 6, axis=0)
    items[:, problem.item_columns.index("item_positives")] = np.log1p([0, 5, 5, 5, 40, 1e9])
    for post, slots in {1: (3,), 2: (3, 4), 3: (5,), 4: (5,)}.items():
        items[post, [problem.item_columns.index(f"slot_{slot:02d}") for slot in slots]] = 1
        items[post, problem.item_columns.index("item_slots")] = len(slots)
    nobody = problem.user_defaults
    assert problem.cold_start(items, nobody).tobytes() == problem.popularity(items).tobytes()
    user = nobody.copy()
    user[problem.user_columns.index("group_taste_03")] = 1.4
    user[problem.user_columns.index("group_taste_05")] = -0.8
    scores = problem.cold_start(items, user)
    assert scores[1] > scores[2] > problem.popularity(items)[2] > scores[3] > scores[0] == 0
    assert scores[1] > scores[4], "five in the right category beat forty in the wrong one"
    assert scores[5] > scores[1], "but taste is bounded"
    user[problem.user_columns.index("group_taste_03")] = 1e9
    assert ((problem.cold_start(items, user) >= 0) & (problem.cold_start(items, user) < 1)).all()
    for post in range(len(items)):
        assert problem.cold_start(items[post : post + 1], user)[0] == problem.cold_start(items, user)[post]


def test_the_request_path_imports_numpy_only() -> None:
    code = (
        "import sys, numpy as np; from feed_ranking.problem import PROBLEM as p; "
        "c = p.context(np.zeros(1, 'datetime64[us]'), np.array([''])); "
        "p.assemble(p.user_defaults[None], p.item_defaults[None], c); "
        "print(sorted({'pandas', 'feast', 'scipy', 'pyarrow', 'mlflow', 'sklearn', 'lightgbm'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=env)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("forgotten", ["name", "value"])
def test_a_name_without_a_value_is_told_when_the_pack_is_loaded(
    monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    """Else every later column holds its neighbour's values, and the last one whatever lay in memory."""
    names = features._CROSSED[:-1] if forgotten == "name" else (*features._CROSSED, "popular_fresh")
    monkeypatch.setattr(features, "_CROSSED", names)
    with pytest.raises(UserError, match=rf"found {len(names)} names in _CROSSED and \d+ values in _crossed"):
        features.check_names()
