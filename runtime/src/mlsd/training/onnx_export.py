"""A fitted model as ONNX graphs: input `matrix` float32 [n, F], output `raw` float32 [n, 1], before calibration."""

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mlsd.models.bundle import Export, Family
from mlsd.models.engines.linear import Linear
from mlsd.models.engines.onnx import INPUT, OUTPUT
from mlsd.models.engines.trees_text import plain

OPSET = 15  # the newest that onnxmltools writes


def _trees(text: str) -> Any:
    from lightgbm import Booster
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = Booster(model_str=plain(text))
    inputs = [(INPUT, FloatTensorType([None, booster.num_feature()]))]
    model = convert_lightgbm(booster, "trees", inputs, target_opset=OPSET, zipmap=False)
    found = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = [OUTPUT if name == found else name for name in node.output]
    model.graph.output[0].name = OUTPUT
    return model


def _linear(text: str) -> Any:
    """Standardise, missing to the mean, one matrix product: plain operators, so that the product can be quantised."""
    from onnx import TensorProto, helper, numpy_helper

    linear = Linear.model_validate(json.loads(text))
    values = {
        "mean": np.array(linear.mean, np.float32),
        "scale": np.array(linear.scale, np.float32),
        "weights": np.array(linear.coefficients, np.float32)[:, None],
        "intercept": np.array([linear.intercept], np.float32),
        "zero": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("Sub", [INPUT, "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["standard"]),
        helper.make_node("IsNaN", ["standard"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "standard"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "intercept"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["rows", linear.width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["rows", 1])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


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


def export(family: Family, text: str) -> dict[Export, bytes]:
    """The graphs of a model.

    Raises:
        EngineUnavailable: trees that ONNX is not told: with categories, linear leaves, several classes.
    """
    model = _trees(text) if family == "boosted_trees" else _linear(text)
    graphs: dict[Export, bytes] = {"model.onnx": bytes(model.SerializeToString())}
    if (small := _quantised(model)) is not None:
        graphs["model.int8.onnx"] = small
    return graphs
