"""Buckets: the Python twin, spread, and the regexes that routes match."""

import re
from collections import Counter

import pytest

from mlsd.delivery.edge.buckets import bucket, bucket_regex


@pytest.mark.parametrize("percent", range(1, 100))
def test_regex_matches_exactly_the_buckets_below(percent: int) -> None:
    found = [number for number in range(1000) if re.fullmatch(bucket_regex(percent), str(number))]
    assert found == list(range(percent))


@pytest.mark.parametrize("percent", [0, 100, -5])
def test_no_regex_for_nobody_or_everybody(percent: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 99"):
        bucket_regex(percent)


def test_known_values() -> None:
    """A change of the hash moves every user of a running rollout."""
    assert [bucket(user, "s") for user in ("", "1", "2", "é", "user-1")] == [62, 92, 27, 84, 22]


def test_even_spread() -> None:
    """Chi-square over 100 buckets, sequential ids: below the 99.9 % point of 99 degrees of freedom, 148.2."""
    for salt in ("feed-ranker:2", "feed-ranker:3", ""):
        counts = Counter(bucket(str(user), salt) for user in range(100_000))
        assert len(counts) == 100
        assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 148.2


def test_another_salt_picks_other_users() -> None:
    """Not the same users are always the first: of the 5 % of one release about 5 % are among those of the next."""
    first, second = ({u for u in range(100_000) if bucket(str(u), f"r:{n}") < 5} for n in (1, 2))
    assert 0.035 < len(first & second) / len(first) < 0.065


def test_a_user_stays() -> None:
    """5.27: 100,000 users, ramp 5 -> 25 -> 100 %: whoever is in at a step is in at the next."""
    steps = [re.compile(bucket_regex(percent)) for percent in (5, 25, 99)]
    for user in range(100_000):
        inside = [bool(step.fullmatch(str(bucket(str(user), "s")))) for step in steps]
        assert inside == sorted(inside)
