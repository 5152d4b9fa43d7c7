"""What Feast is to know: the objects that the pack defines, for `mlsd features` and for Feast's own command line."""

import importlib.util
from pathlib import Path
from typing import Any

from mlsd.core.errors import UserError
from mlsd.core.home import Home, replacing
from mlsd.design.design import design_path, load_design
from mlsd.problem.context import Context
from mlsd.problem.problem import load_problem

SOURCE = '''"""What `mlsd features` applies, so that `feast apply` here finds the same; written by it."""

from mlsd.features.repository.definitions import by_name

globals().update(by_name({design!r}, {home!r}))
'''


def offline_folder(home: Home) -> Path:
    """Where the batch sources lie."""
    return home.feast / "offline"


def definitions(context: Context) -> list[Any]:
    """Entities, sources, views and the feature service of the pack.

    Raises:
        UserError: the pack defines none.
    """
    path = context.problem.feature_repo / "definitions.py"
    spec = importlib.util.spec_from_file_location(f"{context.design.problem}_feature_definitions", path)
    if spec is None or spec.loader is None or not path.exists():
        raise UserError(f"{path}: not found; a problem pack defines its Feast views there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.definitions(context.design, offline_folder(context.home)))


def by_name(design: str, home: str) -> dict[str, Any]:
    """The same as names of a module, where Feast looks for them: views, entities and services called as they are."""
    declared = load_design(Path(design))
    found = definitions(Context.of(declared, Home(Path(home)), load_problem(declared.problem)))
    return {f"{type(one).__name__}_{one.name}": one for one in found}


def write_source(home: Home) -> None:
    """Lay the definitions beside feature_store.yaml: without them `feast apply` would delete every view."""
    with replacing(home.feast / "definitions.py") as temporary:
        temporary.write_text(SOURCE.format(design=str(design_path()), home=str(home.root.absolute())), encoding="utf-8")
