"""Point-in-time sums against the plain loop; nothing that happens at a moment is seen at that moment."""

import numpy as np
import pytest
from numpy.typing import NDArray

from feed_ranking.history.pit import Log, Schedule

RANDOM = np.random.default_rng(5)
KEYS, TIMES = RANDOM.integers(0, 6, 300), RANDOM.integers(0, 100, 300)
WEIGHTS = np.round(RANDOM.normal(size=(300, 2)) * 2**20) / 2**20
ROW_KEYS, ROW_TIMES = RANDOM.integers(0, 8, 80), RANDOM.integers(0, 120, 80)


def plain(window: int | None, last: int | None) -> NDArray[np.float64]:
    result = []
    for key, time in zip(ROW_KEYS, ROW_TIMES, strict=True):
        mine = np.flatnonzero((key == KEYS) & (time > TIMES))
        mine = mine[np.argsort(TIMES[mine], kind="stable")]
        if window is not None:
            mine = mine[TIMES[mine] >= time - window]
        if last is not None:
            mine = mine[-last:]
        result.append(WEIGHTS[mine].sum(axis=0) if len(mine) else np.zeros(2))
    return np.array(result)


@pytest.mark.parametrize(("window", "last"), [(None, None), (10, None), (None, 3)])
def test_sums_are_those_of_the_plain_loop(window: int | None, last: int | None) -> None:
    log = Log.of(KEYS, TIMES, WEIGHTS)
    assert np.array_equal(log.before(ROW_KEYS, ROW_TIMES, window=window, last=last), plain(window, last))


def test_an_event_at_the_very_moment_is_not_seen() -> None:
    log = Log.of(np.array([1, 1]), np.array([10, 20]), np.ones(2))
    assert log.before(np.array([1, 1, 1]), np.array([10, 11, 21]))[:, 0].tolist() == [0, 1, 2]
    assert log.latest(np.array([1, 1, 2]), np.array([10, 21, 21]), missing=-1).tolist() == [-1, 20, -1]


def test_later_events_of_anyone_change_no_bit() -> None:
    early = TIMES < 50
    rows = ROW_TIMES <= 50
    some = Log.of(KEYS[early], TIMES[early], np.sqrt(np.abs(WEIGHTS[early]))).before(ROW_KEYS[rows], ROW_TIMES[rows])
    every = Log.of(KEYS, TIMES, np.sqrt(np.abs(WEIGHTS))).before(ROW_KEYS[rows], ROW_TIMES[rows])
    assert some.tobytes() == every.tobytes()


def test_rows_are_written_on_change_and_at_the_latest_after_the_gap() -> None:
    schedule = Schedule(start=0, end=100, cadence=10, max_gap=40, moments=np.array([55]))
    keys, times = schedule.rows(np.array([3, 62]), np.array([0, 1, 0]), np.array([12, 65, 99]))
    mine = [times[keys == k].tolist() for k in (0, 1)]
    assert mine == [[3, 20, 40, 55, 80, 100], [62, 70, 80]]
