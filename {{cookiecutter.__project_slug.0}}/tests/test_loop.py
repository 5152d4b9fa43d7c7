"""The loop of this project on a small world, by its own commands: data to release and back, and gates that fire."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import PROJECT

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.local.ports import COUNT, require_free

pytestmark = pytest.mark.slow
ASK_EVERY_S = 0.02


@dataclass
class Service:
    """A state folder and the commands that work on it."""

    home: Home
    environment: dict[str, str]
    client: httpx.Client

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and result of one `mlsd` command."""
        command = [sys.executable, "-m", "mlsd.commands.cli", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=PROJECT, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def passes(self, *arguments: str) -> dict[str, Any]:
        """The result of a command whose every check has to pass."""
        code, result = self.run(*arguments)
        assert code == 0, json.dumps(result["checks"], indent=1)
        return result

    @cached_property
    def body(self) -> dict[str, Any]:
        """The first of the requests that `mlsd data` has laid down."""
        with (self.home.data / "traffic.jsonl").open(encoding="utf-8") as file:
            found: dict[str, Any] = json.loads(file.readline())
        return found

    def rank(self, user: int = 0) -> httpx.Response:
        """One request through the edge."""
        return self.client.post("/rank", json=self.body, headers={"x-user-id": str(user)})


def _first_free_port() -> int:
    for first in range(24_000, 30_000, COUNT):
        try:
            for port in range(first, first + COUNT):
                require_free(port, "test")
        except UserError:
            continue
        return first
    raise AssertionError("no free ports in a row")


def _quick(design: Design) -> Design:
    """Few answers make a verdict, and the budgets are those of a busy test machine."""
    content = design.model_dump(mode="json")
    hops = {"retrieval": 250, "edge": 250, "features": 1000, "inference": 2000, "post": 1000}
    content["latency"] = {"p99_ms": 5000, "hops_ms": hops}
    content["serving"] |= {"workers": 1}
    content["delivery"] |= {"step_timeout_s": 60}
    content["delivery"]["shadow"]["min_requests"] = 40
    content["delivery"]["canary"] |= {"min_requests": 5, "steps": [5, 100]}
    content["training"] |= {"trees": 40}
    return Design.model_validate(content)


@pytest.fixture(scope="module")
def service(small_design: Design, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The stack after data, features, train and up; all its processes end with the tests."""
    folder, first = tmp_path_factory.mktemp("loop"), _first_free_port()
    described = folder / "design.yaml"
    described.write_text(_quick(small_design).model_dump_json(), encoding="utf-8")  # JSON is YAML
    environment = os.environ | {
        "MLSD_HOME": str(folder / "mlsd"),
        "MLSD_DESIGN": str(described),
        "MLSD_PORT": str(first),
    }
    with httpx.Client(base_url=f"http://127.0.0.1:{first}", timeout=30, trust_env=False) as client:
        found = Service(Home(folder / "mlsd"), environment, client)
        try:
            for command in ("data", "features", "train", "up"):
                found.passes(command)
            yield found
        finally:
            found.run("down")


@pytest.fixture
def asking(service: Service) -> Iterator[list[int]]:
    """Users who ask without a break; the status codes that they got."""
    codes: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            codes.append(service.rank(len(codes)).status_code)
            time.sleep(ASK_EVERY_S)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield codes
    ended.set()
    for thread in threads:
        thread.join()


def test_a_request_is_answered_in_order_by_the_champion(service: Service) -> None:
    answer = service.rank()
    assert answer.status_code == 200, answer.text
    content = answer.json()
    scores = [item["score"] for item in content["items"]]
    assert scores == sorted(scores, reverse=True)
    assert {item["item_id"] for item in content["items"]} <= set(service.body["candidates"])
    assert answer.headers["x-mlsd-release"] == "1"


def test_the_requests_of_the_readme_work(service: Service) -> None:
    """Both through the edge; the description names the example that it takes itself."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    [asked, described] = [shlex.split(line) for line in text.splitlines() if line.startswith("curl ")]
    body = asked[asked.index("-d") + 1]
    answer = service.client.post(urlsplit(asked[2]).path, content=body)
    assert answer.status_code == 200, answer.text
    assert {item["item_id"] for item in answer.json()["items"]} == set(json.loads(body)["candidates"])
    document = service.client.get(urlsplit(described[2]).path).json()
    content = document["paths"]["/rank"]["post"]["requestBody"]["content"]["application/json"]
    assert service.client.post("/rank", json=content["example"]).status_code == 200


def test_a_wrong_request_is_refused_by_field(service: Service) -> None:
    answer = service.client.post("/rank", json={"user_id": "me", "candidates": [1]})
    assert answer.status_code == 400
    assert "user_id" in answer.text


def test_a_release_goes_through_and_a_rollback_takes_it_back(service: Service, asking: list[int]) -> None:
    released = service.passes("release")
    assert service.rank().headers["x-mlsd-release"] == str(released["details"]["release"])
    service.passes("rollback", "--reason", "a test")
    assert service.rank().headers["x-mlsd-release"] == "1"
    assert set(asking) == {200}


def test_a_bad_candidate_is_caught_before_any_user_sees_it(service: Service, asking: list[int]) -> None:
    """`mlsd release --fault invert` passes when the gate fires in the shadow step."""
    result = service.passes("release", "--fault", "invert")
    assert (result["details"]["outcome"], result["details"]["users_percent"]) == ("rejected", 0)
    assert set(asking) == {200}
