"""Held-back rows of real data: the future that arrives after the model went live."""

from mlsd.core.home import Home
from mlsd.data.storage import TABLE_NAMES, write_frame
from mlsd.problem.tables import Tables

_PREFIX = "live_"


def save_live(home: Home, live: Tables) -> None:
    """Keep the held-back rows beside the tables."""
    for name in TABLE_NAMES:
        write_frame(home, _PREFIX + name, getattr(live, name))


def drop_live(home: Home) -> None:
    """Nothing is held back (any more)."""
    for name in TABLE_NAMES:
        (home.data / f"{_PREFIX}{name}.parquet").unlink(missing_ok=True)


def load_live(home: Home) -> Tables | None:
    """The held-back rows; None if there are none (any more)."""
    import pandas as pd

    paths = {name: home.data / f"{_PREFIX}{name}.parquet" for name in TABLE_NAMES}
    if not all(path.exists() for path in paths.values()):
        return None
    return Tables(**{name: pd.read_parquet(path) for name, path in paths.items()})
