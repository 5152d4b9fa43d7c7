"""How far the online store is known to be complete: written when a materialisation ends, never before."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlsd.core.home import Home, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore

AGAIN = "run `mlsd features` again"


@dataclass(frozen=True)
class Watermark:
    """The last complete materialisation: its end, and the item snapshot that belongs to it."""

    end: datetime
    snapshot: str


def _complete(home: Home) -> "Path":
    return home.feast / "materialised.json"


def _under_way(home: Home) -> "Path":
    return home.feast / "materialising.json"


def read(home: Home) -> Watermark | None:
    """The last complete materialisation, None if there was none.

    Raises:
        UserError: the file is damaged.
    """
    if not _complete(home).exists():
        return None
    content = read_json(_complete(home), AGAIN)
    return Watermark(datetime.fromisoformat(content["end"]), content["snapshot"])


def unfinished(home: Home) -> datetime | None:
    """The end of a materialisation that began and never ended, None if there is none.

    Raises:
        UserError: the file is damaged.
    """
    path = _under_way(home)
    return datetime.fromisoformat(read_json(path, AGAIN)["end"]) if path.exists() else None


def begin(home: Home, end: datetime) -> None:
    """Note that rows until `end` are being written."""
    write_json(_under_way(home), {"end": end.isoformat()})


def finish(home: Home, end: datetime, snapshot: str) -> None:
    """Note that all of them are."""
    write_json(_complete(home), {"end": end.isoformat(), "snapshot": snapshot})
    _under_way(home).unlink(missing_ok=True)


def reset_views(store: "FeatureStore", views: tuple[str, ...], mark: Watermark | None) -> list[str]:
    """Views that Feast believes complete only to an earlier time than they are, or never materialised at all.

    A registry that was lost, or a view deleted and applied again, forgets it (feast#2905); an incremental run would
    then read the wrong window.
    """
    if mark is None:
        return []
    ends = {view: store.get_feature_view(view).most_recent_end_time for view in views}
    return [view for view, end in ends.items() if end is None or end < mark.end]
