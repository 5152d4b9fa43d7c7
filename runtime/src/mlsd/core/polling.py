"""Threads that look for something new: no error ends one, for it would take all later news with it."""

import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import TypeVar

RETRY_S = 30.0
Answer = TypeVar("Answer")


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


def _weak(call: Callable[[], Answer]) -> Callable[[], Callable[[], Answer] | None]:
    """A way to `call` that does not keep the object alive whose method it is."""
    return weakref.WeakMethod(call) if inspect.ismethod(call) else lambda: call


def poll(
    look: Callable[[], None],
    every_s: float,
    logger: logging.Logger,
    failed: Callable[[], str],
    *,
    at_once: bool = False,
) -> None:
    """Call `look` again and again from a thread of its own, for as long as the object lives whose method it is.

    Args:
        look: may raise anything; the same error is logged once, not at every look.
        every_s: pause between two looks.
        logger: of the module that looks.
        failed: what an error means, the first half of the line; like `look`, a method does not hold its object.
        at_once: look for the first time now, from the caller's thread.
    """
    pause, said = threading.Event(), ""
    looking, meaning = _weak(look), _weak(failed)

    def guarded() -> bool:
        nonlocal said
        look, failed = looking(), meaning()
        if look is None or failed is None:
            return False
        try:
            look()
        except Exception as error:  # also what nobody foresaw: memory, the interpreter's own errors
            if said != str(error):
                logger.error("%s: %s", failed(), error)
            said = str(error)
        return True

    def run() -> None:
        while not pause.wait(every_s) and guarded():
            pass

    if at_once:
        guarded()
    threading.Thread(target=run, name=logger.name, daemon=True).start()
