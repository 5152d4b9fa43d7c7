"""How many cores this process may use, which in a container are fewer than the machine has."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable() -> int:
    """At least one: those of the affinity mask, and no more than the CPU quota of its control groups, rounded up."""
    of_machine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min([of_machine, *map(math.ceil, _quotas())]), 1)


def _quotas() -> Iterator[float]:
    """Cores that each control group on the way to the root grants, where it limits them (cgroup v2, cpu.max)."""
    try:
        lines = OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    for path in (Path(own), *Path(own).parents):
        try:
            quota, period = (CGROUPS / path.relative_to("/") / "cpu.max").read_text(encoding="utf-8").split()
            if quota != "max":
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue
