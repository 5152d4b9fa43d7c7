"""LightGBM itself: the engine that defines what the others must equal."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from mlsd.models.bundle import ModelRefused
from mlsd.models.engines.base import NOT_NEEDED, hidden
from mlsd.models.engines.trees_text import check

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LightGbm:
    """A LightGBM model read from its text format."""

    name = "lightgbm"
    remote = False

    def __init__(self, text: str, threads: int) -> None:
        """Parse a verified text, scored with so many threads while one call at a time comes, else with one each.

        Raises:
            ModelRefused: not a whole model. (LightGBM itself aborts the process on most damaged texts.)
        """
        if "lightgbm" not in sys.modules:
            with hidden(NOT_NEEDED):
                import lightgbm  # noqa: F401
        from lightgbm import Booster
        from lightgbm.basic import LightGBMError

        check(text)
        try:
            self._booster: Any = Booster(model_str=text)
        except LightGBMError as error:
            raise ModelRefused(f"not a LightGBM model: {' '.join(str(error).split())[:200]}") from None
        self._threads = threads
        self._calls, self._lock = 0, threading.Lock()

    @property
    def width(self) -> int:
        """Number of features it expects."""
        return int(self._booster.num_feature())

    def raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Sum of the leaves, [n]; each row's is one thread's, so it is the same to the bit however many there are."""
        with self._lock:
            self._calls += 1
            threads = self._threads if self._calls == 1 else 1
        try:
            raw: NDArray[np.float64] = self._booster.predict(
                np.ascontiguousarray(matrix), raw_score=True, num_threads=threads
            )
        finally:
            with self._lock:
                self._calls -= 1
        return raw


def parse(text: str, threads: int = 1) -> LightGbm:
    """The engine of a model's text, see `LightGbm`."""
    return LightGbm(text, threads)
