"""Threads that look for something new, and outlive whatever they find: one that ends takes all later news with it."""

import logging
import threading
import time
from collections.abc import Callable

RETRY_S = 30.0


class Backoff:
    """What was refused last: not tried at every look, but again after a while, for its fault may have been passing."""

    def __init__(self) -> None:
        """Nothing so far."""
        self._name, self._until = "", 0.0

    def add(self, name: str) -> None:
        """Leave `name` alone for `RETRY_S`."""
        self._name, self._until = name, time.monotonic() + RETRY_S

    def holds(self, name: str) -> bool:
        """Whether `name` is to be left alone now."""
        return name == self._name and time.monotonic() < self._until


def poll(
    look: Callable[[], None],
    every_s: float,
    logger: logging.Logger,
    failed: Callable[[], str],
    *,
    at_once: bool = False,
) -> None:
    """Call `look` again and again from a thread of its own, for as long as the process lives.

    Args:
        look: may raise anything; the same error is logged once, not at every look.
        every_s: pause between two looks.
        logger: of the module that looks.
        failed: what an error means, the first half of the line.
        at_once: look for the first time now, from the caller's thread.
    """
    pause, said = threading.Event(), ""

    def guarded() -> None:
        nonlocal said
        try:
            look()
        except Exception as error:  # also what nobody foresaw: memory, the interpreter's own errors
            if said != str(error):
                logger.error("%s: %s", failed(), error)
            said = str(error)

    def run() -> None:
        while not pause.wait(every_s):
            guarded()

    if at_once:
        guarded()
    threading.Thread(target=run, name=logger.name, daemon=True).start()
