"""Everything one serving process holds, put together before its first answer."""

import gc
import logging
import os
import sys
import zlib
from dataclasses import dataclass

from mlsd.core.errors import UserError
from mlsd.core.home import find_home
from mlsd.design.design import Design, load_design
from mlsd.features.items import ItemStore, max_bytes
from mlsd.models.release import SLOT, Release, release_from_env, workers
from mlsd.models.scoring import Bundle
from mlsd.prediction_log.pseudonyms import pseudonyms
from mlsd.prediction_log.writer import FeatureLog
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.serving.dispatch.admission import Admission
from mlsd.serving.dispatch.worker_pool import WorkerPool, share_of_cores
from mlsd.serving.faults import FaultBoard
from mlsd.serving.http import access_log
from mlsd.serving.http.access_log import AccessLog
from mlsd.serving.http.connection_balancer import ConnectionBalancer, join
from mlsd.serving.inference.cache import AnswerCache
from mlsd.serving.inference.ranker import Ranker
from mlsd.serving.inference.user_stores import open_users
from mlsd.serving.loading.model_loader import ModelLoader
from mlsd.serving.telemetry.metrics import Metrics, forget_dead_processes, reserve
from mlsd.serving.telemetry.tracing import Tracer, tracer
from mlsd.tasks.ranking.batch.precomputed import PrecomputedRankings

LOGGER = logging.getLogger("mlsd.serving")
PARTS = 10_000
SWITCH_S = 0.0005  # a thread waits at most so long for its turn at the interpreter; Python's own 5 ms is half a hop
YOUNG = 20_000  # new objects between two collections; one request of 500 candidates makes a thousand, all short-lived


@dataclass(frozen=True)
class Runtime:
    """One release, ready to answer; without its model it answers with the popular items and is not ready."""

    design: Design
    release: Release
    ranker: Ranker
    loader: ModelLoader
    metrics: Metrics
    log: FeatureLog
    access: AccessLog
    tracer: Tracer | None
    faults: FaultBoard
    admission: Admission
    cache: AnswerCache
    pool: WorkerPool
    balancer: ConnectionBalancer | None

    @property
    def ready(self) -> bool:
        """Whether the model is there, verified."""
        return self.ranker.bundle is not None

    def sampled(self, request_id: str) -> bool:
        """Whether this request's features are all logged; the same choice in every process."""
        return zlib.crc32(request_id.encode()) % PARTS < self.design.serving.feature_log.full_sample * PARTS

    def close(self) -> None:
        """Write down what waits; called once the last answer has left."""
        self.loader.stop()
        self.log.close()
        self.access.close()
        if self.tracer is not None:
            self.tracer.close()


def threads(design: Design) -> int:
    """Ranking threads of one worker: its share of the cores, or of the requests in flight when it waits for others."""
    serving = design.serving
    if serving.engine == "remote":
        return max(design.capacity.concurrency // serving.workers, 1)
    return share_of_cores(serving.workers)


def _assemble(context: Context) -> Runtime:
    design, home, problem = context.design, context.home, context.problem
    slot = os.environ.get(SLOT, "a")
    forget_dead_processes()
    reserve()
    access_log.forget_dead_processes(home.logs, slot)
    release, metrics, faults = release_from_env(), Metrics(design), FaultBoard.of(home)
    items = ItemStore(home, problem, max_bytes(design))
    users = open_users(context, metrics.breaker)
    precomputed = PrecomputedRankings.of(context, items, release)
    ranker = Ranker(design, problem, users, items, faults=faults, precomputed=precomputed)
    settings = design.serving.feature_log
    hashed = pseudonyms(home) if settings.hash_user_ids else None
    pool = WorkerPool(threads(design))

    def set_model(bundle: Bundle) -> None:
        ranker.set_model(bundle)
        metrics.model(bundle.engine, release.model_version, release.release_id)

    return Runtime(
        design=design,
        release=release,
        ranker=ranker,
        loader=ModelLoader(release, context, items.snapshot, set_model),
        metrics=metrics,
        log=FeatureLog(home.feature_log, slot, settings.queue, settings.retention_days, metrics.dropped, hashed),
        access=AccessLog(home.logs / f"access-{slot}-{os.getpid()}.jsonl"),
        tracer=tracer(design.name, release),
        faults=faults,
        admission=Admission(design.serving.admission, pool.threads),
        cache=AnswerCache(design.serving.popular_cache),
        pool=pool,
        balancer=join(home.run / f"workers-{slot}") if workers() > 1 else None,
    )


def start(problem: Problem) -> Runtime | None:
    """Load and check what `$MLSD_RELEASE` names; None, and a line in the log, when this process can answer nothing."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("mlsd").setLevel(logging.INFO)  # BentoML has set up logging already, for warnings only
    home = find_home()
    try:
        runtime = _assemble(Context.of(load_design(), home, problem))
    except UserError as error:
        LOGGER.error("not ready: %s", error)
        return None
    sys.setswitchinterval(SWITCH_S)
    # What is loaded now lives as long as the process: keep the collector from walking it (FIELD-NOTES: p99 halves).
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)
    return runtime
