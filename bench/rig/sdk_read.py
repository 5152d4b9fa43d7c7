"""How long Feast's SDK takes for one user and 500 items: `python -m rig.sdk_read FEAST WORLD READS` prints JSON."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench_pack.features import ITEM_COLUMNS, USER_VIEWS
from rig.client import percentiles


def _timed(reads: int, read: Callable[[int], Any]) -> dict[str, float]:
    took = []
    for turn in range(reads + 2):
        started = time.perf_counter()
        read(turn)
        took.append(time.perf_counter() - started)
    return percentiles(took[2:])


def main(feast: str, root: Path, reads: int) -> dict[str, Any]:
    """As the documentation shows (one call), and as two calls; and whether the values are the world's."""
    from feast import FeatureStore

    store = FeatureStore(repo_path=feast)
    (service,) = store.list_feature_services()
    asked = [json.loads(line) for line in (root / "bodies.jsonl").read_text(encoding="utf-8").splitlines()]
    of_user = [f"{view}:{name}" for view, columns in USER_VIEWS.items() for name in columns]
    of_item = [f"item:{name}" for name in ITEM_COLUMNS]

    def one(turn: int) -> dict[str, Any]:
        request = asked[turn % len(asked)]
        rows = [{"user_id": request["user_id"], "item_id": item} for item in request["candidates"]]
        found: dict[str, Any] = store.get_online_features(features=service, entity_rows=rows).to_dict()
        return found

    def two(turn: int) -> None:
        request = asked[turn % len(asked)]
        store.get_online_features(features=of_user, entity_rows=[{"user_id": request["user_id"]}]).to_dict()
        rows = [{"item_id": item} for item in request["candidates"]]
        store.get_online_features(features=of_item, entity_rows=rows).to_dict()

    first = one(0)
    users = np.load(root / "users.npy")[asked[0]["user_id"] - 1]
    names = [name for columns in USER_VIEWS.values() for name in columns]
    same = [first[name][0] for name in names] == users.tolist()
    return {"one_call": _timed(reads, one), "two_calls": _timed(reads, two), "values_of_the_world": same}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
