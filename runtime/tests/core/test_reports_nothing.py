"""No library tells its makers anything, in whatever process of ours it is imported."""

import json
import os
import subprocess
import sys

import pytest

from mlsd import QUIET

LATE = "import json, os, sys; import {}; print(json.dumps(dict(os.environ)))"


@pytest.mark.parametrize("first", ["mlsd", "mlsd.commands.cli", "feed_ranking.problem"])
def test_every_process_starts_quiet(first: str) -> None:
    loud = {name: value for name, value in os.environ.items() if name not in QUIET}
    done = subprocess.run(
        [sys.executable, "-c", LATE.format(first)], env=loud, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert {name: found.get(name) for name in QUIET} == QUIET


def test_who_asks_for_it_keeps_it() -> None:
    chosen = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "false"}
    done = subprocess.run(
        [sys.executable, "-c", LATE.format("mlsd")], env=chosen, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["MLFLOW_DISABLE_TELEMETRY"] == "false"
