"""Model files that are damaged or forged: refused before they are parsed, while the old model scores."""

import json
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.models.bundle import MAX_BYTES, ModelRefused, read_bundle, sha256
from mlsd.models.scoring import load_bundle
from mlsd.models.selection import load_engine, load_now
from support.boosters import boosted, bundled, flip, rows
from support.gameday import Seen

CORRUPTED = 200
FILES = ("manifest.json", "model.txt", "model.onnx")


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """A good bundle, its digest, and another good bundle of the same kind."""
    folder = tmp_path_factory.mktemp("bundles")
    digest = bundled(folder / "one", boosted())
    bundled(folder / "two", boosted(seed=1, learning_rate=0.2))
    return folder / "one", digest, folder / "two"


def truncate(path: Path, rng: random.Random, _: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def swap(path: Path, _: random.Random, other: Path) -> None:
    shutil.copy(other / path.name, path)


def empty(path: Path, _: random.Random, __: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()


def grow(path: Path, rng: random.Random, _: Path) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 2000)))


def make_huge(path: Path, _: random.Random, __: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES * 100)  # sparse: it takes no room on the disk, and would take it all in memory


def make_a_device(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def make_a_folder(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()
    path.mkdir()


def make_noise(path: Path, rng: random.Random, _: Path) -> None:
    path.write_bytes(rng.randbytes(5000))


def make_a_pickle(path: Path, _: random.Random, __: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(path.parent / "executed")))


def exchange(path: Path, _: random.Random, __: Path) -> None:
    """The right contents under each other's names."""
    path.rename(path.with_name("away"))
    other = path.with_name("model.txt" if path.name != "model.txt" else "model.onnx")
    other.rename(path)
    path.with_name("away").rename(other)


CORRUPTIONS: tuple[Callable[[Path, random.Random, Path], None], ...] = (
    truncate,
    flip,
    swap,
    empty,
    remove,
    grow,
    make_huge,
    make_a_device,
    make_a_folder,
    make_noise,
    make_a_pickle,
    exchange,
)


@pytest.mark.fault("Corrupt model (truncated)", "refused by its digest; the old model keeps serving")
@pytest.mark.fault("Corrupt or wrong model file", "refused before it is parsed; the old model keeps serving")
def test_200_corrupted_bundles_are_refused_while_the_old_model_scores(
    bundles: tuple[Path, str, Path], tmp_path: Path, design: Design, seen: Seen
) -> None:
    """LightGBM aborts the process on a cut text, and loads a flipped digit without a word."""
    good, digest, other = bundles
    home = Home(tmp_path)
    old, matrix = load_bundle(good, digest), rows(50)
    before, refused = old.score(matrix), 0
    for number in range(CORRUPTED):
        rng, folder = random.Random(number), tmp_path / "bad"
        shutil.copytree(good, folder)
        corrupt, name = CORRUPTIONS[number % len(CORRUPTIONS)], FILES[number // len(CORRUPTIONS) % len(FILES)]
        corrupt(folder / name, rng, other)
        for engine in ("lightgbm", "lleaves", "onnx"):
            needed = {"lightgbm": FILES[:2], "lleaves": FILES[:2], "onnx": FILES}[engine]
            if name in needed or corrupt is exchange:
                settings = design.serving.model_copy(update={"engine": engine})
                with pytest.raises(ModelRefused):
                    load_now(settings, folder, digest, home, 1.0)
                refused += engine == "onnx"
        assert not (folder / "executed").exists()
        shutil.rmtree(folder)
        assert np.array_equal(old.score(matrix), before)
    seen(f"{refused} of {CORRUPTED} corrupted bundles refused, every answer of the old model the same to the bit")
    assert refused == CORRUPTED


@pytest.mark.fault("Malicious artefact", "never unpickled; refused by the list of known formats")
def test_a_pickle_with_good_digests_is_refused_and_does_nothing(tmp_path: Path, seen: Seen) -> None:
    """Whoever can register a model can make its digests right; a model is text or a graph all the same."""
    folder, executed = tmp_path / "1", tmp_path / "executed"
    bundled(folder, boosted())
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        evil = pickle.dumps(Payload(executed), protocol)
        (folder / "model.txt").write_bytes(evil)
        (folder / "model.onnx").write_bytes(evil)
        content = json.loads((folder / "manifest.json").read_text())
        content |= {"model_sha256": sha256(evil), "exports": {"model.onnx": sha256(evil)}}
        (folder / "manifest.json").write_text(json.dumps(content))
        for engine in ("lightgbm", "onnx"):
            with pytest.raises(ModelRefused):
                load_engine(engine, folder, sha256((folder / "manifest.json").read_bytes()), Home(tmp_path))
        for name in ("model.pkl", "model.joblib", "../model.txt"):
            (folder / "manifest.json").write_text(json.dumps(content | {"model_file": name}))
            with pytest.raises(ModelRefused, match="model_file"):
                read_bundle(folder, None)
    pickle.loads(evil)
    assert executed.exists(), "it would have"
    seen("pickles of 6 protocols refused, nothing executed")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_cut_text_with_good_digests_is_refused_not_an_abort(tmp_path: Path, share: float) -> None:
    text = boosted()
    cut = text[: int(len(text) * share)]
    head, _, tail = text.partition("\nTree=3")
    for bad in (cut, "", head + "\nTree=3" + tail.replace("leaf_value=", "leaf_value=0", 1)):
        digest = bundled(tmp_path, bad, graphs=False)
        with pytest.raises(ModelRefused, match="not a whole LightGBM model"):
            load_bundle(tmp_path, digest)
