"""Columns and model features of the bench's problem, pure NumPy."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ITEM_COLUMNS = ("item_positives", "item_ctr", *(f"item_{k:02d}" for k in range(18)))
USER_VIEWS = {
    "user": ("user_interactions", "user_ctr", *(f"user_{k:02d}" for k in range(18))),
    "interaction": tuple(f"session_{k:02d}" for k in range(10)),
}
USER_COLUMNS = (*USER_VIEWS["user"], *USER_VIEWS["interaction"])
CONTEXT_COLUMNS = ("hour", "weekday", "device")
DEVICES = ("mobile", "desktop", "tablet")

_FROM_USER = (*range(12), 20, 21, 22)
_CROSSED = ("ctr_product", "affinity")
FEATURE_NAMES = (*ITEM_COLUMNS, *(USER_COLUMNS[k] for k in _FROM_USER), *CONTEXT_COLUMNS, *_CROSSED)

ITEM_DEFAULTS = np.zeros(len(ITEM_COLUMNS), dtype=np.float32)
USER_DEFAULTS = np.zeros(len(USER_COLUMNS), dtype=np.float32)


def context(at: NDArray[np.datetime64], device: NDArray[np.str_]) -> Floats:
    """Hour, weekday and device, [n, 3]."""
    hours = at.astype("datetime64[h]").astype(np.int64)
    known = {name: k for k, name in enumerate(DEVICES)}
    codes = [known.get(str(name), -1) for name in device]
    return np.column_stack([hours % 24, (hours // 24 + 3) % 7, codes]).astype(np.float32)


def assemble(user: Floats, items: Floats, asked: Floats) -> Floats:
    """Model matrix [n, 40] from user [n or 1, 30], items [n, 20] and context [n or 1, 3]."""
    matrix = np.empty((len(items), len(FEATURE_NAMES)), dtype=np.float32)
    matrix[:, :20] = items
    matrix[:, 20:35] = user[:, _FROM_USER]
    matrix[:, 35:38] = asked
    matrix[:, 38] = user[:, 1] * items[:, 1]
    matrix[:, 39] = user[:, 2] * items[:, 2] + user[:, 3] * items[:, 3]
    return matrix
