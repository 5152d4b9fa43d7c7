"""The commands of docs/tools.md, run on the state that a demo left, as their users would."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

LISTENS = re.compile(r"--port (\d+)")
READY_S = 90


def blocks(project: Path) -> list[str]:
    """The shell blocks of the page, in order."""
    page = (project / "docs" / "tools.md").read_text(encoding="utf-8")
    return re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


class Shell:
    """A shell in the project's folder that finds the programs of its virtual environment."""

    def __init__(self, project: Path, bentoml_home: Path) -> None:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("MLSD_") and name != "PYTHONPATH"
        }
        path = f"{project}/.venv/bin:{os.environ['PATH']}"
        self._project = project
        self._environment = inherited | {
            "PATH": path,
            "BENTOML_HOME": str(bentoml_home),
            "BENTOML_DO_NOT_TRACK": "True",
        }

    def _start(self, script: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._project,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, script: str) -> str:
        """What it printed; it has to succeed."""
        process = self._start(script)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, f"{script}\n{output}"
        return output

    @contextmanager
    def listening(self, script: str, path: str) -> Iterator[str]:
        """Yield the address of what the last line of a script starts, once `path` answers 200; then end it."""
        port = LISTENS.findall(script)[-1]
        process = self._start(script)
        try:
            yield _answering(f"http://127.0.0.1:{port}", path)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=60)


def _answering(address: str, path: str) -> str:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        try:
            if httpx.get(f"{address}{path}", trust_env=False, timeout=5).status_code == 200:
                return address
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"{address}{path}: no answer in {READY_S} s")
