"""NumPy's files, read from any thread, with one kind of error whatever lies in them.

NumPy parses a file's header with `ast`, and in CPython 3.11 two threads that build syntax trees at once can get a
`SystemError` (python/cpython issue 106905): a model and a snapshot loaded side by side would fail for nothing.
"""

import threading
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

BUILDING_TREES = threading.Lock()
_TORN = (ValueError, KeyError, TypeError, EOFError, SyntaxError, TokenError)


def read(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """One array.

    Args:
        path: an .npy file.
        mapped: map it read-only; else own the values, so that no later read waits for the disk.

    Raises:
        OSError: absent or not readable.
        ValueError: not an array, or a torn one.
    """
    try:
        with BUILDING_TREES:
            return np.asanyarray(np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))
    except _TORN as error:
        raise ValueError(f"{path.name}: {error}") from None


def read_all(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of an .npz file by its name; errors as for `read`."""
    try:
        with BUILDING_TREES, np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except _TORN as error:
        raise ValueError(f"{path.name}: {error}") from None
