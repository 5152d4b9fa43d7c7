"""Problem packs kept by digest: a release runs with the code that its model was trained with."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from mlsd.core.home import Home
from mlsd.problem.packs import pack_folder


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def digest_of(folder: Path) -> str:
    """Of a pack's sources, names and contents: 64 hexadecimal digits."""
    total = hashlib.sha256()
    for path in _sources(folder):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


def keep(home: Home, pack: str) -> str:
    """Keep a copy of a pack's sources as they lie now.

    Returns:
        Their digest, 64 hexadecimal digits, by which `kept` finds the copy.
    """
    folder = pack_folder(pack)
    digest = digest_of(folder)
    place = home.packs / digest
    if not place.exists():
        home.packs.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=home.packs, prefix=".new-"))
        try:
            shutil.copytree(folder, temporary / pack, ignore=shutil.ignore_patterns("__pycache__"))
            temporary.chmod(0o755)
            temporary.rename(place)
        except OSError:
            if not place.exists():  # else another training kept the same pack at the same time
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return digest


def kept(home: Home, model_folder: Path) -> Path | None:
    """The folder to put first on the Python path for a model: the pack it was trained with.

    None where no copy is kept: the model comes from a version that kept none, or from another machine. Its process
    then runs with the pack as it lies, and refuses to serve if that has other features.
    """
    try:
        digest = json.loads((model_folder / "manifest.json").read_text(encoding="utf-8"))["pack_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # what is wrong with a manifest is said by whoever loads the model
    place = home.packs / str(digest)
    return place if digest and place.is_dir() else None


def name_of(kept_pack: Path | None) -> str | None:
    """What a kept pack is called, which may not be what the design calls its pack by now."""
    if kept_pack is None:
        return None
    return next(path.name for path in sorted(kept_pack.iterdir()) if path.is_dir())
