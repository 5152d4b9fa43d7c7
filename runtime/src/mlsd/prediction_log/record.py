"""One prediction as it is logged: what cannot be recomputed, in one compact binary record."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PLAIN = (
    "request_id",
    "user_id",
    "total_ms",
    "release_id",
    "model_version",
    "model_digest",
    "engine",
    "role",
    "snapshot_version",
    "device",
    "degraded",
    "ages_s",
    "interactions",
)
ARRAYS = ("context", "user_row", "item_ids", "scores", "unscored_ids", "features")


@dataclass(frozen=True)
class Record:
    """A served list; n candidates, U user columns, K context columns, F features."""

    request_id: str
    user_id: int | str  # a keyed hash where the design says so
    at: datetime  # UTC, on the world's clock
    total_ms: float  # inside the service, before the answer leaves
    release_id: int
    model_version: int
    model_digest: str
    engine: str
    role: str  # live, or shadow for a mirrored copy
    snapshot_version: str
    context: NDArray[np.float32]  # [K]
    user_row: NDArray[np.float32]  # [U], after defaults
    device: str
    item_ids: NDArray[np.int64]  # [n], in the order they were scored in
    scores: NDArray[np.float64]  # [n]
    degraded: list[str]
    ages_s: dict[str, float]  # per view: seconds since it was written
    interactions: float
    unscored_ids: NDArray[np.int64] | None = field(default=None)  # candidates left out under pressure
    features: NDArray[np.float32] | None = field(default=None)  # [n, F], only for a sample
    lost: int = 0  # records that its process could not write just before this one


def _stored(value: Any) -> Any:
    """Ids as int32 where they fit: half of what a record of 500 candidates would hold otherwise."""
    if value is not None and value.dtype == np.int64 and (not len(value) or value.max() < 2**31):
        return value.astype(np.int32)
    return value


def encode(record: Record, user_id: int | str | None = None, lost: int = 0) -> bytes:
    """Header length, a JSON header, then the raw bytes of the arrays: about 6.8 kB for 500 candidates.

    The request id stands first, where a search for it looks. `user_id` and `lost` take the place of the record's own.
    """
    arrays = {name: _stored(value) for name in ARRAYS if (value := getattr(record, name)) is not None}
    head = {name: getattr(record, name) for name in PLAIN}
    if user_id is not None:
        head["user_id"] = user_id
    head["lost"] = lost or record.lost
    head["at_us"] = (record.at - EPOCH) // MICROSECOND
    head["arrays"] = [[name, value.dtype.str, value.shape] for name, value in arrays.items()]
    header = orjson.dumps(head)
    return b"".join([len(header).to_bytes(4, "little"), header, *(value.tobytes() for value in arrays.values())])


def time_of(header: dict[str, Any]) -> datetime:
    """When the request was answered."""
    return EPOCH + timedelta(microseconds=header["at_us"])


def header_of(payload: bytes) -> tuple[dict[str, Any], int]:
    """The header and the place where the arrays begin."""
    end = 4 + int.from_bytes(payload[:4], "little")
    header: dict[str, Any] = orjson.loads(payload[4:end])
    return header, end


def decode(payload: bytes) -> Record:
    """The record that `encode` wrote, bit for bit."""
    header, at = header_of(payload)
    arrays: dict[str, Any] = {}
    for name, kind, shape in header["arrays"]:
        dtype, count = np.dtype(kind), int(np.prod(shape))
        arrays[name] = np.frombuffer(payload, dtype, count, at).reshape(shape)
        at += count * dtype.itemsize
    for name in arrays.keys() & {"item_ids", "unscored_ids"}:
        arrays[name] = arrays[name].astype(np.int64)
    return Record(at=time_of(header), lost=header["lost"], **{name: header[name] for name in PLAIN}, **arrays)
