"""How fast this machine is right now: a fixed piece of work, timed. Two runs compare by what they took beside it."""

import hashlib
import json
import time
from typing import Self

from pydantic import BaseModel

ROUNDS = 150
ITEMS = [{"item_id": 100_000 + k, "score": k / 997} for k in range(500)]
BLOCK = bytes(range(256)) * 256


class MachineSpeed(BaseModel):
    """Milliseconds of the fixed work: the median, and how much longer one of a hundred took."""

    work_ms: float
    held_up_ms: float

    @classmethod
    def measure(cls) -> Self:
        """Time the work now; a fifth of a second on an idle core."""
        taken = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            _work()
            taken.append((time.perf_counter() - began) * 1e3)
        taken.sort()
        median = taken[ROUNDS // 2]
        return cls(work_ms=median, held_up_ms=taken[int(ROUNDS * 0.99)] - median)

    def worse(self, other: Self) -> Self:
        """The slower of two measurements, figure by figure: load on a machine comes and goes."""
        return type(self)(work_ms=max(self.work_ms, other.work_ms), held_up_ms=max(self.held_up_ms, other.held_up_ms))


def _work() -> None:
    """The kind of work an answer is: parse and write 500 items, order them, hash a block."""
    rows = json.loads(json.dumps(ITEMS))
    rows.sort(key=lambda row: row["score"] * 7 % 1)
    hashlib.sha256(BLOCK).hexdigest()
