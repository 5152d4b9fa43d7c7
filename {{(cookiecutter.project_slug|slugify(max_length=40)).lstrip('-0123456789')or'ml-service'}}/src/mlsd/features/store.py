"""The Feast repository of a state folder: its configuration, its definitions, its offline sources."""

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlsd.design import Design
from mlsd.errors import UserError
from mlsd.home import Home, replacing
from mlsd.problem import Problem

if TYPE_CHECKING:
    from feast import FeatureStore


def offline_folder(home: Home) -> Path:
    """Where the batch sources lie."""
    return home.feast / "offline"


def online_path(home: Home) -> Path:
    """Feast's SQLite online store."""
    return home.feast / "online.db"


def project_name(design: Design) -> str:
    """Feast project: letters, digits and underscores only."""
    return design.name.replace("-", "_")


def _configuration(design: Design, home: Home) -> dict[str, Any]:
    return {
        "project": project_name(design),
        "provider": "local",
        "registry": {"path": str(home.feast / "registry.db"), "cache_ttl_seconds": 60},
        "offline_store": {"type": "duckdb"},
        "online_store": {"type": "sqlite", "path": str(online_path(home))},
        "entity_key_serialization_version": 3,
    }


def open_store(design: Design, home: Home) -> "FeatureStore":
    """The store of this state folder; `feast -c <home>/feast ...` opens the same one."""
    home.feast.mkdir(parents=True, exist_ok=True)
    with replacing(home.feast / "feature_store.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(_configuration(design, home)), encoding="utf-8")
    logging.getLogger("feast").setLevel(logging.ERROR)
    from feast import FeatureStore

    return FeatureStore(repo_path=str(home.feast))


def _definitions(problem: Problem, design: Design, home: Home) -> list[Any]:
    path = problem.feature_repo / "definitions.py"
    spec = importlib.util.spec_from_file_location(f"{design.problem}_feature_definitions", path)
    if spec is None or spec.loader is None or not path.exists():
        raise UserError(f"{path}: not found; a problem pack defines its Feast views there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.definitions(design, offline_folder(home)))


def apply(store: "FeatureStore", problem: Problem, design: Design, home: Home) -> None:
    """Register entities, views and the feature service."""
    store.apply(_definitions(problem, design, home))
