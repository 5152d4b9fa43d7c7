"""A stand-in for Triton, TensorFlow Serving and vLLM, true to what their documents say and strict about it.

It is not one of them: it accepts exactly the documented request (unknown fields, other types and sizes are refused as
the servers do), answers in the documented form, and can be told to misbehave. Row k scores the sum of its known values.

Open Inference Protocol with the binary tensor extension: github.com/kserve/open-inference-protocol;
TensorFlow Serving: tensorflow_serving/g3doc/api_rest.md; vLLM: docs.vllm.ai, "Score API" (`/score`, text_1, text_2).
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

MODEL = "ranker"
FEATURES = ("a", "b", "c")


class Refused(Exception):  # noqa: N818
    """A request that the real server would not take."""


def need(fact: bool, why: str) -> None:
    if not fact:
        raise Refused(why)


def expected(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.nansum(matrix.astype(np.float64), axis=1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    mode: ClassVar[str] = "ok"
    stopped: ClassVar[threading.Event] = threading.Event()
    connections: ClassVar[set[tuple[str, int]]] = set()

    def do_POST(self) -> None:
        type(self).connections.add(self.client_address)
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.mode == "hang":
            self.stopped.wait(20)
            self.close_connection = True
            return
        if self.mode == "drip":
            self.drip()
            return
        try:
            headers, answer = self.answered(body)
            status = 200
        except Refused as error:
            status, headers, answer = 400, {}, json.dumps({"error": str(error)}).encode()
        if self.mode == "500":
            status, answer = 500, b'{"error":"out of memory"}'
        if self.mode == "huge":
            answer = b"[" + b"0," * 2_000_000 + b"0]"
        if self.mode == "text":
            answer = b"<html>no</html>"
        if self.mode == "cut":
            answer = answer[: len(answer) // 2]
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def drip(self) -> None:
        """A byte now and then: no single read ever takes long."""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx: " + b"y" * 10_000
        for byte in head:
            if self.stopped.is_set():
                break
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                break
            time.sleep(0.01)
        self.close_connection = True

    def answered(self, body: bytes) -> tuple[dict[str, str], bytes]:
        if self.path == f"/v2/models/{MODEL}/infer":
            return self.triton(body)
        if self.path == f"/v1/models/{MODEL}:predict":
            return {}, self.tf_serving(body)
        if self.path == "/score":
            return {}, self.vllm(body)
        raise Refused(f"no such path: {self.path}")

    def spoilt(self, scores: NDArray[np.float64]) -> list[float]:
        found = scores.tolist()
        if self.mode == "shape":
            found = found[:-1]
        if self.mode == "nan":
            found[0] = float("nan")
        return found

    def triton(self, body: bytes) -> tuple[dict[str, str], bytes]:
        need(self.headers["content-type"] == "application/octet-stream", "content type of a binary request")
        length = int(self.headers["Inference-Header-Content-Length"])
        request, tensor = json.loads(body[:length]), body[length:]
        need(request.keys() <= {"id", "parameters", "inputs", "outputs"}, "unknown field")
        (told,), (wanted,) = request["inputs"], request["outputs"]
        need(told.keys() == {"name", "shape", "datatype", "parameters"}, "fields of an input")
        need(told["name"] == "matrix" and told["datatype"] == "FP32", "the model's input is matrix FP32")
        need(told["parameters"] == {"binary_data_size": len(tensor)}, "binary_data_size")
        need(len(tensor) == 4 * np.prod(told["shape"]) and told["shape"][1] == len(FEATURES), "shape")
        need(wanted == {"name": "raw", "parameters": {"binary_data": True}}, "the model's output is raw")
        matrix = np.frombuffer(tensor, "<f4").reshape(told["shape"])
        found = np.array(self.spoilt(expected(matrix)), "<f4")
        output: dict[str, Any] = {"name": "raw", "datatype": "FP32", "shape": [len(found), 1]}
        answer = {"model_name": MODEL, "model_version": "1"}
        if self.mode == "json":
            text = json.dumps({**answer, "outputs": [{**output, "data": found.tolist()}]})
            return {}, text.encode()
        head = json.dumps({**answer, "outputs": [{**output, "parameters": {"binary_data_size": found.nbytes}}]})
        return {"Inference-Header-Content-Length": str(len(head))}, head.encode() + found.tobytes()

    def tf_serving(self, body: bytes) -> bytes:
        request = json.loads(body)
        need(request.keys() == {"instances"}, "exactly one of instances, inputs")
        rows = request["instances"]
        need(all(type(x) in (int, float) for row in rows for x in row), "numbers or the tokens NaN, Infinity")
        found = self.spoilt(expected(np.array(rows, np.float32)))
        return json.dumps({"predictions": [[x] for x in found] if self.mode == "json" else found}).encode()

    def vllm(self, body: bytes) -> bytes:
        request = json.loads(body)
        need(request.keys() == {"model", "text_1", "text_2"}, "unknown field")
        need(request["model"] == MODEL, f"The model `{request['model']}` does not exist.")
        need(isinstance(request["text_1"], str), "text_1")
        texts = request["text_2"]
        need(isinstance(texts, list) and all(isinstance(text, str) for text in texts), "text_2")
        scores = np.array([sum(map(float, re.findall(r"(?:^|, )\w+ (\S+?)(?=,|$)", text))) for text in texts])
        data = [{"index": k, "object": "score", "score": x} for k, x in enumerate(self.spoilt(scores))]
        usage = {"prompt_tokens": 9, "total_tokens": 9, "completion_tokens": 0, "prompt_tokens_details": None}
        return json.dumps(
            {"id": "score-1", "object": "list", "created": 1, "model": MODEL, "data": data[::-1], "usage": usage}
        ).encode()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that went away."""


@contextmanager
def stand_in() -> Iterator[tuple[str, type[Handler]]]:
    """Address, and the handler whose `mode` says how to misbehave."""
    handler = type("Own", (Handler,), {"stopped": threading.Event(), "connections": set(), "mode": "ok"})
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
    finally:
        handler.stopped.set()
        server.shutdown()
        server.server_close()
