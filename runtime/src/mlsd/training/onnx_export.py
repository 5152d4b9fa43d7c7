"""A fitted model as ONNX graphs: input `matrix` float32 [n, F], output `raw` float32 [n, 1], before calibration."""

import logging
import tempfile
from pathlib import Path
from typing import Any

from mlsd.models.bundle import Export
from mlsd.training.families import training_family


def _quantised(model: Any) -> bytes | None:
    """The graph with int8 weights; None where no operator of it can be quantised, as in an ensemble of trees."""
    from onnxruntime.quantization import quantize_dynamic

    if not any(node.op_type == "MatMul" for node in model.graph.node):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        logging.disable(logging.WARNING)  # it advises a preparation that is for pictures
        try:
            quantize_dynamic(model, path)
        finally:
            logging.disable(logging.NOTSET)
        return path.read_bytes()


def export(family: str, text: str) -> dict[Export, bytes]:
    """The graphs of a model.

    Raises:
        EngineUnavailable: trees that ONNX is not told: with categories, linear leaves, several classes.
    """
    model = training_family(family).graph(text)
    graphs: dict[Export, bytes] = {"model.onnx": bytes(model.SerializeToString())}
    if (small := _quantised(model)) is not None:
        graphs["model.int8.onnx"] = small
    return graphs
