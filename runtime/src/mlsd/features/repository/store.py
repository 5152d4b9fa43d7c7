"""The Feast repository of a state folder: its configuration, its definitions, its offline sources."""

import logging
from typing import TYPE_CHECKING, Any

import yaml

from mlsd.core.home import Home, replacing
from mlsd.design.design import Design
from mlsd.features.online_stores.base import online_store
from mlsd.features.repository.definitions import definitions, write_source
from mlsd.features.repository.duckdb_bounds import bind
from mlsd.features.repository.feast_import import import_feast
from mlsd.problem.context import Context

if TYPE_CHECKING:
    from feast import FeatureStore


def project_name(design: Design) -> str:
    """Feast project: letters, digits and underscores only."""
    return design.name.replace("-", "_")


def _configuration(design: Design, home: Home) -> tuple[dict[str, Any], dict[str, Any]]:
    """Feast's configuration to use, and the one for the file, which everybody may read."""
    online, shown = online_store(design, home).feast()
    use: dict[str, Any] = {
        "project": project_name(design),
        "provider": "local",
        "registry": {"path": str(home.feast / "registry.db"), "cache_ttl_seconds": 60},
        "offline_store": {"type": "duckdb"},
        "online_store": online,
        "entity_key_serialization_version": 3,
    }
    return use, use | {"online_store": shown}


def open_store(design: Design, home: Home) -> "FeatureStore":
    """The store of this state folder; `feast -c <home>/feast ...` opens the same one (but for a store's password)."""
    home.feast.mkdir(parents=True, exist_ok=True)
    use, shown = _configuration(design, home)
    with replacing(home.feast / "feature_store.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(shown), encoding="utf-8")
    logging.getLogger("feast").setLevel(logging.ERROR)
    bind(home)
    import_feast()
    from feast import FeatureStore, RepoConfig

    return FeatureStore(repo_path=str(home.feast), config=RepoConfig(**use))


def apply(store: "FeatureStore", context: Context) -> None:
    """Register entities, views and the feature service."""
    store.apply(definitions(context))
    write_source(context.home)
