"""The interface of an engine, and what it means that two of them agree."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from mlsd.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

EQUAL = 1e-9
"""Raw scores no further apart are the same score: the same leaves summed in another order differ by 1e-14."""

# lightgbm and lleaves import these when they find them (2.5 s instead of 0.5 s); scoring needs none of them.
NOT_NEEDED = ("pandas", "sklearn", "pyarrow", "matplotlib", "graphviz", "dask", "polars")


class EngineUnavailable(UserError):  # noqa: N818 - reads as what happened
    """An engine that cannot score this model on this machine, now; another one can."""


class Engine(Protocol):
    """Raw scores of a model, before calibration."""

    @property
    def name(self) -> str:
        """What the prediction record calls it; the same name gives the same bits."""

    @property
    def width(self) -> int:
        """Number of features it expects."""

    @property
    def remote(self) -> bool:
        """Whether another process scores, over the network."""

    def raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """One number per row, [n] from [n, F]; NaN in the matrix stands for a missing value.

        Raises:
            TimeoutError: a remote engine did not answer within its deadline.
        """


@contextmanager
def hidden(modules: tuple[str, ...]) -> Iterator[None]:
    """Make the imports of modules that are not loaded yet fail at once."""
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent, None))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
