"""Trees compiled to native code by lleaves (LLVM): a fifth of LightGBM's time, the same scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlsd.core import subprocesses
from mlsd.core.errors import UserError
from mlsd.models.engines import objects
from mlsd.models.engines.base import EQUAL, NOT_NEEDED, EngineUnavailable, hidden

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlsd.core.home import Home
    from mlsd.models.bundle import Manifest

COMPILE_S = 300.0
"""Most seconds of one compilation: 150 trees take 3, 500 take 16."""


class Compiled:
    """A compiled forest; the call into it gives up the interpreter lock."""

    name = "lleaves"
    remote = False

    def __init__(self, text: Path, compiled: Path) -> None:
        """Load a verified object; of the text only the header is read.

        Raises:
            EngineUnavailable: lleaves is not installed here, or LLVM refuses the object.
        """
        try:
            with hidden(NOT_NEEDED):
                import lleaves
        except ImportError as error:
            raise EngineUnavailable(f"lleaves: {error}") from None
        self._model: Any = lleaves.Model(str(text))
        try:
            self._model.compile(cache=str(compiled), raw_score=True)
        except (RuntimeError, OSError) as error:
            raise EngineUnavailable(f"{compiled}: {error}") from None

    @property
    def width(self) -> int:
        """Number of features it expects."""
        return int(self._model.num_feature())

    def raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Sum of the leaves, [n]."""
        raw: NDArray[np.float64] = self._model.predict(np.ascontiguousarray(matrix, np.float64), n_jobs=1)
        return raw


def load(text: Path, model_sha256: str, engines: Path) -> Compiled:
    """The model's object, once it has scored its probe as LightGBM did.

    Raises:
        EngineUnavailable: it is not compiled yet, or what lies there must not be used.
    """
    try:
        path, rows, raw = objects.verified(engines, model_sha256)
    except ImportError as error:
        raise EngineUnavailable(f"llvmlite: {error}") from None
    engine = Compiled(text, path)
    difference = np.abs(engine.raw(rows) - raw).max()
    if not difference <= EQUAL:
        raise EngineUnavailable(f"{path}: differs from LightGBM by {difference:g}, not used")
    return engine


def open_engine(_: str, folder: Path, manifest: Manifest, home: Home) -> Compiled:
    """The object compiled from a bundle's trees; errors as for `load`."""
    return load(folder / manifest.model_file, manifest.model_sha256, home.engines)


def make(text: Path, model_sha256: str, engines: Path, *, timeout_s: float = COMPILE_S, niceness: int = 0) -> None:
    """Compile in a process of its own and wait for it; nothing happens if a good object lies there.

    Args:
        text: the model.
        model_sha256: of the text; the process checks it.
        engines: where objects lie.
        timeout_s: the process is killed then.
        niceness: how far it stands back for the processes beside it.

    Raises:
        EngineUnavailable: these trees cannot be compiled, or it took too long.
    """
    arguments = str(text), model_sha256, str(engines), str(niceness)
    try:
        subprocesses.run("mlsd.models.engines.compile", *arguments, timeout_s=timeout_s, env={"OMP_NUM_THREADS": "1"})
    except UserError as error:
        raise EngineUnavailable(f"{text}: not compiled: {error}") from None
