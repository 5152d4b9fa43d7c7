"""What looks at a release runs with its pack, after the project's has got another feature."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlsd.commands import release_pack
from mlsd.commands.release_pack import pack_for
from mlsd.core.home import Home
from mlsd.design.design import Design, design_path
from mlsd.models import packs
from mlsd.monitoring import reference
from mlsd.problem.context import Context
from mlsd.problem.packs import pack_folder
from mlsd.problem.problem import Problem
from support.live_traffic import LiveTraffic
from support.pack_copies import add_feature, copy_of, edit
from support.paths import SOURCE

REQUESTS = reference.REQUESTS + 250


def mlsd(home: Home, pack: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of a project whose pack lies there."""
    env = os.environ | {"MLSD_HOME": str(home.root), "MLSD_DESIGN": str(design_path())}
    env["PYTHONPATH"] = os.pathsep.join([str(pack.parent), str(SOURCE)])
    command = [sys.executable, "-m", "mlsd.commands.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False])
def test_a_live_release_is_watched_and_explained_with_its_own_pack(
    home: Home, problem: Problem, design: Design, tmp_path: Path, kept: bool
) -> None:
    """Without a kept pack the message names the feature that is new; there is no traceback."""
    digest = packs.keep(home, design.problem) if kept else ""
    traffic = LiveTraffic(home, problem, design, pack_sha256=digest)
    traffic.send(REQUESTS)
    edited = copy_of(design.problem, tmp_path / "src")
    first = mlsd(home, pack_folder(design.problem), "monitor")
    assert first.returncode == 0, first.stderr
    add_feature(edited)
    again = mlsd(home, edited, "monitor")
    if not kept:
        assert again.returncode == 2, again.stderr
        assert "differ in popular_fresh" in again.stderr
        return
    assert again.returncode == 0, again.stderr
    before, after = (
        mlsd(home, pack, "explain", traffic.sent[-1].request_id).stdout.splitlines()
        for pack in (pack_folder(design.problem), edited)
    )
    assert before[1:] == after[1:]  # the first has the seconds
    assert any("weekend_lift" in line for line in after)


def test_the_projects_own_pack_needs_no_other_process(home: Home, problem: Problem, design: Design) -> None:
    context = Context(home)
    assert pack_for(context, "monitor") is None
    digest = packs.keep(home, design.problem)
    assert pack_for(context, "monitor") is None  # nothing is live
    LiveTraffic(home, problem, design, pack_sha256=digest)
    assert pack_for(context, "monitor") is None
    assert pack_for(context, "explain", "nobody") is None


def test_another_pack_is_found_for_what_is_about_the_release_only(
    home: Home, problem: Problem, design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = packs.keep(home, design.problem)
    LiveTraffic(home, problem, design, pack_sha256=digest)
    edited = copy_of(design.problem, tmp_path)
    edit(edited / "labels.py", ('"""', '"""Edited. '))
    monkeypatch.setattr(release_pack, "pack_folder", lambda _: edited)
    context = Context(home)
    assert pack_for(context, "monitor") == pack_for(context, "batch") == home.packs / digest
    assert pack_for(context, "train") is None
