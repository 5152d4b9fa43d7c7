"""Ratings in the layout of MovieLens, for tests of mapped sources."""

from pathlib import Path
from typing import Any

import numpy as np

from mlsd.design.design import Design

START = 1_500_000_000


def write_ratings(folder: Path) -> Path:
    """Two months of ratings: 39 users, 80 films."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    genres = ("(no genres listed)", "Drama|Comedy")
    movies = [f'{k},"Film {k} (19{50 + k % 50})",{genres[k % 2]}' for k in range(80)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    pairs = sorted({(int(u), int(i)) for u, i in zip(rng.integers(1, 40, 900), rng.integers(0, 70, 900), strict=True)})
    lines = [f"{u},{i},{rng.integers(1, 11) / 2},{START + int(rng.integers(0, 60 * 86400))}" for u, i in pairs]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    return folder


def small(design: Design, **changes: Any) -> Design:
    """The design with ten sampled negatives and, in its mapping of MovieLens, `changes`."""
    content = design.model_dump(mode="json")
    content["data"] |= {"min_rows": 100}
    content["data"]["mappings"]["movielens"] |= {"sampled_negatives": 10, **changes}
    return Design.model_validate(content)
