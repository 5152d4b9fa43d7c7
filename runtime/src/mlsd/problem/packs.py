"""Where problem packs lie: packages on the Python path with a module `problem`."""

import sys
from importlib.util import find_spec
from pathlib import Path


def known_packs() -> list[str]:
    """Names of the packs on the Python path, sorted."""
    found = (path.parent for entry in sys.path for path in Path(entry or ".").glob("*/problem.py"))
    return sorted({folder.name for folder in found if folder.name != "mlsd"})


def pack_folder(pack: str) -> Path:
    """The folder of a pack's sources, `src/<pack>` in its project.

    Raises:
        ModuleNotFoundError: there is no such package.
    """
    spec = find_spec(pack)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"no problem pack {pack!r}", name=pack)
    return Path(spec.submodule_search_locations[0])
