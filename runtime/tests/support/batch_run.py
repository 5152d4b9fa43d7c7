"""A run of `mlsd batch` over the small world, for tests of what it leaves and of who answers from it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlsd.core import clock
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.snapshot import current as current_snapshot
from mlsd.models.release import Release
from mlsd.models.scoring import Bundle, load_bundle
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.tasks.ranking.batch.run import Model, Written, write
from support.model_server import train

TOP, POOL, ITEMS = 20, 100, 300
NOBODY = 987_654_321


def in_mode(design: Design, mode: str, **changes: object) -> Design:
    """The design with precomputed rankings, small enough for the small world, and with time for a busy machine."""
    content = design.model_dump(mode="json")
    content["serving_mode"] = mode
    content["serving"]["engine"] = "lightgbm"
    hops = {"features": 2000, "inference": 2000, "post": 2000}
    content["latency"] = {"p99_ms": 10_000, "hops_ms": content["latency"]["hops_ms"] | hops}
    content["serving"]["admission"] |= {"prune_queue_ms": 2000, "max_queue_ms": 4000}
    content["batch"] |= {"top": TOP, "pool": POOL, "items": ITEMS} | changes
    return Design.model_validate(content)


def runs(featured_home: Home, small_design: Design, problem: Problem, folder: Path) -> Iterator["Made"]:
    """A copy of the small world with a model and one run."""
    home = Home(folder / "mlsd")
    shutil.copytree(featured_home.root, home.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSD_HOME", str(home.root))
        clock.reread()
        release = train(home, small_design, problem)
        bundle = load_bundle(Path(release.model_dir), release.model_digest)
        done = write(
            Context.of(in_mode(small_design, "batch"), home, problem),
            Model(1, bundle),
            current_snapshot(home),
            clock.now(),
        )
        yield home, release, bundle, done
    clock.reread()


Made = tuple[Home, Release, Bundle, Written]
