"""The lists as a warehouse wants them: one Parquet row per user and item, with what made it."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlsd.tasks.ranking.batch.table import Meta

SCHEMA = pa.schema(
    [
        ("user_id", pa.int64()),
        ("rank", pa.int16()),
        ("item_id", pa.int64()),
        ("score", pa.float64()),
        ("engine", pa.dictionary(pa.int8(), pa.string())),
        ("model_version", pa.int32()),
        ("snapshot_version", pa.dictionary(pa.int8(), pa.string())),
        ("written_at", pa.timestamp("us", tz="UTC")),
    ]
)
POPULARITY = "popularity"
GROUP = 2**17  # rows written together: what a reader skips or reads at once


class Lists:
    """Writes `user_id, rank (1 is the best), item_id, score, engine, model_version, snapshot_version, written_at`."""

    def __init__(self, path: Path, meta: Meta, items: NDArray[np.int64]) -> None:
        """Open the file."""
        self._meta, self._items = meta, items
        self._file = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.void]]] = []

    def __enter__(self) -> Self:
        """Write inside a `with` block: a file without its end is not readable."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._file.close()

    def _constant(self, value: str, rows: int) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), [value])

    def add(self, ids: NDArray[np.int64], records: NDArray[np.void]) -> None:
        """Take the best items of some users."""
        self._waiting.append((ids, records))
        if sum(len(each) for each, _ in self._waiting) * self._meta.top >= GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            ids, records = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting = []
            self._write(ids, records)

    def _write(self, ids: NDArray[np.int64], records: NDArray[np.void]) -> None:
        top = self._meta.top
        rows = len(ids) * top
        engine = np.repeat(records["popular"].astype(np.int8), top)
        columns = [
            np.repeat(ids, top),
            np.tile(np.arange(1, top + 1, dtype=np.int16), len(ids)),
            self._items[records["places"][:, :top]].ravel(),
            records["scores"].ravel(),
            pa.DictionaryArray.from_arrays(engine, [self._meta.engine, POPULARITY]),
            np.full(rows, self._meta.model_version, np.int32),
            self._constant(self._meta.snapshot_version, rows),
            pa.array(np.full(rows, int(self._meta.written_at.timestamp() * 1e6)), pa.timestamp("us", tz="UTC")),
        ]
        self._file.write_table(pa.Table.from_arrays([pa.array(column) for column in columns], schema=SCHEMA))
