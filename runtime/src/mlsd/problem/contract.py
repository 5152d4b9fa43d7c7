"""The data contract: what each table must look like, checked before anything is computed; a violation blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlsd.core.errors import UserError
from mlsd.problem.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["integer", "number", "text", "list of text", "UTC time"]


@dataclass(frozen=True)
class Column:
    """Type, nulls, and what values are allowed."""

    name: str
    kind: Kind
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    refers_to: tuple[str, str] | None = None
    """Table and column that must hold every value."""


@dataclass(frozen=True)
class TableRules:
    """Columns of one table and its key."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    may_be_empty: bool = False


def shown(value: Any) -> str:
    """A value of a frame as a person would write it."""
    return repr(value.item() if hasattr(value, "item") else value)


def _has_kind(values: "pd.Series[Any]", kind: Kind) -> bool:
    import pandas as pd
    from pandas.api import types

    known = values.dropna()
    if kind == "integer":
        return types.is_integer_dtype(values.dtype)
    if kind == "number":
        return types.is_float_dtype(values.dtype) or types.is_integer_dtype(values.dtype)
    if kind == "UTC time":
        return isinstance(values.dtype, pd.DatetimeTZDtype) and str(values.dtype.tz) == "UTC"
    if kind == "text":
        return types.is_string_dtype(known) and all(isinstance(value, str) for value in known.unique())
    return all(not isinstance(value, str) and all(isinstance(part, str) for part in value) for value in known)


def _found(values: "pd.Series[Any]", kind: Kind) -> str:
    import pandas as pd

    if kind == "UTC time" and pd.api.types.is_datetime64_any_dtype(values.dtype):
        zone = getattr(values.dtype, "tz", None)
        return f"times in {zone}" if zone else "naive times (no time zone)"
    example = values.dropna().head(1)
    return f"{values.dtype}" + (f" such as {shown(example.iloc[0])}" if len(example) else "")


def _bad_values(values: "pd.Series[Any]", column: Column, tables: Tables) -> Iterator[tuple[Any, str]]:
    """(mask of bad rows, what was expected) for each rule that some row breaks."""
    if not column.nullable:
        yield values.isna(), "a value"
    present = values.notna()
    if column.kind == "number":
        yield present & values.abs().eq(float("inf")), "a finite number"
    if column.low is not None:
        yield present & (values < column.low), f">= {column.low:g}"
    if column.high is not None:
        yield present & (values > column.high), f"<= {column.high:g}"
    if column.allowed:
        yield present & ~values.isin(column.allowed), f"one of {', '.join(column.allowed)}"
    if column.refers_to:
        table, name = column.refers_to
        target = getattr(tables, table)
        if name in target:
            yield present & ~values.isin(target[name]), f"a {name} of table {table}"


def _column_problems(frame: "pd.DataFrame", column: Column, where: str, tables: Tables) -> Iterator[str]:
    values = frame[column.name]
    if not _has_kind(values, column.kind):
        yield f"{where}: found {_found(values, column.kind)}, expected {column.kind}"
        return
    for mask, expected in _bad_values(values, column, tables):
        if count := int(mask.sum()):
            row = int(mask.to_numpy().argmax())
            found = shown(values.iloc[row])
            yield f"{where}: row {row}: found {found}, expected {expected} ({count} of {len(frame)} rows)"


def _table_problems(rules: TableRules, tables: Tables) -> Iterator[str]:
    frame = getattr(tables, rules.name)
    expected = {column.name for column in rules.columns}
    unknown = [name for name in frame.columns if name not in expected]
    for column in rules.columns:
        if column.name not in frame:
            hint = f"; found the unknown {', '.join(map(repr, unknown))}" if unknown else ""
            yield f"{rules.name}.{column.name}: found no such column, expected {column.kind}{hint}"
        else:
            yield from _column_problems(frame, column, f"{rules.name}.{column.name}", tables)
    for name in unknown:
        yield f"{rules.name}.{name}: found a column that the contract does not know, expected none"
    if not len(frame) and not rules.may_be_empty:
        yield f"{rules.name}: found no rows, expected at least 1"
    if rules.key and set(rules.key) <= set(frame.columns):
        double = frame.duplicated(list(rules.key))
        if count := int(double.sum()):
            row = int(double.to_numpy().argmax())
            value = ", ".join(str(frame[name].iloc[row]) for name in rules.key)
            key = "+".join(rules.key)
            yield f"{rules.name}.{key}: row {row}: found {value} again, expected a unique key ({count} rows)"


@dataclass(frozen=True)
class Contract:
    """Rules of all tables."""

    tables: tuple[TableRules, ...]

    @property
    def rules(self) -> int:
        """How many columns and keys are checked."""
        return sum(len(table.columns) + bool(table.key) for table in self.tables)

    def violations(self, tables: Tables) -> list[str]:
        """One line per violation: table, column, row, found, expected."""
        return [line for rules in self.tables for line in _table_problems(rules, tables)]

    def check(self, tables: Tables) -> None:
        """Stop on a violation.

        Raises:
            UserError: all violations, one a line.
        """
        if lines := self.violations(tables):
            raise UserError("the data breaks its contract:\n" + "\n".join(f"  {line}" for line in lines))
