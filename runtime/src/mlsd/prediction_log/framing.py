"""How payloads lie in a file so that a reader can tell a whole one from a torn one."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = b"\xf5MLR"
FRAME = struct.Struct("<4sII")  # magic, length of the payload, its crc32
LARGEST = 16 * 2**20
CHUNK = 2**20


@dataclass
class ReadCount:
    """What a read found: whole records given out, places where one was torn."""

    records: int = 0
    torn: int = 0


def frame(payload: bytes) -> bytes:
    """A payload that a reader can tell from a torn one."""
    return FRAME.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


class _Window:
    """The part of a file that is in memory: `data` from `at` on."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.data, self.at = b"", 0

    def has(self, size: int) -> bool:
        """Whether so many bytes follow; reads on as far as needed."""
        missing = self.at + size - len(self.data)
        if missing > 0:
            self.data = self.data[self.at :] + self._file.read(max(missing, CHUNK))
            self.at = 0
        return len(self.data) - self.at >= size

    def payload(self) -> bytes | None:
        """The payload of the frame that begins here; None when there is no whole one."""
        if not self.has(FRAME.size):
            return None
        magic, length, crc = FRAME.unpack_from(self.data, self.at)
        if magic != MAGIC or length > LARGEST or not self.has(FRAME.size + length):
            return None
        start = self.at + FRAME.size
        found = self.data[start : start + length]
        return found if zlib.crc32(found) == crc else None

    def skip_to_next(self) -> bool:
        """Go to the next place that may begin a frame."""
        self.at += 1
        while self.has(len(MAGIC)):
            found = self.data.find(MAGIC, self.at)
            if found >= 0:
                self.at = found
                return True
            self.at = len(self.data) - len(MAGIC) + 1
        return False


def payloads(file: BinaryIO, count: ReadCount) -> Iterator[bytes]:
    """Every whole payload of a file from where it stands; memory holds one chunk, or one record if that is larger."""
    window = _Window(file)
    while window.has(1):
        payload = window.payload()
        if payload is not None:
            window.at += FRAME.size + len(payload)
            yield payload
            continue
        count.torn += 1
        if not window.skip_to_next():
            return
