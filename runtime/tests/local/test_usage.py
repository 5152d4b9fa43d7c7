"""What the workers used while a run went on, also those that ended or began meanwhile (5.34)."""

import time

import psutil
import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.loadtest import soak_checks
from mlsd.local.machine import usage
from mlsd.local.machine.usage import UsageMeter
from support.load_summaries import summary


class Worker:
    """A process that has used some time and memory, until it is gone."""

    def __init__(self, pid: int, cpu_s: float, mib: float) -> None:
        self.pid, self.cpu_s, self.mib, self.gone = pid, cpu_s, mib, False

    def _alive(self) -> None:
        if self.gone:
            raise psutil.NoSuchProcess(self.pid)

    def cpu_times(self) -> object:
        self._alive()
        return type("Times", (), {"user": self.cpu_s, "system": 0.0})()

    def memory_info(self) -> object:
        self._alive()
        return type("Memory", (), {"rss": int(self.mib * 2**20)})()

    def cmdline(self) -> list[str]:
        self._alive()
        return ["worker"]


def watched(home: Home, monkeypatch: pytest.MonkeyPatch, *, dies: bool, heir: bool = True) -> UsageMeter:
    """Two workers; one ends after using 5 s, and with an heir another that uses 2 s takes its place."""
    alive = [Worker(1, 100.0, 300.0), Worker(2, 50.0, 300.0)]
    monkeypatch.setattr(usage, "EVERY_S", 0.01)
    monkeypatch.setattr(usage, "FIND_EVERY", 1)
    monkeypatch.setattr(usage, "servers", lambda _: list(alive))
    monkeypatch.setattr(usage, "edge", lambda _: [])
    with UsageMeter(home) as watch:
        time.sleep(0.1)
        for worker in alive:
            worker.cpu_s += 5.0
        time.sleep(0.2)
        if dies:
            alive[0].gone = True
            alive[:1] = [Worker(3, 2.0, 100.0)] if heir else []
        time.sleep(0.2)
    return watch


@pytest.mark.parametrize("dies", [False, True])
def test_processor_time_counts_whoever_used_it(home: Home, monkeypatch: pytest.MonkeyPatch, *, dies: bool) -> None:
    assert watched(home, monkeypatch, dies=dies).cpu_s == pytest.approx(12.0 if dies else 10.0)


@pytest.mark.parametrize(("dies", "heir"), [(False, True), (True, True), (True, False)])
def test_a_worker_that_ends_fails_a_soak(
    home: Home, design: Design, monkeypatch: pytest.MonkeyPatch, *, dies: bool, heir: bool
) -> None:
    """Its leak ends with it: memory alone would look well."""
    watch = watched(home, monkeypatch, dies=dies, heir=heir)
    found = {check.name: check for check in soak_checks.soak_checks(design, summary(), watch)}
    assert found["growth of the workers' memory"].passed
    assert found["workers that ended"].passed is not dies
    assert found["workers that ended"].measured == str(int(dies))
