"""Engines behind one interface: which scores what, how far they are apart, and what is never loaded."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.design.online_sections import Serving
from mlsd.models.bundle import ModelRefused, sha256
from mlsd.models.engines import benchmark, compiled
from mlsd.models.engines import compile as compiler
from mlsd.models.engines.base import EQUAL, EngineUnavailable
from mlsd.models.engines.benchmark import EngineReport, Measured
from mlsd.models.engines.linear import Linear
from mlsd.models.engines.native import LightGbm
from mlsd.models.engines.onnx import Onnx
from mlsd.models.engines.trees_text import plain, probe
from mlsd.models.selection import choose, compile_engine, load_engine, load_now
from mlsd.training.onnx_export import export
from support.boosters import WIDTH, Model, boosted, bundled, rows

LINEAR = Linear(mean=[0.5] * WIDTH, scale=[2.0] * WIDTH, coefficients=[1, -1, 0.5, 0, 2, 3], intercept=0.25)


def settings(design: Design, engine: str) -> Serving:
    return design.serving.model_copy(update={"engine": engine})


@pytest.mark.parametrize("traits", [{}, {"objective": "lambdarank"}, {"use_missing": False}])
def test_every_engine_reaches_the_same_leaves_at_the_very_thresholds(tmp_path: Path, traits: dict[str, object]) -> None:
    """5.11: rows drawn from data agree however thresholds are rounded; rows at the thresholds do not."""
    text = boosted(**traits)
    at = probe(text)
    expected = LightGbm(text, 1).raw(at)
    path, digest = tmp_path / "model.txt", sha256(text.encode())
    path.write_text(text)
    compiler.run(path, digest, tmp_path / "engines")
    found = compiled.load(path, digest, tmp_path / "engines").raw(at)
    assert np.abs(found - expected).max() <= EQUAL
    graph = Onnx("onnx", export("boosted_trees", text)["model.onnx"])
    assert np.abs(graph.raw(at) - expected).max() < 1e-4, "sums of float32, but no other leaf"


def test_the_probe_shows_what_data_does_not() -> None:
    """The same trees with each threshold rounded to the nearest float32, as engines do by themselves."""
    text = boosted(max_bin=1000)
    told = plain(text)
    wrong = told
    for line in {line for line in told.splitlines() if line.startswith("threshold=")}:
        up = [repr(float(np.nextafter(np.float32(x), np.float32(np.inf)))) for x in line[10:].split()]
        wrong = wrong.replace(line, f"threshold={' '.join(up)}")
    blocks = [f"Tree={block}" for block in wrong.split("end of trees")[0].split("Tree=")[1:]]
    sizes = " ".join(str(len(block)) for block in blocks)
    head = [f"tree_sizes={sizes}" if x.startswith("tree_sizes") else x for x in wrong.split("\n\n")[0].splitlines()]
    spoilt = LightGbm("\n".join(head) + "\n\n" + wrong.split("\n\n", 1)[1], 1)
    native, right = LightGbm(text, 1), LightGbm(told, 1)
    assert np.array_equal(right.raw(probe(text)), native.raw(probe(text)))
    assert np.abs(spoilt.raw(probe(text)) - native.raw(probe(text))).max() > 1e-3
    assert np.array_equal(spoilt.raw(rows(500, seed=9)), native.raw(rows(500, seed=9)))


def test_trees_of_an_objective_of_ones_own_are_compiled_too(tmp_path: Path) -> None:
    """LightGBM writes no objective for them, and lleaves wants one."""
    text = boosted(objective=lambda raw, data: (raw - data.get_label(), np.ones_like(raw)))
    assert "\nobjective=" not in text
    (tmp_path / "model.txt").write_text(text)
    compiler.run(tmp_path / "model.txt", sha256(text.encode()), tmp_path / "engines")
    engine = compiled.load(tmp_path / "model.txt", sha256(text.encode()), tmp_path / "engines")
    assert np.abs(engine.raw(rows(300)) - LightGbm(text, 1).raw(rows(300))).max() <= EQUAL


@pytest.mark.parametrize(
    ("traits", "what"),
    [
        ({"categorical_feature": [1]}, "categories"),
        ({"linear_tree": True}, "linear leaves"),
        ({"zero_as_missing": True}, "zeros as missing values"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "averaged trees"),
    ],
)
def test_what_other_engines_read_differently_is_left_to_lightgbm(traits: dict[str, object], what: str) -> None:
    with pytest.raises(EngineUnavailable, match=what):
        plain(boosted(**traits))


def test_what_cannot_be_compiled_is_scored_by_lightgbm(tmp_path: Path, design: Design) -> None:
    home = Home(tmp_path)
    digest = bundled(home.models / "1", boosted(linear_tree=True), graphs=False)
    with pytest.raises(EngineUnavailable, match="linear leaves"):
        compile_engine(home.models / "1", digest, home)
    assert load_now(settings(design, "lleaves"), home.models / "1", digest, home, 1.0).engine == "lightgbm"


def test_scores_are_the_same_to_the_bit_from_one_load_to_the_next(model: Model) -> None:
    """Replay loads by the recorded name; native and compiled differ in the last bits, so the name matters."""
    folder, digest, home = model
    matrix = rows(500, seed=3)
    for name in ("lightgbm", "lleaves", "onnx"):
        one, two = (load_engine(name, folder, digest, home) for _ in range(2))
        assert one.engine == name
        assert np.array_equal(one.score(matrix), two.score(matrix))
        assert np.abs(one.score(matrix) - load_engine("lightgbm", folder, digest, home).score(matrix)).max() < 1e-5


def test_a_row_scores_the_same_alone_and_in_a_batch(model: Model) -> None:
    bundle = load_engine("lleaves", *model)
    matrix = rows(60)
    assert np.array_equal(bundle.score(matrix), np.concatenate([bundle.score(matrix[k : k + 1]) for k in range(60)]))


def test_a_server_with_a_compiled_object_needs_no_lightgbm(model: Model) -> None:
    folder, digest, home = model
    code = f"""
import pathlib, sys
from mlsd.models.selection import load_engine
from mlsd.core.home import Home
load_engine("lleaves", pathlib.Path({str(folder)!r}), {digest!r}, Home(pathlib.Path({str(home.root)!r})))
print([name for name in ("lightgbm", "pandas", "sklearn", "onnx", "mlflow") if name in sys.modules])
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stdout.strip() == "[]"


def test_int8_means_something_for_a_linear_model_only(tmp_path: Path) -> None:
    """4.21"""
    assert set(export("boosted_trees", boosted())) == {"model.onnx"}
    home = Home(tmp_path)
    digest = bundled(home.models / "1", LINEAR.model_dump_json(), "logistic_regression")
    matrix = rows(500)
    exact, full, small = (
        load_engine(name, home.models / "1", digest, home).score(matrix) for name in ("linear", "onnx", "onnx_int8")
    )
    assert np.abs(full - exact).max() < 1e-5
    assert 1e-5 < np.abs(small - exact).max() < 0.2


def test_a_graph_is_refused_when_damaged_or_of_another_shape(model: Model, tmp_path: Path) -> None:
    folder, digest, home = model
    graph = (folder / "model.onnx").read_bytes()
    for content in (b"", graph[: len(graph) // 2], b"\x80\x04cos\nsystem\n", graph.replace(b"matrix", b"matrlx")):
        with pytest.raises(ModelRefused):
            Onnx("onnx", content)
    (folder / "model.onnx").write_bytes(graph + b"\0")
    try:
        with pytest.raises(ModelRefused, match="damaged or altered"):
            load_engine("onnx", folder, digest, home)
    finally:
        (folder / "model.onnx").write_bytes(graph)


def test_the_design_chooses_the_engine(model: Model, design: Design) -> None:
    folder, digest, home = model
    for name in ("lightgbm", "lleaves", "onnx"):
        assert load_now(settings(design, name), folder, digest, home, 1.0).engine == name
    with pytest.raises(ModelRefused, match=r"no model\.int8\.onnx"):
        load_now(settings(design, "onnx_int8"), folder, digest, home, 1.0)


def measured(engine: str) -> Measured:
    return Measured(
        engine=engine,
        p50_ms=1.0,
        p99_ms=1.0,
        ratio=1.0,
        max_difference=0.0,
        same_order=True,
        ndcg10_change=0.0,
        meets_budget=True,
        usd_per_1000=0.0,
    )


@pytest.mark.parametrize("best", ["lightgbm", "lleaves"])
def test_auto_is_what_training_found_best(model: Model, design: Design, best: str) -> None:
    folder, digest, home = model
    found = EngineReport(candidates=500, budget_ms=50, engines=[measured(best)], refused={}, best=best)
    (folder / benchmark.FILE).write_text(found.model_dump_json())
    try:
        bundle = load_now(settings(design, "auto"), folder, digest, home, 1.0)
        assert bundle.engine == best == choose(settings(design, "auto"), bundle.manifest, folder)
    finally:
        (folder / benchmark.FILE).unlink()
    (folder / benchmark.FILE).write_text("{half")
    assert load_now(settings(design, "auto"), folder, digest, home, 1.0).engine == "lleaves"
    (folder / benchmark.FILE).unlink()


def test_an_engine_that_is_not_of_this_model_has_no_replay(model: Model) -> None:
    with pytest.raises(EngineUnavailable, match="'triton' does not score"):
        load_engine("triton", *model)
