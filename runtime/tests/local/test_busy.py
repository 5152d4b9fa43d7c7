"""Whose work the machine did, measured on real processes."""

import subprocess
import sys

from mlsd.core.home import Home
from mlsd.local.machine.contention import CpuReading, cpu_contention
from support.waiting import within

SPIN = "import time\nend = time.time() + 600\nwhile time.time() < end: pass"


def test_our_own_work_is_not_other_work_and_a_stranger_is(home: Home) -> None:
    before = CpuReading.take(home)
    with subprocess.Popen([sys.executable, "-c", SPIN]) as child:
        within(120, lambda: CpuReading.take(home).ours.get(child.pid, 0.0) > 1.2)
        after = CpuReading.take(home)
        ours = {pid: used for pid, used in after.ours.items() if pid != child.pid}
        child.kill()
    assert after.ours[child.pid] > 1.2
    own_share = after.ours[child.pid] / (after.total - before.total)
    counted = cpu_contention(before, after)
    uncounted = cpu_contention(before, CpuReading(after.total, after.busy, ours))
    assert uncounted > counted + 0.5 * own_share


def test_no_time_is_no_share(home: Home) -> None:
    reading = CpuReading.take(home)
    assert cpu_contention(reading, reading) == 0.0
