"""Compiled objects: never loaded when spoilt, foreign or of other trees; compiled once, in bounded time."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlsd.models.bundle import sha256
from mlsd.models.engines import compiled, object_record, objects
from mlsd.models.engines.base import EngineUnavailable
from mlsd.models.selection import compile_engine, load_engine
from support.boosters import WIDTH, Model, boosted


def the_object(model: Model) -> Path:
    folder, _, home = model
    return object_record.place(home.engines, sha256((folder / "model.txt").read_bytes())) / objects.OBJECT


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_other_trees(path: Path) -> None:
    content = path.with_name(objects.RECORD).read_text()
    path.with_name(objects.RECORD).write_text(content.replace('"model_sha256": "', '"model_sha256": "0')[:-1])


@pytest.mark.parametrize("spoil", [truncated, flipped, of_other_trees, Path.unlink])
def test_a_spoilt_object_is_not_loaded(model: Model, spoil: Callable[[Path], None]) -> None:
    path = the_object(model)
    whole = {entry: entry.read_bytes() for entry in path.parent.iterdir()}
    spoil(path)
    with pytest.raises(EngineUnavailable):
        load_engine("lleaves", *model)
    for entry, content in whole.items():
        entry.write_bytes(content)
    assert load_engine("lleaves", *model).engine == "lleaves"


def test_an_object_where_others_can_write_is_not_loaded(model: Model) -> None:
    folder, digest, home = model
    assert home.engines.stat().st_mode & 0o777 == 0o700
    home.engines.chmod(0o770)
    try:
        with pytest.raises(EngineUnavailable, match="chmod 700"):
            load_engine("lleaves", folder, digest, home)
    finally:
        home.engines.chmod(0o700)
    assert load_engine("lleaves", folder, digest, home).engine == "lleaves"


def test_an_object_of_another_machine_is_not_even_looked_at(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, digest, home = model
    mine = object_record.toolchain()
    monkeypatch.setattr(object_record, "toolchain", lambda: mine | {"features": "+neon"})
    with pytest.raises(EngineUnavailable, match="not compiled yet"):
        load_engine("lleaves", folder, digest, home)


def test_a_consistent_object_of_other_trees_fails_its_probe(model: Model) -> None:
    """Everything agrees with its record, but it does not score as LightGBM did."""
    folder, digest, home = model
    path = the_object(model)
    with np.load(path.with_name(objects.PROBE)) as found:
        np.savez(path.with_name(objects.PROBE), rows=found["rows"], raw=found["raw"] + 1e-6)
    objects.describe(path.parent, sha256((folder / "model.txt").read_bytes()), 0.0, 0.0)
    with pytest.raises(EngineUnavailable, match="differs from LightGBM by"):
        load_engine("lleaves", folder, digest, home)
    path.unlink()
    assert compile_engine(folder, digest, home).engine == "lleaves", "compiled again"


def test_many_who_want_the_same_object_compile_it_once(tmp_path: Path) -> None:
    text = boosted()
    path, digest, engines = tmp_path / "model.txt", sha256(text.encode()), tmp_path / "engines"
    path.write_text(text)
    threads = [threading.Thread(target=compiled.make, args=(path, digest, engines)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [entry for entry in engines.iterdir() if entry.is_dir()]
    assert len(made) == 1, "no half-made folder is left"
    assert compiled.load(path, digest, engines).width == WIDTH


def test_a_compiler_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    text = boosted()
    (tmp_path / "model.txt").write_text(text)
    with pytest.raises(EngineUnavailable, match=r"not compiled: no result within 0\.05 s"):
        compiled.make(tmp_path / "model.txt", sha256(text.encode()), tmp_path / "engines", timeout_s=0.05)


def test_the_compiler_refuses_a_text_with_another_digest(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text(boosted())
    with pytest.raises(EngineUnavailable, match="sha256 is not"):
        compiled.make(tmp_path / "model.txt", "0" * 64, tmp_path / "engines")
    assert not list((tmp_path / "engines").glob("*/"))
