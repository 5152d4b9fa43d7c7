"""`mlsd batch`: score every user with the champion, and prove that the service would have scored alike."""

import logging
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.models import RegistryModels
from mlsd.design.design import Design
from mlsd.features.snapshot import Snapshot
from mlsd.features.snapshot import current as current_snapshot
from mlsd.models.bundle import read_bundle
from mlsd.models.engines.base import EngineUnavailable
from mlsd.models.scoring import Bundle
from mlsd.models.selection import COMPILED, choose, compile_engine, load_now
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.registry.trainings import first_champion
from mlsd.tasks.ranking.batch.run import Model, Written, write
from mlsd.tasks.ranking.batch.table import Table, current
from mlsd.tasks.ranking.ranking import popular

LOGGER = logging.getLogger("mlsd")
COMPARED = 50  # users


def chosen(design: Design, home: Home, version: int | None) -> tuple[int, str, Path]:
    """Version, digest and folder of a model; default: the one that is live, else the last training's champion.

    Raises:
        UserError: nothing is trained, or no such version is registered.
    """
    models = RegistryModels(design, home)
    live = Ledger(home.releases_db).champion() if version is None else None
    if live is not None:
        return live.model_version, live.model_digest, models.folder(live)
    if version is None:
        version = first_champion(home)
    model = models.describe(version)
    return model.version, model.digest, home.model_folder(model.version, model.digest)


def _bundle(design: Design, home: Home, folder: Path, digest: str) -> Bundle:
    """The model by the engine that the service uses; a batch waits for the compiler, for it has more to gain."""
    manifest, _, _ = read_bundle(folder, digest)
    if choose(design.serving, manifest, folder) == COMPILED:
        with suppress(EngineUnavailable):
            return compile_engine(folder, digest, home)
    return load_now(design.serving, folder, digest, home, design.latency.hops_ms.inference / 1e3)


def _equal(table: Table, bundle: Bundle, problem: Problem, snapshot: Snapshot) -> tuple[int, int]:
    """(users compared, users whose scores come out to the bit when a request names only their best items)."""
    context = np.array([table.meta.context], np.float32)
    records = table.users[:: max(len(table.users) // COMPARED, 1)]
    equal = 0
    for record in records:
        user = np.array(record["row"])
        items = snapshot.rows(table.items[record["places"][: table.meta.top]])[0]
        again = (
            popular(problem, items, user)
            if record["popular"]
            else bundle.score(problem.assemble(user[None, :], items, context))
        )
        equal += again.tobytes() == record["scores"].tobytes()
    return len(records), equal


def _checks(design: Design, done: Written, compared: int, equal: int) -> list[Check]:
    return [
        Check(
            name="batch scores equal the service's",
            designed=f"{compared} users, to the bit",
            measured=f"{equal} users",
            passed=equal == compared > 0,
        ),
        Check(
            name="memory that the run took",
            designed=f"<= {design.batch.memory_mib} MiB",
            measured=f"{done.grown_mib:.0f} MiB",
            passed=done.grown_mib <= design.batch.memory_mib,
        ),
    ]


def run(context: Context, version: int | None = None) -> StepResult:
    """Score all users against the pool with the champion's model, or with that of a version.

    Raises:
        UserError: there is no model, no snapshot or no user yet.
    """
    design, home, problem = context.design, context.home, context.problem
    version, digest, folder = chosen(design, home, version)
    bundle, snapshot = _bundle(design, home, folder, digest), current_snapshot(home)
    done = write(context, Model(version, bundle), snapshot, clock.now())
    table = Table.load(done.folder)
    compared, equal = _equal(table, bundle, problem, snapshot)
    summary = (
        f"{done.users:,} users, {len(table.items):,} items: {done.scores:,} scores in {done.seconds:.1f} s, "
        f"{done.per_second:,.0f} a second, model {version} by {table.meta.engine}; "
        f"the best {table.meta.top} in {done.folder / 'lists.parquet'}"
    )
    details = {
        "folder": str(done.folder),
        "model_version": version,
        "model_digest": digest,
        "engine": table.meta.engine,
        "snapshot_version": snapshot.version,
        "users": done.users,
        "scores": done.scores,
        "scores_per_second": done.per_second,
        "grown_mib": done.grown_mib,
    }
    checks = _checks(design, done, compared, equal)
    return StepResult(
        step="batch", summary=summary, checks=checks, details=details, seconds=done.seconds, at=clock.now()
    )


def _fresh(design: Design, home: Home, version: int, digest: str) -> bool:
    folder = current(home, version, digest)
    if folder is None:
        return False
    return clock.now() - Table.load(folder).meta.written_at <= timedelta(hours=design.batch.max_age_h)


def ensure(context: Context, version: int | None = None) -> StepResult | None:
    """Make the answers that the serving mode needs of a model, unless they are there and young enough.

    None: nothing to do, or it cannot be done; then requests are scored when they come, and say so.
    """
    design, home = context.design, context.home
    if design.serving_mode == "online":
        return None
    try:
        version, digest, _ = chosen(design, home, version)
        if _fresh(design, home, version, digest):
            return None
        LOGGER.warning("serving_mode %s: model %d has no fresh answers; making them", design.serving_mode, version)
        result = run(context, version)
    except UserError as error:
        LOGGER.warning(
            "no precomputed rankings, requests are scored as they come until `mlsd batch` has run: %s", error
        )
        return None
    result.save(home)
    return result
