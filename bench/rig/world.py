"""The world on disk: 100,000 items, their users, two models; made once by the template's own materialisation."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench_pack.features import CONTEXT_COLUMNS, ITEM_COLUMNS, USER_COLUMNS, USER_VIEWS
from bench_pack.problem import PROBLEM
from mlsd.core.home import Home, write_json
from mlsd.design.design import Design
from mlsd.evaluation.calibration import Calibration
from mlsd.features.materialise import materialise
from mlsd.features.snapshot import current
from mlsd.models.bundle import Manifest, save_bundle, sha256
from mlsd.models.release import Release
from mlsd.models.selection import compile_engine
from mlsd.problem.context import Context
from mlsd.training.onnx_export import export

REQUESTS = 64  # different ones, in turn: no branch predictor learns a single request by heart
MODEL_ROWS = 20_000
LEAVES = 31


@dataclass(frozen=True)
class Size:
    """How large a world is."""

    items: int = 100_000
    users: int = 20_000
    candidates: int = 500
    trees: tuple[int, ...] = (100, 500)

    @property
    def digest(self) -> str:
        """Changes with the size and with the code that makes the world."""
        code = Path(__file__).read_bytes() + (Path(__file__).parents[1] / "bench_pack" / "features.py").read_bytes()
        return hashlib.sha256(repr(self).encode() + code).hexdigest()[:10]


FULL = Size()
QUICK = Size(items=2_000, users=200, candidates=100, trees=(20, 40))


@dataclass(frozen=True)
class World:
    """A state folder that a model server can answer from, and what to ask it."""

    home: Home
    size: Size
    described: Path  # the project's design.yaml; the bench's differs from it where it must

    def release(self, trees: int) -> Release:
        """The release with the model of so many trees."""
        told = json.loads((self.home.root / f"release-{trees}.json").read_text(encoding="utf-8"))
        return Release.model_validate(told | {"model_dir": str(self.home.models / Path(told["model_dir"]).name)})

    def design(
        self, *, patient: bool = False, batch: Mapping[str, int] | None = None, store: str = "sqlite", **serving: Any
    ) -> Path:
        """A design file for one server.

        Args:
            patient: a budget so wide that no answer is cut short, however long the queue; features keep their own.
            batch: replaces fields of that section.
            store: the online store.
            serving: replaces fields of that section, `name__field` those of a part of it.
        """
        content = _content(self.described, self.size)
        content["batch"] |= dict(batch or {})
        content["features"]["online_store"] = store
        if patient:
            content["latency"] |= {"p99_ms": 10_000}
            content["latency"]["hops_ms"] |= {"inference": 4_000, "post": 1_000}
        for name, value in serving.items():
            *path, last = name.split("__")
            place = content["serving"]
            for step in path:
                place = place[step]
            place[last] = value
        text = json.dumps(content, indent=1, sort_keys=True)
        path_ = self.home.root / "designs" / f"{hashlib.sha256(text.encode()).hexdigest()[:10]}.json"
        path_.parent.mkdir(exist_ok=True)
        path_.write_text(text, encoding="utf-8")
        Design.model_validate(content)
        return path_

    def requests(self) -> list[dict[str, Any]]:
        """What every contestant is asked, in turn."""
        rng = np.random.default_rng(5)
        return [
            {
                "user_id": int(rng.integers(1, self.size.users + 1)),
                "candidates": (rng.choice(self.size.items, self.size.candidates, replace=False) + 1).tolist(),
                "device": "mobile",
            }
            for _ in range(REQUESTS)
        ]

    def matrices(self) -> list[Any]:
        """The model matrix of each request, [500, 40]: what the floor predicts."""
        users, items = np.load(self.home.root / "users.npy"), current(self.home)
        at = np.array(["2026-01-05T10:00"], "datetime64[us]")
        asked = PROBLEM.context(at, np.array(["mobile"]))
        found = []
        for request in self.requests():
            rows, known = items.rows(np.array(request["candidates"]))
            assert known.all()
            found.append(PROBLEM.assemble(users[request["user_id"] - 1][None, :], rows, asked))
        return found


def frames(size: Size, at: datetime) -> dict[str, Any]:
    """Feature tables as a data step would make them: random, the same each time."""
    import pandas as pd

    rng = np.random.default_rng(1)
    items = np.abs(rng.normal(size=(size.items, len(ITEM_COLUMNS)))).astype(np.float32)
    users = np.abs(rng.normal(size=(size.users, len(USER_COLUMNS)))).astype(np.float32)
    users[:, 0] = np.arange(size.users) % 90 + 10
    found, start = {}, 0
    for name, columns in USER_VIEWS.items():
        found[name] = pd.DataFrame(users[:, start : start + len(columns)], columns=list(columns))
        found[name].insert(0, "user_id", np.arange(1, size.users + 1))
        start += len(columns)
    found["item"] = pd.DataFrame(items, columns=list(ITEM_COLUMNS))
    found["item"].insert(0, "item_id", np.arange(1, size.items + 1))
    for frame in found.values():
        frame.insert(1, "event_timestamp", pd.Timestamp(at).as_unit("us"))
    return found


def _model(home: Home, design: Design, trees: int, version: int) -> Release:
    import lightgbm

    rng = np.random.default_rng(3)
    items = current(home).columns[rng.integers(len(current(home).ids), size=MODEL_ROWS)]
    users = np.abs(rng.normal(size=(MODEL_ROWS, len(USER_COLUMNS)))).astype(np.float32)
    users[:, 0] = rng.integers(10, 100, MODEL_ROWS)
    asked = rng.integers(0, (24, 7, 3), (MODEL_ROWS, len(CONTEXT_COLUMNS))).astype(np.float32)
    matrix = PROBLEM.assemble(users, items, asked)
    weights = rng.normal(size=matrix.shape[1]) / matrix.std(axis=0)
    label = matrix @ weights + rng.normal(0, 3, MODEL_ROWS)
    settings = {"objective": "binary", "verbose": -1, "num_leaves": LEAVES, "learning_rate": 0.05, "num_threads": 2}
    booster = lightgbm.train(settings, lightgbm.Dataset(matrix, (label > np.median(label)).astype(int)), trees)
    text = booster.model_to_string()
    (home.root / f"model-{trees}.txt").write_text(text, encoding="utf-8")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    graphs = export("boosted_trees", text)
    manifest = Manifest.model_validate(
        {
            "family": "boosted_trees",
            "objective": "pointwise",
            "feature_names": list(PROBLEM.feature_names),
            "feature_service": design.features.service,
            "user_columns": list(PROBLEM.user_columns),
            "item_columns": list(PROBLEM.item_columns),
            "model_file": "model.txt",
            "model_sha256": sha256(text.encode()),
            "calibration": Calibration(),
            "created_at": moment,
            "train_window": (moment, moment),
            "tables_digest": "0" * 12,
            "design_digest": design.digest,
            "code_version": "bench",
            "metrics": {},
            "reference": {},
            "exports": {name: sha256(content) for name, content in graphs.items()},
        }
    )
    digest = save_bundle(home.models / "new", manifest, text, graphs)
    folder = home.models / f"{version}-{digest[:12]}"
    (home.models / "new").rename(folder)
    compile_engine(folder, digest, home)
    return Release(release_id=version, model_version=version, model_dir=str(folder), model_digest=digest)


def _content(described: Path, size: Size) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(described.read_text(encoding="utf-8"))
    content |= {"name": "bench", "problem": "bench_pack"}
    content["scale"]["candidates"] = size.candidates
    admission = content["serving"]["admission"]
    admission["prune_to"] = min(admission["prune_to"], size.candidates - 1)
    content["features"]["max_age_h"] = dict.fromkeys(("user", "item", "interaction"), 87_600)
    return content


def _make(home: Home, described: Path, size: Size) -> None:
    home.root.mkdir(parents=True)
    os.environ["MLSD_HOME"] = str(home.root)
    design = Design.model_validate(_content(described, size))
    at = datetime.now(UTC)
    tables = frames(size, at)
    materialise(Context.of(design, home, PROBLEM), tables, end=at, now=at)
    users = [tables[name][list(columns)].to_numpy(np.float32) for name, columns in USER_VIEWS.items()]
    np.save(home.root / "users.npy", np.column_stack(users))
    for version, trees in enumerate(size.trees, 1):
        release = _model(home, design, trees, version)
        write_json(home.root / f"release-{trees}.json", release.model_dump())


def world(folder: Path, described: Path, size: Size = FULL) -> World:
    """The world of this size in `folder`; made when it is not there (about a minute)."""
    home = Home(folder / f"world-{size.digest}")
    if not (home.root / "complete").exists():
        shutil.rmtree(home.root, ignore_errors=True)
        print(f"making a world of {size.items:,} items and {size.users:,} users in {home.root}", file=sys.stderr)
        _make(home, described, size)
        (home.root / "complete").touch()
    return World(home, size, described)
