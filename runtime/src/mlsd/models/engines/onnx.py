"""ONNX Runtime, one thread: float32 sums, so close to the native engine and not equal to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlsd.models.bundle import Export, Manifest, ModelRefused, read_export
from mlsd.models.engines.base import EngineUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlsd.core.home import Home

INPUT, OUTPUT = "matrix", "raw"
FILES: dict[str, Export] = {"onnx": "model.onnx", "onnx_int8": "model.int8.onnx"}  # by the engine's name


class Onnx:
    """A session on a verified graph with one input `matrix` [n, F] and one output `raw` [n, 1]."""

    remote = False

    def __init__(self, name: str, content: bytes, threads: int = 1) -> None:
        """Load the graph; files beside it are not read.

        Raises:
            EngineUnavailable: ONNX Runtime is not installed here.
            ModelRefused: not a graph of this shape.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineUnavailable(f"onnxruntime: {error}") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own errors have no common type but this one
            raise ModelRefused(f"not an ONNX model: {' '.join(str(error).split())[:200]}") from None
        self.name = name
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [one.name for one in inputs] != [INPUT] or [one.name for one in outputs] != [OUTPUT]:
            raise ModelRefused(f"ONNX model: expected one input {INPUT!r} and one output {OUTPUT!r}")
        self._width = inputs[0].shape[1]

    @property
    def width(self) -> int:
        """Number of features it expects."""
        return int(self._width)

    def raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """The graph's output, [n]."""
        found = self._session.run([OUTPUT], {INPUT: np.ascontiguousarray(matrix)})[0]
        raw: NDArray[np.float64] = np.asarray(found, np.float64).reshape(len(matrix))
        return raw


def open_engine(name: str, folder: Path, manifest: Manifest, _: Home) -> Onnx:
    """The graph of a bundle that this engine runs.

    Raises:
        EngineUnavailable: ONNX Runtime is not installed here.
        ModelRefused: the bundle has no such graph, or it is damaged or altered.
    """
    return Onnx(name, read_export(folder, manifest, FILES[name]))
