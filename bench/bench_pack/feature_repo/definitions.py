"""Feast entities, views and the feature service of the bench."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float32

from bench_pack.features import ITEM_COLUMNS, USER_VIEWS
from mlsd.design.design import Design


def definitions(design: Design, offline: Path) -> list[Any]:
    """Everything to apply; batch sources are `<view>.parquet` in the folder `offline`."""
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    views: list[Any] = []
    for name, columns in (*USER_VIEWS.items(), ("item", ITEM_COLUMNS)):
        path = str(offline / f"{name}.parquet")
        source = FileSource(name=f"{name}_batch", path=path, timestamp_field="event_timestamp")
        schema = [Field(name=column, dtype=Float32) for column in columns]
        entities = [item if name == "item" else user]
        views.append(FeatureView(name=name, entities=entities, schema=schema, source=source, ttl=timedelta(days=3650)))
    return [user, item, *views, FeatureService(name=design.features.service, features=views)]
