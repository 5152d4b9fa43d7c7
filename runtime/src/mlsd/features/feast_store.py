"""The Feast repository of a state folder: its configuration, its definitions, its offline sources."""

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import yaml

from mlsd.core.errors import UserError
from mlsd.core.home import Home, replacing
from mlsd.design.design import Design
from mlsd.features.duckdb_bounds import bind
from mlsd.features.online_stores.address import REDIS_URL, redis_url
from mlsd.problem.problem import Problem

if TYPE_CHECKING:
    from feast import FeatureStore

_REDIS_WAITS_S = {"socket_timeout": 10, "socket_connect_timeout": 5}


def offline_folder(home: Home) -> Path:
    """Where the batch sources lie."""
    return home.feast / "offline"


def online_path(home: Home) -> Path:
    """Feast's SQLite online store."""
    return home.feast / "online.db"


def project_name(design: Design) -> str:
    """Feast project: letters, digits and underscores only."""
    return design.name.replace("-", "_")


def _connection_string(url: str) -> tuple[str, str]:
    """Feast's way to write an address of Redis, with its password and to be shown.

    Raises:
        UserError: user or password has a comma, which Feast cannot take.
    """
    parts = urlsplit(url)
    shown = [f"{parts.hostname}:{parts.port or 6379}", f"db={parts.path.strip('/') or 0}"]
    shown += [f"{name}={value:g}" for name, value in _REDIS_WAITS_S.items()]
    if parts.scheme == "rediss":
        shown.append("ssl=true")
    secret = [f"{name}={unquote(value)}" for name in ("username", "password") if (value := getattr(parts, name))]
    if any("," in one for one in secret):
        raise UserError(f"{REDIS_URL}: a comma in user or password; Feast cannot take it")
    return ",".join(shown + secret), ",".join(shown + ["username=...,password=..."] * bool(secret))


def _configuration(design: Design, home: Home) -> tuple[dict[str, Any], dict[str, Any]]:
    """Feast's configuration to use, and the one for the file, which everybody may read."""
    url = redis_url()
    use: dict[str, Any] = {
        "project": project_name(design),
        "provider": "local",
        "registry": {"path": str(home.feast / "registry.db"), "cache_ttl_seconds": 60},
        "offline_store": {"type": "duckdb"},
        "online_store": {"type": "sqlite", "path": str(online_path(home))},
        "entity_key_serialization_version": 3,
    }
    if url is None:
        return use, use
    secret, shown = _connection_string(url)
    redis = {"type": "redis", "connection_string": secret}
    return use | {"online_store": redis}, use | {"online_store": redis | {"connection_string": shown}}


def open_store(design: Design, home: Home) -> "FeatureStore":
    """The store of this state folder; `feast -c <home>/feast ...` opens the same one (but for Redis' password)."""
    home.feast.mkdir(parents=True, exist_ok=True)
    use, shown = _configuration(design, home)
    with replacing(home.feast / "feature_store.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(shown), encoding="utf-8")
    logging.getLogger("feast").setLevel(logging.ERROR)
    bind(home)
    from feast import FeatureStore, RepoConfig

    return FeatureStore(repo_path=str(home.feast), config=RepoConfig(**use))


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
