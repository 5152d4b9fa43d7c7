"""Copies of the pack, as it lies or edited, for tests of models that were trained with another one."""

import shutil
from pathlib import Path

from mlsd.problem.packs import pack_folder

NAME_AFTER = '    "weekend_lift",\n'
VALUE_AFTER = '(np.float32(2) * c[_C["weekend"]] - np.float32(1)),\n'
FRESH = '        i[_I["item_positives_1d"]] * np.float32(24) / (np.float32(24) + age),\n'


def edit(file: Path, *changes: tuple[str, str]) -> None:
    """Replace each text, which must be there."""
    content = file.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in content, (file, before)
        content = content.replace(before, after)
    file.write_text(content, encoding="utf-8")


def add_feature(pack: Path) -> None:
    """One feature more, `popular_fresh`, after the last crossed one."""
    value, name = (VALUE_AFTER, VALUE_AFTER + FRESH), (NAME_AFTER, NAME_AFTER + '    "popular_fresh",\n')
    edit(pack / "features.py", value, name)


def copy_of(pack: str, parent: Path) -> Path:
    """The pack as it lies, in a folder that can be edited and put on the Python path."""
    folder = parent / pack
    shutil.copytree(pack_folder(pack), folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
