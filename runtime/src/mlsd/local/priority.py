"""A release that starts beside the live one must not slow it: while it loads it gets mostly what the live one leaves.

`nice` cannot be taken back without root. The weight of a whole session can (autogroup, sched(7)), and every process of
the stack leads a session of its own. Where the kernel has none (macOS, some containers) nothing happens here.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOW, NORMAL = 10, 0  # weights 110 and 1024: the live release keeps nine tenths of a core that both want
AT_MOST_S = 10.0  # then it competes as an equal: on a machine full of other work it would take too long
RETRIES, RETRY_S = 20, 0.05  # the kernel takes one such change in a tenth of a second from users other than root


def _weigh(pid: int, nice: int) -> None:
    for _ in range(RETRIES):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")
        except BlockingIOError:
            time.sleep(RETRY_S)
        except OSError:
            return
        else:
            return


@contextmanager
def lowered(pid: int) -> Iterator[None]:
    """The session that this process leads yields to others, for the time of the block and for seconds at most."""
    _weigh(pid, LOW)
    timer = threading.Timer(AT_MOST_S, _weigh, (pid, NORMAL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _weigh(pid, NORMAL)
