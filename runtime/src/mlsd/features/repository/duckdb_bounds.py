"""DuckDB, which joins Feast's offline tables, within bounds: by itself it takes 80 % of the machine's memory, all its
cores, and spills into a folder `.tmp` of whatever directory it was started in.
"""

import os
import threading

from mlsd.core import cpu
from mlsd.core.home import Home

MIN_MIB = 512
SHARE = 0.5  # of the machine's memory: a training beside a stack leaves the other half
_LOCK = threading.Lock()
_BOUND: list[str] = []  # the folder that the process's one backend spills into


def memory_mib() -> int:
    """What one join may hold in memory, before it spills to disk."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    return max(int(machine * SHARE), MIN_MIB)


def bind(home: Home) -> None:
    """Make ibis, through which Feast speaks to DuckDB, use a connection that spills into the state folder."""
    import ibis

    folder = home.feast / "spill"
    with _LOCK:
        if str(folder) in _BOUND:
            return
        folder.mkdir(parents=True, exist_ok=True)
        backend = ibis.duckdb.connect(
            temp_directory=str(folder), memory_limit=f"{memory_mib()}MiB", threads=cpu.usable()
        )
        ibis.set_backend(backend)
        _BOUND[:] = [str(folder)]
