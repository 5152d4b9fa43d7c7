"""10,000 fuzzed requests against one running server: nothing breaks, nothing is made up, nothing is kept."""

import random
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx
import psutil
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi import checks

from support import fuzzers
from support.connection import Answer, ClientConnection, request, strict
from support.gameday import Seen
from support.model_server import Server

pytestmark = pytest.mark.slow

BY_SCHEMA, BY_BODY, BY_ROUTE, BY_BYTES = 800, 6_400, 2_000, 800
SIDE_BY_SIDE = 4
BY_BENTOML = b"Method Not Allowed"  # by its health pages
GROWTH_MIB = 8  # of all processes, in the 6,000 requests after the warm-up: 1.4 kB kept of each would be seen
CONFORMS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
GOOD = {"user_id": 1, "candidates": [1, 2, 3]}


def judge(answer: Answer | None, data: bytes) -> int:
    """The answer's code, after what holds for every answer was checked."""
    assert answer is not None, data
    assert answer.status < 500, (data, answer)
    content = strict(answer.body) if "json" in answer.headers.get("content-type", "") else None
    if answer.body == BY_BENTOML and b" /rank " not in data:
        return answer.status
    if answer.status >= 400:
        assert content is not None, (data, answer)
        assert set(content["error"]) == {"field", "found", "expected"}, (data, answer)
    elif content is not None and data.startswith(b"POST /rank HTTP"):
        assert all(0 <= item["score"] <= 1 for item in content["items"])
        assert fuzzers.acceptable(data.partition(b"\r\n\r\n")[2]), data
    return answer.status


@dataclass
class Barrage:
    """Sends to one server and judges what comes back."""

    server: Server
    codes: Counter[int] = field(default_factory=Counter)

    @property
    def port(self) -> int:
        return int(self.server.url.rpartition(":")[2])

    def workers(self) -> list[psutil.Process]:
        found: list[psutil.Process] = self.server.process.children(recursive=True)
        return found

    def memory_mib(self) -> float:
        return sum(process.memory_info().rss for process in self.workers()) / 2**20

    def http(self, stream: Iterator[bytes], count: int) -> None:
        """Well-formed HTTP on a few connections that are kept until the server closes them."""
        with ExitStack() as stack:
            wires: dict[int, ClientConnection] = {}
            while batch := list(islice(stream, min(SIDE_BY_SIDE, count))):
                count -= len(batch)
                for lane, data in enumerate(batch):
                    if lane not in wires:
                        wires[lane] = stack.enter_context(ClientConnection(self.port, 60))
                    wires[lane].send(data)
                for lane, data in enumerate(batch):
                    answer = wires[lane].answer()
                    self.codes[judge(answer, data)] += 1
                    if answer and answer.headers.get("connection") == "close":
                        wires.pop(lane).close()

    def raw(self, stream: Iterator[bytes], count: int) -> None:
        """A connection each; the answer may be none, but the connection ends."""
        for data in islice(stream, count):
            with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
                with suppress(OSError):
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                found = b""
                with suppress(ConnectionError):
                    while chunk := connection.recv(65_536):
                        found += chunk
            codes = [int(code) for code in re.findall(rb"^HTTP/1\.[01] (\d{3})", found, re.MULTILINE)]
            assert all(code < 500 for code in codes), (data, found)
            self.codes[codes[0] if codes else 0] += 1

    def by_schema(self, mode: schemathesis.GenerationMode, count: int) -> None:
        """What schemathesis makes of the service's own description, right or wrong on purpose."""
        described = httpx.get(f"{self.server.url}/openapi.json")
        assert described.status_code == 200
        operation = schemathesis.openapi.from_dict(described.json())["/rank"]["POST"]

        @settings(
            max_examples=count, deadline=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        )  # fmt: skip
        @given(case=operation.as_strategy(mode))
        def send(case: Any) -> None:
            prepared = requests.Request(**case.as_transport_kwargs(self.server.url)).prepare()
            body = prepared.body if isinstance(prepared.body, bytes) else (prepared.body or "").encode()
            lines = [f"{name}: {value}" for name, value in prepared.headers.items() if name != "Content-Length"]
            data = request(body, *lines, path=prepared.path_url)
            answer = connection.ask(data)
            self.codes[judge(answer, data)] += 1
            assert answer is not None
            assert answer.status in {200, 429} or not fuzzers.acceptable(body), data  # 1.0 is an integer to the schema
            headers = {name: [value] for name, value in answer.headers.items()}
            told = schemathesis.Response(answer.status, headers, answer.body, prepared, 0.0, verify=False)
            case.validate_response(told, checks=CONFORMS)

        with ClientConnection(self.port, 60) as connection:
            send()


@pytest.mark.timeout(1800)
@pytest.mark.fault("10,000 fuzzed requests", "0 5xx, no non-finite number, a reason in every 4xx, no growth of memory")
def test_ten_thousand_fuzzed_requests_break_nothing(attacked: Server, seen: Seen) -> None:
    """By its own OpenAPI, by damaged bodies, by methods, paths and headers, by bytes that are no HTTP."""
    barrage, rng, began = Barrage(attacked), random.Random(17), time.monotonic()
    before = sorted(process.pid for process in barrage.workers())
    bodies = map(request, fuzzers.bodies(rng))
    for mode in schemathesis.GenerationMode:
        barrage.by_schema(mode, BY_SCHEMA // 2)
    barrage.http(bodies, BY_BODY // 2)
    warm = barrage.memory_mib()
    barrage.http(bodies, BY_BODY - BY_BODY // 2)
    barrage.http(fuzzers.routes(rng), BY_ROUTE)
    barrage.raw(fuzzers.garbage(rng), BY_BYTES)
    grown = barrage.memory_mib() - warm
    codes = barrage.codes
    assert sum(codes.values()) >= 10_000
    assert codes[200] > 1_000
    assert codes[400] > 3_000
    assert grown < GROWTH_MIB
    assert sorted(process.pid for process in barrage.workers()) == before
    assert attacked.rank(GOOD).status_code == 200
    assert "Traceback" not in attacked.log.read_text()
    said = ", ".join(f"{count} x {code or 'closed'}" for code, count in sorted(codes.items()))
    seen(f"{said}; {grown:+.1f} MiB; {time.monotonic() - began:.0f} s")
