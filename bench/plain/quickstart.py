"""What the quick starts of Feast, BentoML and FastAPI lead to: ask the store per request, predict, sort."""

import gc
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from lightgbm import Booster
from numpy.typing import NDArray

from bench_pack.problem import PROBLEM
from mlsd.core.home import Home
from mlsd.features.snapshot import Snapshot, current

ROOT = Path(os.environ["BENCH_WORLD"])
SERVICE = os.environ["BENCH_FEATURE_SERVICE"]


def booster() -> Any:
    """The same model as everybody's."""
    return Booster(model_str=(ROOT / f"model-{os.environ['BENCH_TREES']}.txt").read_text(encoding="utf-8"))


def matrix(user: Any, items: Any, device: str) -> NDArray[np.float32]:
    """The same features as everybody's."""
    now = np.array([datetime.now(UTC).replace(tzinfo=None)], "datetime64[us]")
    return PROBLEM.assemble(user, items, PROBLEM.context(now, np.array([device])))


def answer(candidates: list[int], scores: Any) -> dict[str, Any]:
    """Best first."""
    order = np.argsort(-scores, kind="stable")
    return {"items": [{"item_id": candidates[k], "score": float(scores[k])} for k in order]}


class FromFeast:
    """Features by `get_online_features`, one row per candidate as Feast's documentation shows."""

    def __init__(self) -> None:
        from feast import FeatureStore

        self.store = FeatureStore(repo_path=os.environ["BENCH_FEAST"])
        self.service = self.store.get_feature_service(SERVICE)
        self.model = booster()

    def rank(self, user_id: int, candidates: list[int], device: str) -> dict[str, Any]:
        """One request."""
        rows = [{"user_id": user_id, "item_id": item} for item in candidates]
        found = self.store.get_online_features(features=self.service, entity_rows=rows).to_dict()
        user = np.array([[found[name][0] for name in PROBLEM.user_columns]], dtype=np.float32)
        items = np.array([found[name] for name in PROBLEM.item_columns], dtype=np.float32).T
        return answer(candidates, self.model.predict(matrix(user, items, device), num_threads=1))


class FromMemory:
    """Features in arrays of the process: no store, no log."""

    def __init__(self) -> None:
        self.items: Snapshot = current(Home(ROOT))
        self.users = cast("NDArray[np.float32]", np.load(ROOT / "users.npy"))
        self.model = booster()
        gc.collect()
        gc.freeze()

    def rank(self, user_id: int, candidates: list[int], device: str) -> dict[str, Any]:
        """One request."""
        items, _ = self.items.rows(np.array(candidates))
        user = self.users[user_id - 1][None, :]
        return answer(candidates, self.model.predict(matrix(user, items, device), num_threads=1))
