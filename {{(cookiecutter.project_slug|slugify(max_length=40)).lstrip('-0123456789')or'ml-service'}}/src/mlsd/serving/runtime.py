"""Everything one serving process holds, put together before its first answer."""

import gc
import logging
import os
import sys
import zlib
from dataclasses import dataclass

from mlsd.bundle import ModelRefused
from mlsd.data.sources import effective_design
from mlsd.design import Design, load_design
from mlsd.errors import UserError
from mlsd.features.online import UserReader
from mlsd.home import Home, find_home
from mlsd.problem import Problem
from mlsd.scoring import Bundle
from mlsd.serving.feature_log import FeatureLog
from mlsd.serving.items import ItemStore
from mlsd.serving.loading import load_model
from mlsd.serving.metrics import Metrics
from mlsd.serving.ranker import Ranker
from mlsd.serving.release import SLOT, Release, told_release
from mlsd.serving.users import UserStore

LOGGER = logging.getLogger("mlsd.serving")
PARTS = 10_000
SWITCH_S = 0.0005  # a thread that has read a user waits at most so long for its turn; Python's own 5 ms is half the hop


@dataclass(frozen=True)
class Runtime:
    """One release, ready to answer; without its model it answers with the popular items and is never ready."""

    design: Design
    release: Release
    ranker: Ranker
    metrics: Metrics
    log: FeatureLog
    ready: bool

    def sampled(self, request_id: str) -> bool:
        """Whether this request's features are all logged; the same choice in every process."""
        return zlib.crc32(request_id.encode()) % PARTS < self.design.serving.feature_log.full_sample * PARTS


def _model(release: Release, design: Design, problem: Problem, items: ItemStore) -> Bundle | None:
    try:
        return load_model(release, design, problem, items.snapshot)
    except ModelRefused as error:
        LOGGER.error("model refused: %s; release %d never becomes ready", error, release.release_id)
        return None


def _assemble(design: Design, home: Home, problem: Problem) -> Runtime:
    release, metrics = told_release(), Metrics(design)
    items = ItemStore(home, problem)
    deadline_ms = design.latency.hops_ms.features

    def connect() -> UserReader:
        return UserReader(home.online_store, design.name, problem.user_views, timeout_s=deadline_ms / 1e3)

    users = UserStore(connect, deadline_ms)
    bundle = _model(release, design, problem, items)
    settings = design.serving.feature_log
    slot = os.environ.get(SLOT, "a")
    log = FeatureLog(home.feature_log, slot, settings.queue, settings.retention_days, metrics.dropped)
    return Runtime(design, release, Ranker(design, problem, users, items, bundle), metrics, log, bundle is not None)


def start(problem: Problem) -> Runtime | None:
    """Load and check what `$MLSD_RELEASE` names; None, and a line in the log, when this process can answer nothing."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = find_home()
    try:
        runtime = _assemble(effective_design(load_design(), home), home, problem)
    except UserError as error:
        LOGGER.error("not ready: %s", error)
        return None
    sys.setswitchinterval(SWITCH_S)
    # What is loaded now lives as long as the process: keep the collector from walking it (FIELD-NOTES: p99 halves).
    gc.collect()
    gc.freeze()
    return runtime
