"""The p99 that later runs are held against: the first passing run, or the one last saved on purpose.

Another machine, or the same one with other work on it, is not a slower service. So a fixed piece of work is timed
beside every run, and the share of the machine that others took is known: the baseline's p99 is scaled by both before
the two are compared.
"""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.core.result import Check
from mlsd.design.design import Design
from mlsd.loadtest.summary import LoadSummary
from mlsd.local.machine.speed import MachineSpeed

RESOLUTION_MS = 4.0
"""Two p99 nearer than this are the same: one time slice of Linux's scheduler (3 to 4 ms) that goes to another process
lands in whatever request runs then, and at 80 requests a second eight such requests are the p99 of a ten-second run."""

MIN_LEFT = 0.1  # of the machine: below that nothing is compared with anything


class Baseline(BaseModel):
    """One run to compare with."""

    shape: str
    rps: float
    p50_ms: float
    p99_ms: float
    speed: MachineSpeed
    other_work: float
    candidates: int
    serving_mode: str = ""
    source: str = ""  # of the data

    def slower(self, now: Self) -> float:
        """How many times as long the same work takes at the new run: the machine's pace, and what others left of it."""
        left, left_now = (max(1.0 - run.other_work, MIN_LEFT) for run in (self, now))
        return now.speed.work_ms / self.speed.work_ms * left / left_now

    def limit_ms(self, now: Self, allowed: float) -> float:
        """The highest p99 of the new run that is no regression; `allowed` is `load_test.max_regression`."""
        scaled = self.p99_ms * self.slower(now)
        resolution = max(RESOLUTION_MS, now.speed.held_up_ms, self.speed.held_up_ms)
        return scaled + max(scaled * allowed, resolution)


def of(design: Design, sent: LoadSummary, shape: str, rps: float, machine: tuple[MachineSpeed, float]) -> Baseline:
    """This run as a baseline; `machine` is its speed and the share of it that others took."""
    return Baseline(
        shape=shape,
        rps=rps,
        p50_ms=sent.total.p50_ms,
        p99_ms=sent.total.p99_ms,
        speed=machine[0],
        other_work=machine[1],
        candidates=design.scale.candidates,
        serving_mode=design.serving_mode,
        source=design.data.source,
    )


def _path(home: Home, shape: str, rps: float) -> Path:
    return home.baselines / f"{shape}-{rps:g}.json"


def _requests(run: Baseline) -> tuple[int, str, str]:
    """What makes the requests of two runs the same ones."""
    return run.candidates, run.serving_mode, run.source


def stored(home: Home, run: Baseline) -> Baseline | None:
    """The baseline of runs of this shape and rate; None if there is none yet, or it was of other requests.

    Raises:
        UserError: the file is damaged.
    """
    path = _path(home, run.shape, run.rps)
    try:
        found = Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a baseline ({reason}); delete it, then run `mlsd load --save-baseline`") from None
    return found if _requests(found) == _requests(run) else None


def save(home: Home, run: Baseline) -> None:
    """From now on runs of this shape and rate are held against this one."""
    write_json(_path(home, run.shape, run.rps), run.model_dump(mode="json"))


def check(before: Baseline, now: Baseline, allowed: float) -> Check:
    """Whether p99 rose by more than is allowed, with both numbers and the machine's speed in between."""
    limit, factor = before.limit_ms(now, allowed), before.slower(now)
    return Check(
        name="p99 against the baseline",
        designed=f"<= {limit:.2f} ms ({before.p99_ms:.2f} ms, machine x {factor:.2f}, + {allowed:.0%})",
        measured=f"{now.p99_ms:.2f} ms",
        passed=now.p99_ms <= limit,
        timing=True,
    )
