"""A user's own CSV or Parquet files, column by column, with errors that name file, row, column and value."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlsd.core.errors import UserError
from mlsd.design.sections import Table
from mlsd.problem.contract import shown

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["id", "number", "text", "list", "time"]
_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_UNIT_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, encoding="utf-8")
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: the file is empty, expected a header line and rows") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, ValueError) as error:
        raise UserError(f"{path}: not readable: {' '.join(str(error).split())}") from None


def _refuse(path: Path, name: str, raw: "pd.Series[Any]", bad: "pd.Series[bool]", expected: str) -> None:
    if bad.any():
        row = int(bad.to_numpy().argmax())
        found, where = shown(raw.iloc[row]), f"{path}: row {row + 1}: column {name!r}"
        raise UserError(f"{where}: found {found}, expected {expected} ({bad.sum()} rows)")


def _times(path: Path, name: str, raw: "pd.Series[Any]", unit: str) -> "pd.Series[Any]":
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        if getattr(raw.dtype, "tz", None) is None:
            raise UserError(f"{path}: column {name!r}: found naive times, expected a time zone")
        aware: pd.Series[Any] = raw.dt.tz_convert("UTC").dt.as_unit("us")
        return aware
    if unit in _UNIT_US:
        numbers = pd.to_numeric(raw, errors="coerce")
        expected = f"a number of {unit} since 1970"
        _refuse(path, name, raw, numbers.isna() | (numbers.abs() * _UNIT_US[unit] > 2**62), expected)
        micros = (numbers * _UNIT_US[unit]).round().astype("int64")
        return pd.to_datetime(micros, unit="us", utc=True).dt.as_unit("us")
    text = raw.astype(str)
    _refuse(path, name, raw, ~text.str.contains(_ZONE), "a time with its zone, such as 2026-01-31T08:00:00Z")
    parsed = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    _refuse(path, name, raw, parsed.isna(), "an ISO 8601 time")
    return parsed.dt.as_unit("us")


def _convert(path: Path, name: str, raw: "pd.Series[Any]", kind: Kind, table: Table) -> "pd.Series[Any]":
    import pandas as pd

    if kind == "time":
        return _times(path, name, raw, table.time_unit)
    if kind in {"id", "number"}:
        numbers = pd.to_numeric(raw, errors="coerce")
        wrong = numbers.isna() | ((numbers % 1 != 0) if kind == "id" else False)
        _refuse(path, name, raw, wrong, "a whole number" if kind == "id" else "a number")
        return numbers.astype("int64" if kind == "id" else "float64")
    _refuse(path, name, raw, raw.isna(), "a value")
    if kind == "list" and table.separator:
        return raw.astype(str).str.split(table.separator, regex=False)
    if kind == "list" and not any(isinstance(value, str) for value in raw):
        return raw.map(list)
    return raw.astype(str)


def read_mapped(folder: Path, table: Table, required: dict[str, Kind], optional: dict[str, Kind]) -> "pd.DataFrame":
    """One file with canonical column names and types; optional columns that are not mapped are absent.

    Raises:
        UserError: no such file, no rows, a missing column, a value that is not of its kind.
    """
    import pandas as pd

    path, kinds, where = folder / table.file, required | optional, f"design.yaml: data.mappings: {table.file}: columns"
    if unknown := sorted(set(table.columns) - set(kinds)):
        raise UserError(f"{where}: found {unknown[0]!r}, expected some of {', '.join(kinds)}")
    if missing := sorted(set(required) - set(table.columns)):
        raise UserError(
            f"design.yaml: data.mappings: {table.file}: columns: found no {missing[0]!r}, expected it mapped"
        )
    frame = _read(path)
    for name in table.columns.values():
        if name not in frame:
            raise UserError(
                f"{path}: found no column {name!r}, expected it; found {', '.join(map(str, frame.columns))}"
            )
    if frame.empty:
        raise UserError(f"{path}: found no rows, expected at least 1")
    return pd.DataFrame({c: _convert(path, n, frame[n], kinds[c], table) for c, n in table.columns.items()})
