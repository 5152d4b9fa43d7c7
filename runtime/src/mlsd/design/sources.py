"""Which data the loop runs on: the synthetic world, or a user's own files through a mapping of `design.yaml`."""

import json
from pathlib import Path
from typing import Any

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.design.design import Design
from mlsd.design.sections import Mapping, Table

SYNTHETIC = "synthetic"


def input_files(mapping: Mapping) -> list[Table]:
    """The files a mapping reads."""
    return [table for table in (mapping.users, mapping.items, mapping.engagements) if table is not None]


def _pick(design: Design, folder: Path) -> str:
    """The first mapping whose files all lie in `folder`."""
    expected = {name: [table.file for table in input_files(m)] for name, m in design.data.mappings.items()}
    for name, files in expected.items():
        if all((folder / file).is_file() for file in files):
            return name
    sets = "; ".join(f"{name}: {', '.join(files)}" for name, files in expected.items())
    raise UserError(f"{folder}: found no set of files that a mapping of design.yaml reads, expected {sets}")


def resolve(design: Design, path: Path | None) -> Design:
    """The design with `data.source` and `data.path` as they are to be used.

    Args:
        design: as it lies in design.yaml.
        path: folder of the user's own files; overrides `data.path`.

    Raises:
        UserError: the folder or one of its files is missing, or a mapped source has no folder.
    """
    folder = path or (Path(design.data.path) if design.data.path else None)
    source = design.data.source
    if folder is None:
        if source != SYNTHETIC:
            raise UserError(f"design.yaml: data.path: found nothing, expected the folder of the files of {source!r}")
        return design
    if not folder.is_dir():
        raise UserError(f"{folder}: found no such folder, expected the one with the data files")
    source = _pick(design, folder) if source == SYNTHETIC else source
    for file in (folder / table.file for table in input_files(design.data.mappings[source])):
        if not file.is_file():
            raise UserError(f"{file}: not found; data.mappings.{source} expects it")
    return _with(design, source, str(folder.absolute()))


def _with(design: Design, source: str, path: str | None) -> Design:
    return design.model_copy(update={"data": design.data.model_copy(update={"source": source, "path": path})})


def remember(design: Design, home: Home) -> None:
    """Keep the source in use for the commands that follow `mlsd data`."""
    write_json(home.data / "source.json", {"source": design.data.source, "path": design.data.path})


def effective_design(design: Design, home: Home) -> Design:
    """The design for the source that `mlsd data` last read into this state folder.

    Raises:
        UserError: that source is no longer in design.yaml.
    """
    path = home.data / "source.json"
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        source, folder = str(known["source"]), known["path"]
    except FileNotFoundError:
        return design
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not readable ({error}); run `mlsd data` again") from None
    if source != SYNTHETIC and source not in design.data.mappings:
        raise UserError(f"{path}: source {source!r} is not in design.yaml any more; run `mlsd data` again")
    return _with(design, source, folder)
