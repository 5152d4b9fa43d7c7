"""Feast entities, views and the feature service; `mlsd features` applies what `definitions` returns."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, String, UnixTimestamp

from feed_ranking.columns import CONTEXT_COLUMNS, INTERACTION_VIEW, POST_VIEW, USER_VIEW
from mlsd.design.design import Design


def _view(name: str, entity: Entity, columns: tuple[str, ...], max_age_h: float, source: Any) -> FeatureView:
    schema = [Field(name=column, dtype=Float32) for column in columns]
    return FeatureView(name=name, entities=[entity], schema=schema, source=source, ttl=timedelta(hours=max_age_h))


def _context_view() -> Any:
    asked = RequestSource(
        name="request",
        schema=[Field(name="requested_at", dtype=UnixTimestamp), Field(name="device", dtype=String)],
    )

    @on_demand_feature_view(  # type: ignore[untyped-decorator]
        name="context", sources=[asked], schema=[Field(name=c, dtype=Float32) for c in CONTEXT_COLUMNS], mode="pandas"
    )
    def context(inputs: pd.DataFrame) -> pd.DataFrame:
        import pandas

        from feed_ranking import columns, features

        at = pandas.to_datetime(inputs["requested_at"], utc=True).dt.tz_localize(None).to_numpy()
        values = features.context(at, inputs["device"].to_numpy(dtype=str))
        return pandas.DataFrame(values, columns=list(columns.CONTEXT_COLUMNS), index=inputs.index)

    return context


def definitions(design: Design, offline: Path) -> list[Any]:
    """Everything to apply; batch sources are `<view>.parquet` in the folder `offline`."""
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    sources = {
        name: FileSource(name=f"{name}_batch", path=str(offline / f"{name}.parquet"), timestamp_field="event_timestamp")
        for name in ("user", "interaction", "post")
    }
    pushed = PushSource(name="interaction_push", batch_source=sources["interaction"])
    age = design.max_age_h
    views = [
        _view("user", user, USER_VIEW, age.user, sources["user"]),
        _view("interaction", user, INTERACTION_VIEW, age.interaction, pushed),
        _view("post", item, POST_VIEW, age.item, sources["post"]),
        _context_view(),
    ]
    return [user, item, *sources.values(), pushed, *views, FeatureService(name=design.features.service, features=views)]
