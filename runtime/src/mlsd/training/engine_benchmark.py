"""Each engine on a model that is to be registered: what it costs, how far it is from the native one, which is best."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.design.components import family
from mlsd.design.design import Design
from mlsd.evaluation import ranking_metrics
from mlsd.models.bundle import Manifest, read_bundle, save_bundle, sha256
from mlsd.models.engines import benchmark, compiled
from mlsd.models.engines.base import EQUAL, EngineUnavailable
from mlsd.models.engines.benchmark import EngineReport, Measured
from mlsd.models.scoring import Bundle
from mlsd.models.selection import COMPILED, compile_engine, load_engine
from mlsd.training import latency
from mlsd.training.candidate import Candidate
from mlsd.training.families import Fitted, training_family
from mlsd.training.onnx_export import export
from mlsd.training.rows import Rows
from mlsd.training.serving_cost import usd_per_1000

LOG = logging.getLogger("mlsd")
ROWS = 20_000  # of the test set: what a difference or another order needs to show
REPEATS = 100


def _exported(candidate: Candidate) -> Candidate:
    """With the ONNX graphs in the bundle, which changes its digest."""
    folder = Path(str(candidate.bundle))
    manifest, text, _ = read_bundle(folder, candidate.digest)
    with suppress(EngineUnavailable):
        graphs = export(manifest.family, text)
        told = manifest.model_copy(update={"exports": {name: sha256(content) for name, content in graphs.items()}})
        candidate = candidate.model_copy(update={"digest": save_bundle(folder, told, text, graphs)})
    return candidate


@contextmanager
def compiling(home: Home, folder: Path) -> Iterator[Callable[[Fitted], None]]:
    """Yield what starts the compiler for a fitted model, beside everything else; at the end all are waited for."""
    folder.mkdir(parents=True, exist_ok=True)

    def compile_one(text: str) -> None:
        digest = sha256(text.encode())
        path = folder / f"{digest[:12]}.txt"
        path.write_text(text, encoding="utf-8")
        with suppress(EngineUnavailable):  # loading says why
            compiled.make(path, digest, home.engines)

    with ThreadPoolExecutor(2) as pool:

        def begin(fitted: Fitted) -> None:
            if family(fitted.family).compiles:
                pool.submit(compile_one, fitted.text)

        yield begin


def _order(rows: Rows, raw: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.lexsort((-raw, rows.request))


@dataclass(frozen=True)
class _Yardstick:
    """Some rows of the test set and the native engine's raw scores of them, [n]."""

    design: Design
    rows: Rows
    expected: NDArray[np.float64]

    def ndcg(self, raw: NDArray[np.float64]) -> float:
        return float(ranking_metrics.per_request(self.rows.request, raw, self.rows.label).ndcg.mean())

    def measure(self, bundle: Bundle, native_ms: float | None) -> Measured:
        rows, raw = self.rows, bundle.scorer.raw(self.rows.matrix)
        taken = latency.measure(bundle, rows.matrix, self.design.scale.candidates, REPEATS)
        return Measured(
            engine=bundle.engine,
            p50_ms=taken.p50_ms,
            p99_ms=taken.p99_ms,
            ratio=taken.p50_ms / (native_ms or taken.p50_ms),
            max_difference=float(np.abs(raw - self.expected).max()),
            same_order=bool(np.array_equal(_order(rows, raw), _order(rows, self.expected))),
            ndcg10_change=self.ndcg(raw) - self.ndcg(self.expected),
            meets_budget=taken.p99_ms <= self.design.latency.hops_ms.inference,
            usd_per_1000=usd_per_1000(self.design, taken.p50_ms),
        )


def _candidates(manifest: Manifest) -> tuple[list[str], dict[str, str]]:
    """Names of the engines to try, and of those that make no sense for the family, with the reason."""
    found = training_family(manifest.family)
    return list(found.engines), dict(found.left_out)


def _compare(design: Design, home: Home, candidate: Candidate, test: Rows) -> EngineReport:
    folder, digest = Path(str(candidate.bundle)), str(candidate.digest)
    manifest, _, _ = read_bundle(folder, digest)
    native = load_engine(family(manifest.family).native, folder, digest, home)
    yardstick = _Yardstick(design, test, native.scorer.raw(test.matrix))
    rows = [yardstick.measure(native, None)]
    names, refused = _candidates(manifest)
    for name in names:
        try:
            bundle = (compile_engine if name == COMPILED else partial(load_engine, name))(folder, digest, home)
            rows.append(yardstick.measure(bundle, rows[0].p50_ms))
        except UserError as error:
            refused[name] = str(error)
    equal = [row for row in rows if row.max_difference <= EQUAL and row.same_order]
    return EngineReport(
        candidates=design.scale.candidates,
        budget_ms=design.latency.hops_ms.inference,
        engines=rows,
        refused=refused,
        best=min(equal, key=lambda row: row.p50_ms).engine,
    )


def benchmark_engines(
    design: Design, home: Home, candidates: list[Candidate], names: set[str], test: Rows
) -> list[Candidate]:
    """The candidates; those that are to be registered with every engine tried and `engines.json` beside the bundle.

    Args:
        design: budget, candidates and prices.
        home: where the compiled objects lie; the servers of this machine find them there too.
        candidates: the leaderboard.
        names: of the candidates that are to be registered.
        test: rows that no model has seen.
    """
    some = test.first(int(np.searchsorted(np.cumsum(test.sizes), ROWS)) + 1)
    return [
        _equipped(design, home, candidate, some) if candidate.name in names else candidate for candidate in candidates
    ]


def _equipped(design: Design, home: Home, candidate: Candidate, test: Rows) -> Candidate:
    candidate = _exported(candidate)
    found = _compare(design, home, candidate, test)
    write_json(Path(str(candidate.bundle)) / benchmark.FILE, found.model_dump())
    best = next(row for row in found.engines if row.engine == found.best)
    LOG.info("%s: engine %s, %.2f ms, %.2f of the native one", candidate.name, best.engine, best.p50_ms, best.ratio)
    return candidate.model_copy(update={"engines": found})
