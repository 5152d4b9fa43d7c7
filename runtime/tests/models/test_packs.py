"""Code and model are tied: a process runs with the pack that its model was trained with (4.20)."""

import json
import shutil
from pathlib import Path

import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.models import packs
from mlsd.models.release import Release
from mlsd.problem.packs import pack_folder
from mlsd.serving.launch import environment


def model(folder: Path, digest: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"pack_sha256": digest}))
    return folder


def path_of(home: Home, folder: Path) -> list[str]:
    release = Release(release_id=1, model_version=1, model_dir=str(folder), model_digest="0" * 64)
    return environment(home, "a", release)["PYTHONPATH"].split(":")


def test_the_kept_pack_is_the_one_that_lay_there_and_comes_first(home: Home, design: Design) -> None:
    digest = packs.keep(home, design.problem)
    assert packs.keep(home, design.problem) == digest
    kept = home.packs / digest / design.problem
    mine = pack_folder(design.problem)
    assert {p.relative_to(kept): p.read_bytes() for p in kept.rglob("*.py")} == {
        p.relative_to(mine): p.read_bytes() for p in mine.rglob("*.py")
    }
    assert path_of(home, model(home.models / "1", digest))[0] == str(kept.parent)
    assert packs.name_of(kept.parent) == design.problem
    assert packs.name_of(None) is None


def test_an_edited_pack_is_another_one(
    home: Home, design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "src" / design.problem
    shutil.copytree(pack_folder(design.problem), copy)
    monkeypatch.setattr(packs, "pack_folder", lambda _: copy)
    before = packs.keep(home, design.problem)
    (copy / "labels.py").write_text("# other\n")
    after = packs.keep(home, design.problem)
    assert after != before
    assert (home.packs / before / design.problem / "labels.py").read_text() != "# other\n"
    assert [path.name for path in home.packs.iterdir() if path.name.startswith(".")] == []


def test_a_model_without_a_kept_pack_runs_with_the_one_that_lies_there(home: Home) -> None:
    """Bundles of the version before name none; a folder brought from elsewhere names one that is not here."""
    old = home.models / "1"
    old.mkdir(parents=True)
    (old / "manifest.json").write_text("{}")
    assert packs.kept(home, old) is None
    assert packs.kept(home, model(home.models / "2", "ab" * 32)) is None
    assert packs.kept(home, home.models / "nowhere") is None
    assert not any("packs" in entry for entry in path_of(home, old))
