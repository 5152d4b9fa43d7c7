"""The pages that a project ships, followed to the letter on a small world: add a feature, rename the pack."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from conftest import Bake


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def free_port() -> int:
    """The first of five ports in a row that nobody listens on."""
    for first in range(28_700, 29_600, 5):
        try:
            for port in range(first, first + 5):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


def small(project: Path) -> None:
    """The design on a small world, with rollouts that need few answers and budgets that a busy machine keeps."""
    path = project / "design.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["data"]["synthetic"] |= {"users": 300, "items": 400, "days": 21, "requests_per_day": 80}
    content["data"]["min_rows"] = 500
    content["training"] |= {"trees": 40}
    hops = {"retrieval": 250, "edge": 250, "features": 1000, "inference": 2000, "post": 1000}
    content["latency"] = {"p99_ms": 5000, "hops_ms": hops}
    content["serving"] |= {"workers": 1}
    content["delivery"]["shadow"]["min_requests"] = 40
    content["delivery"]["canary"] |= {"min_requests": 5, "steps": [5, 100]}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


class Project:
    """A bake, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLSD_")}
        source = os.pathsep.join(str(folder / part) for part in ("src", "vendor/mlsd/src"))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)
        self.environment = inherited | {"PYTHONPATH": source, "MLSD_PORT": str(self.port)}

    def mlsd(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        command = [sys.executable, "-m", "mlsd.commands.cli", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"error": done.stderr}
        return found

    def rank(self, user: int = 0) -> httpx.Response:
        with (self.folder / ".mlsd" / "data" / "traffic.jsonl").open(encoding="utf-8") as file:
            body = json.loads(file.readline())
        return self.client.post("/rank", json=body, headers={"x-user-id": str(user)})

    @contextmanager
    def asking(self) -> Iterator[list[int]]:
        """Users who ask without a break, and the status codes that they get."""
        codes: list[int] = []
        ended = threading.Event()

        def ask() -> None:
            while not ended.wait(0.05):
                codes.append(self.rank(len(codes)).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield codes
        finally:
            ended.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def project(template: Path, bake: Bake) -> Iterator[Project]:
    found = Project(bake(template))
    small(found.folder)
    yield found
    found.mlsd("down")
    found.client.close()


def test_add_a_feature(project: Project) -> None:
    """3.14: the page's two lines, its three commands; what serves goes on, over a restart, and a rollback goes back."""
    for command in ("data", "features", "train", "up"):
        project.mlsd(command)
    page = project.folder / "docs" / "add-a-feature.md"
    name, value = blocks(page, "python")
    features = project.folder / "src" / "feed_ranking" / "features.py"
    text = features.read_text(encoding="utf-8")
    at = text.index('    "weekend_lift",\n') + len('    "weekend_lift",\n')
    text = text[:at] + name + text[at:]
    features.write_text(text, encoding="utf-8")
    assert "expected one value" in project.mlsd("features", code=2)["error"]
    at = text.index("\n", text.index('i[_I["item_weekend_lift"]]')) + 1
    features.write_text(text[:at] + value + text[at:], encoding="utf-8")

    project.mlsd("down")
    project.mlsd("up")
    assert project.rank().headers["x-mlsd-release"] == "1"
    [steps] = blocks(page, "sh")
    with project.asking() as codes:
        results = {line.split()[1]: project.mlsd(*line.split()[1:]) for line in steps.splitlines()}
    assert set(codes) == {200}
    assert results["features"]["summary"].startswith("59 features")
    released = results["release"]["details"]["release"]
    assert project.rank().headers["x-mlsd-release"] == str(released)
    project.mlsd("down")
    project.mlsd("up")
    assert project.rank().headers["x-mlsd-release"] == str(released)
    project.mlsd("rollback")
    assert project.rank().headers["x-mlsd-release"] == "1"


def test_rename_the_pack(project: Project) -> None:
    """All but the installation, which the page asks for at the end."""
    [steps] = blocks(project.folder / "docs" / "rename-the-pack.md", "sh")
    lines = [line for line in steps.splitlines() if line != "make install"]
    assert len(lines) == 3
    subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=project.folder, check=True, timeout=60)
    assert "home_feed" in (project.folder / "design.yaml").read_text(encoding="utf-8")
    project.mlsd("plan")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_labels.py"]
    subprocess.run(command, cwd=project.folder, env=project.environment, check=True, timeout=200)
    left = subprocess.run(
        ["grep", "-rl", "feed_ranking", "src", "tests", "pyproject.toml", "design.yaml", ".github"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert left.stdout == ""
