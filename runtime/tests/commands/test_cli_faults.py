"""The command line when something below it is broken: a message, exit code 2, and what can still work does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlsd.commands.cli import main
from mlsd.core.home import Home
from mlsd.design.design import Design
from support.paths import PYTHONPATH


def test_a_state_folder_that_is_a_file_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "state"
    place.write_text("not a folder")
    monkeypatch.setenv("MLSD_HOME", str(place))
    assert main(["plan"]) == 2
    assert f"mlsd plan: {place}" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"offset_s": "soon"}', '{"offset_s": 1e300}'])
def test_a_damaged_clock_is_a_message(home: Home, capsys: pytest.CaptureFixture[str], content: str) -> None:
    from mlsd.core import clock

    home.root.mkdir(parents=True, exist_ok=True)
    home.clock.write_text(content)
    clock.reread()
    try:
        assert main(["plan"]) == 2
    finally:
        clock.reread()
    assert "clock.json: not a clock" in capsys.readouterr().err


def test_down_works_whatever_is_wrong_with_the_design(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "design.yaml").write_text("name: [")
    monkeypatch.setenv("MLSD_DESIGN", str(tmp_path / "design.yaml"))
    assert main(["plan"]) == 2
    assert main(["down"]) == 0


@pytest.mark.parametrize(
    "words",
    [["load", "--rps", "-5"], ["load", "--seconds", "0"], ["drill", "swap", "--rps", "0"], ["load", "--rps", "x"]],
)
def test_a_number_that_makes_no_sense_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert f"found '{words[-1]}', expected a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(("inference", "code"), [(None, 0), (1e-6, 1)])
def test_a_reader_that_stops_early_changes_no_exit_code(
    design: Design, tmp_path: Path, inference: float | None, code: int
) -> None:
    """`mlsd plan | head`: a failed gate stays one."""
    content = design.model_dump(mode="json")
    if inference is not None:
        content["latency"]["hops_ms"]["inference"] = inference
    changed = tmp_path / "design.yaml"
    changed.write_text(yaml.safe_dump(content))
    environment = os.environ | {
        "PYTHONPATH": PYTHONPATH, "MLSD_HOME": str(tmp_path), "MLSD_DESIGN": str(changed)
    }  # fmt: skip
    argv = [sys.executable, "-m", "mlsd.commands.cli", "plan"]
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout and running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == code
