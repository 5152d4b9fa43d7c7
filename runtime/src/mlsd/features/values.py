"""How Feast writes keys, fields, numbers and times down: read here without Feast (tests prove it equal)."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

import numpy as np
from numpy.typing import NDArray

_FLOAT, _DOUBLE = 6, 5  # fields of feast.types.Value
_INTEGERS = {3, 4, 7}
_NULL_TAG = 0x98  # null_val, field 19
_FLOAT_TAG = b"\x35"
_PACKED = np.dtype([("tag", "u1"), ("value", "<f4")])
_KEY_VERSION_3 = struct.pack("<I", 1) + struct.pack("<I", 2)  # one join key, named by a string
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORD = 0xFFFFFFFF


def entity_key(join_key: str, value: int) -> bytes:
    """Feast's entity key, serialisation version 3, for one int64 join key."""
    name = join_key.encode()
    return _KEY_VERSION_3 + struct.pack("<I", len(name)) + name + struct.pack("<IIq", 4, 8, value)


def _varint(body: bytes) -> int:
    return sum((byte & 0x7F) << (7 * k) for k, byte in enumerate(body))


def decode(value: bytes) -> float:
    """A protobuf `Value` that holds a number; NaN for an empty or null one.

    Raises:
        ValueError: it holds something else.
    """
    if not value:
        return float("nan")
    tag, body = value[0], value[1:]
    field, wire = tag >> 3, tag & 7
    if (field, wire, len(body)) == (_FLOAT, 5, 4):
        return float(struct.unpack("<f", body)[0])
    if (field, wire, len(body)) == (_DOUBLE, 1, 8):
        return float(struct.unpack("<d", body)[0])
    if field in _INTEGERS and wire == 0:
        whole = _varint(body)
        return float(whole - 2**64 if whole >= 2**63 else whole)
    if tag == _NULL_TAG:
        return float("nan")
    raise ValueError(f"a stored value of Feast's field {field} is not a number")


def _plain(whole: bytes, count: int) -> NDArray[np.float32] | None:
    """`count` values, if all are of the usual kind, float32."""
    if len(whole) != _PACKED.itemsize * count or whole[:: _PACKED.itemsize] != _FLOAT_TAG * count:
        return None
    return np.frombuffer(whole, _PACKED)["value"]


def decode_all(values: Sequence[bytes | None]) -> NDArray[np.float32]:
    """Many of them, [n]; NaN for a missing one.

    Raises:
        ValueError: one is not a number.
    """
    fast = None if None in values else _plain(b"".join(cast("Sequence[bytes]", values)), len(values))
    return np.array([decode(value or b"") for value in values], dtype=np.float32) if fast is None else fast


def decode_hex(values: str, count: int) -> NDArray[np.float32]:
    """The same, [count], from hexadecimal digits with a space between the values.

    Raises:
        ValueError: one is not a number.
    """
    fast = _plain(bytes.fromhex(values), count)
    return decode_all([bytes.fromhex(value) for value in values.split(" ")]) if fast is None else fast


def moment(stored: bytes) -> datetime:
    """A protobuf `Timestamp`: seconds (field 1) and nanoseconds (field 2), to the microsecond.

    Raises:
        ValueError: it is not one.
    """
    parts, at = {1: 0, 2: 0}, 0
    while at < len(stored):
        field, wire = stored[at] >> 3, stored[at] & 7
        end = at + 1
        while end < len(stored) and stored[end] & 0x80:
            end += 1
        if field not in parts or wire != 0 or end >= len(stored):
            raise ValueError("a stored time is not a protobuf timestamp")
        parts[field] = _varint(stored[at + 1 : end + 1])
        at = end + 1
    return _EPOCH + timedelta(seconds=parts[1], microseconds=parts[2] // 1000)


def _digits(number: int) -> bytes:
    """A varint."""
    low = number & 0x7F
    return bytes([low]) if number == low else bytes([low | 0x80]) + _digits(number >> 7)


def stamp(at: datetime) -> bytes:
    """`moment` the other way round, for times after 1970."""
    seconds, micros = divmod((at - _EPOCH) // timedelta(microseconds=1), 1_000_000)
    parts = ((b"\x08", seconds), (b"\x10", micros * 1000))
    return b"".join(tag + _digits(number) for tag, number in parts if number)


def redis_field(view: str, feature: str) -> bytes:
    """Name of a feature's field in Feast's Redis hash: MurmurHash3 (32 bits, seed 0) of `view:feature`.

    Source: https://github.com/aappleby/smhasher, MurmurHash3_x86_32.
    """
    data = f"{view}:{feature}".encode()
    hashed, whole = 0, len(data) // 4 * 4
    for k in range(0, whole, 4):
        hashed ^= _scramble(int.from_bytes(data[k : k + 4], "little"))
        hashed = ((hashed << 13 | hashed >> 19) * 5 + 0xE6546B64) & _WORD
    hashed ^= _scramble(int.from_bytes(data[whole:], "little")) ^ len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed = ((hashed ^ hashed >> shift) * factor) & _WORD
    return struct.pack("<I", hashed ^ hashed >> 16)


def _scramble(block: int) -> int:
    block = block * 0xCC9E2D51 & _WORD
    return (block << 15 | block >> 17) * 0x1B873593 & _WORD
