"""Whose work the machine did, measured on real processes."""

import subprocess
import sys
import time

from mlsd.home import Home
from mlsd.local.busy import Reading, other_share

SPIN = "import time\nend = time.time() + 30\nwhile time.time() < end: pass"


def test_our_own_work_is_not_other_work_and_a_stranger_is(home: Home) -> None:
    before = Reading.take(home)
    with subprocess.Popen([sys.executable, "-c", SPIN]) as child:
        time.sleep(1.5)
        after = Reading.take(home)
        ours = {pid: used for pid, used in after.ours.items() if pid != child.pid}
        child.kill()
    assert child.pid in after.ours
    counted = other_share(before, after)
    uncounted = other_share(before, Reading(after.total, after.busy, ours))
    assert uncounted > counted + 0.1


def test_no_time_is_no_share(home: Home) -> None:
    reading = Reading.take(home)
    assert other_share(reading, reading) == 0.0
