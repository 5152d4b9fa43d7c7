"""LightGBM's own threads: idle cores help a call that is alone, and change no bit of its scores."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from mlsd.models.engines.native import LightGbm
from support.boosters import boosted, rows


class Calls:
    """Stands before a booster, notes how many threads each call may use, and can hold the first one up."""

    def __init__(self, booster: Any, together: int) -> None:
        self._booster, self._all_here = booster, threading.Barrier(together)
        self.threads: list[int] = []

    def predict(self, *args: Any, num_threads: int, **kwargs: Any) -> Any:
        self.threads.append(num_threads)
        self._all_here.wait(10)
        return self._booster.predict(*args, num_threads=num_threads, **kwargs)


def test_scores_are_the_same_to_the_bit_with_any_number_of_threads() -> None:
    """5.11: a replay on another machine, or under load, gives what was answered."""
    text, matrix = boosted(), rows(500)
    expected = LightGbm(text, 1).raw(matrix)
    for threads in (2, 3, 8):
        assert np.array_equal(LightGbm(text, threads).raw(matrix), expected)


@pytest.mark.parametrize("together", [1, 3])
def test_only_a_call_that_is_alone_uses_all_cores(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, matrix = LightGbm(boosted(), 4), rows(50)
    expected = engine.raw(matrix)
    calls = Calls(engine._booster, together)
    monkeypatch.setattr(engine, "_booster", calls)
    with ThreadPoolExecutor(together) as pool:
        found = list(pool.map(lambda _: engine.raw(matrix), range(together)))
    assert sorted(calls.threads, reverse=True) == [4] + [1] * (together - 1)
    assert all(np.array_equal(each, expected) for each in found)
    monkeypatch.setattr(engine, "_booster", Calls(RefusesAll(), 1))
    with pytest.raises(ValueError, match="another width"):
        engine.raw(matrix)
    monkeypatch.setattr(engine, "_booster", again := Calls(calls._booster, 1))
    engine.raw(matrix)
    assert again.threads == [4], "a call that failed is over"


class RefusesAll:
    def predict(self, *_: Any, **__: Any) -> None:
        raise ValueError("another width")
