"""The canonical tables on disk: one Parquet file each, replaced atomically."""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.core.home import Home, replacing
from mlsd.problem.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

TABLE_NAMES = ("users", "items", "impressions", "engagements")


def utc(times: NDArray[np.datetime64]) -> "pd.DatetimeIndex":
    """Naive UTC times as aware timestamps with microseconds."""
    import pandas as pd

    return pd.DatetimeIndex(times.astype("datetime64[us]")).tz_localize("UTC")


def naive(times: "pd.Series[Any]") -> NDArray[np.datetime64]:
    """Aware timestamps as NumPy UTC times with microseconds."""
    return np.asarray(times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(), dtype="datetime64[us]")


def write_frame(home: Home, name: str, frame: "pd.DataFrame") -> None:
    """Write one Parquet file of the data folder; readers see the old one or the new one."""
    with replacing(home.data / f"{name}.parquet") as temporary:
        frame.to_parquet(temporary, index=False, coerce_timestamps="us")


def save_tables(home: Home, tables: Tables) -> None:
    """Write the four tables."""
    for name in TABLE_NAMES:
        write_frame(home, name, getattr(tables, name))


def load_tables(home: Home) -> Tables:
    """Read the four tables.

    Raises:
        UserError: a table is absent or not readable.
    """
    import pandas as pd

    frames = {}
    for name in TABLE_NAMES:
        path = home.data / f"{name}.parquet"
        try:
            frames[name] = pd.read_parquet(path)
        except FileNotFoundError:
            raise UserError(f"{path}: not found; run `mlsd data` first") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not readable as Parquet ({error}); run `mlsd data` again") from None
    return Tables(**frames)


def digest(home: Home) -> str:
    """Twelve hexadecimal digits that change with any byte of the tables."""
    total = hashlib.sha256()
    for name in TABLE_NAMES:
        path = home.data / f"{name}.parquet"
        if not path.exists():
            raise UserError(f"{path}: not found; run `mlsd data` first")
        total.update(path.read_bytes())
    return total.hexdigest()[:12]
