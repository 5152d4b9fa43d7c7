"""Model servers over HTTP as engines: the matrix goes out, one raw score per row comes back, or an exception."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson

from mlsd.models.engines.deadline import Caller, RemoteError
from mlsd.models.engines.onnx import INPUT, OUTPUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlsd.design.online_sections import Remote

MAX_ANSWER = 2**20
JSON = {"content-type": "application/json"}
LENGTH = "inference-header-content-length"
QUERY = "How relevant is this item to this user?"


class Dialect(Protocol):
    """How one kind of server is asked and read."""

    def request(self, matrix: NDArray[np.float32]) -> tuple[str, bytes, Mapping[str, str]]:
        """Path below the server's address, body, headers."""

    def scores(self, headers: Mapping[str, str], body: bytes) -> Any:
        """The numbers of an answer, in the order of the rows.

        Raises:
            ValueError, KeyError, TypeError, IndexError: not an answer of this protocol.
        """


class Triton:
    """Triton Inference Server: the Open Inference Protocol (KServe v2) with binary tensors.

    It serves the bundle's own `model.onnx`: input `matrix` FP32 [n, F], output `raw` FP32 [n, 1].
    """

    def __init__(self, model: str) -> None:
        """Ask for the newest version that the server has of this model."""
        self._path = f"/v2/models/{model}/infer"

    def request(self, matrix: NDArray[np.float32]) -> tuple[str, bytes, Mapping[str, str]]:
        """A JSON header, then the matrix, little-endian."""
        tensor = np.ascontiguousarray(matrix, "<f4").tobytes()
        described = {"name": INPUT, "shape": matrix.shape, "datatype": "FP32"}
        head = orjson.dumps(
            {
                "inputs": [{**described, "parameters": {"binary_data_size": len(tensor)}}],
                "outputs": [{"name": OUTPUT, "parameters": {"binary_data": True}}],
            }
        )
        return self._path, head + tensor, {"content-type": "application/octet-stream", LENGTH: str(len(head))}

    def scores(self, headers: Mapping[str, str], body: bytes) -> Any:
        """The output tensor, which a server may also send as JSON."""
        length = int(headers.get(LENGTH, len(body)))
        (output,) = orjson.loads(body[:length])["outputs"]
        if output["name"] != OUTPUT or output["datatype"] != "FP32":
            raise ValueError(f"output {output['name']!r} {output['datatype']!r}, expected {OUTPUT!r} 'FP32'")
        size = output.get("parameters", {}).get("binary_data_size")
        found = np.array(output["data"], np.float32) if size is None else np.frombuffer(body[length:], "<f4")
        if size not in (None, len(body) - length) or found.size != np.prod(output["shape"]):
            raise ValueError(f"{found.size} numbers, told {size} bytes of shape {output['shape']}")
        return found


class TfServing:
    """TensorFlow Serving's REST API, row format; a missing value is its token NaN."""

    def __init__(self, model: str) -> None:
        """Ask the default signature of the newest version."""
        self._path = f"/v1/models/{model}:predict"

    def request(self, matrix: NDArray[np.float32]) -> tuple[str, bytes, Mapping[str, str]]:
        """One instance per row."""
        rows = orjson.dumps(np.ascontiguousarray(matrix), option=orjson.OPT_SERIALIZE_NUMPY)
        return self._path, b'{"instances":' + rows.replace(b"null", b"NaN") + b"}", JSON

    def scores(self, headers: Mapping[str, str], body: bytes) -> Any:
        """One prediction per row."""
        return json.loads(body)["predictions"]  # orjson refuses the tokens that this server may send


class Vllm:
    """vLLM's score API: a cross-encoder reads each row as text against one question."""

    def __init__(self, model: str, features: tuple[str, ...]) -> None:
        """Rows are written with the names of their features; a missing value is left out."""
        self._model, self._features = model, features

    def _text(self, row: NDArray[np.float32]) -> str:
        known = zip(self._features, row.tolist(), np.isfinite(row).tolist(), strict=True)
        return ", ".join(f"{name} {value:.6g}" for name, value, there in known if there)

    def request(self, matrix: NDArray[np.float32]) -> tuple[str, bytes, Mapping[str, str]]:
        """One pair per row."""
        texts = [self._text(row) for row in matrix]
        return "/score", orjson.dumps({"model": self._model, "text_1": QUERY, "text_2": texts}), JSON

    def scores(self, headers: Mapping[str, str], body: bytes) -> Any:
        """Scores by the index that each carries."""
        found = {entry["index"]: entry["score"] for entry in orjson.loads(body)["data"]}
        return [found[index] for index in range(len(found))]


class RemoteEngine:
    """A model server elsewhere, with a deadline for the whole call and a checked answer."""

    remote = True

    def __init__(self, name: str, url: str, protocol: Dialect, width: int, deadline_s: float) -> None:
        """Nothing is connected before the first call."""
        self.name, self.width = name, width
        self._url, self._protocol = url.rstrip("/"), protocol
        self._caller = Caller(deadline_s, MAX_ANSWER)

    def raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """The server's scores, [n].

        Raises:
            TimeoutError: no whole answer within the deadline.
            RemoteError: it refused, or did not answer one finite number per row.
        """
        path, body, headers = self._protocol.request(matrix)
        found_headers, answer = self._caller.post(self._url + path, body, headers)
        try:
            raw = np.asarray(self._protocol.scores(found_headers, answer), np.float64)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
            raise RemoteError(f"{self._url}{path}: not an answer of {self.name}: {error!r}") from None
        if raw.shape not in ((len(matrix),), (len(matrix), 1)) or not np.isfinite(raw).all():
            raise RemoteError(f"{self._url}{path}: shape {raw.shape}, expected {len(matrix)} finite numbers")
        return raw.reshape(len(matrix))


def connect(remote: Remote, features: tuple[str, ...], deadline_s: float) -> RemoteEngine:
    """The engine that the design names; the protocol is its name in the prediction record."""
    protocols: dict[str, Dialect] = {
        "triton": Triton(remote.model),
        "tf_serving": TfServing(remote.model),
        "vllm": Vllm(remote.model, features),
    }
    return RemoteEngine(remote.protocol, remote.url, protocols[remote.protocol], len(features), deadline_s)
