"""The command line: exit codes, messages without tracebacks, a fast start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlsd.commands.cli import HELP, main
from mlsd.commands.demo import MARKER, clean_start
from mlsd.core.home import Home
from mlsd.design.design import Design
from support.paths import PYTHONPATH


def _mlsd(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlsd.commands.cli", *args]
    source = PYTHONPATH
    return subprocess.run(
        command, env=os.environ | {"PYTHONPATH": source} | env, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_command_and_loads_no_library() -> None:
    code = (
        "import sys; from mlsd.commands.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    )
    source = PYTHONPATH
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    for name in HELP:
        assert f" {name} " in done.stdout
    loaded = set(done.stdout.split())
    assert not loaded & {"pydantic", "numpy", "pandas", "yaml", "feast", "mlflow", "kfp", "lightgbm"}


@pytest.mark.parametrize(
    ("section", "field", "value", "expected"),
    [
        ("scale", "peak_rps", "many", "scale.peak_rps: found 'many'"),
        ("label", "min_dwell_s", -1, "label.min_dwell_s: found -1"),
        ("success", "metric", "applause", "success.metric: found 'applause'"),
        ("data", "sead", 7, "data.sead"),
    ],
)
def test_bad_design_is_a_message_and_exit_code_2(
    design: Design, tmp_path: Path, section: str, field: str, value: object, expected: str
) -> None:
    content = design.model_dump(mode="json")
    content[section][field] = value
    changed = tmp_path / "design.yaml"
    changed.write_text(yaml.safe_dump(content))
    done = _mlsd("plan", MLSD_DESIGN=str(changed), MLSD_HOME=str(tmp_path / "home"))
    assert done.returncode == 2
    assert f"{changed}: {expected}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_design_that_is_no_yaml_is_a_message(tmp_path: Path) -> None:
    changed = tmp_path / "design.yaml"
    changed.write_text("name: [")
    done = _mlsd("plan", MLSD_DESIGN=str(changed), MLSD_HOME=str(tmp_path / "home"))
    assert done.returncode == 2
    assert f"{changed}: not valid YAML" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["features", "train", "up", "load", "release", "rollback", "monitor", "retrain"])
def test_a_command_before_its_turn_says_what_to_run(
    command: str, home: Home, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"mlsd {command}: ")
    assert "mlsd " in message.removeprefix(f"mlsd {command}: ")


@pytest.mark.parametrize("command", ["features", "monitor", "rollback"])
def test_a_damaged_state_folder_is_a_message(command: str, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("data", "feast", "results"):
        (home.root / name).mkdir(parents=True)
    (home.root / "training.json").write_text("{half")
    (home.data / "users.parquet").write_bytes(b"PAR1")
    assert main([command]) == 2
    assert capsys.readouterr().err.startswith(f"mlsd {command}: ")


def test_a_reader_that_stops_early_gets_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlsd.commands.cli", "plan"]
    environment = os.environ | {"PYTHONPATH": PYTHONPATH, "MLSD_HOME": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout and running.stderr
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_a_demo_starts_over_but_keeps_state_it_did_not_make(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.models.mkdir(parents=True)
    (home.models / "mine").write_text("trained by hand")
    clean_start(home)
    assert (home.root.with_name(f"{home.root.name}.1") / "models" / "mine").read_text() == "trained by hand"
    assert f"moved to {home.root}.1" in caplog.text
    (home.root / "left").write_text("from a demo")
    clean_start(home)
    assert sorted(path.name for path in home.root.iterdir()) == [MARKER]
