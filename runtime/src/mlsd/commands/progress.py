"""What is going on now: one live line on a terminal, plain lines on standard error elsewhere."""

import logging
import sys
from types import TracebackType
from typing import Self

from rich.console import Console


class Progress(logging.Handler):
    """Shows what the `mlsd` logger says; use it as a context manager around long work."""

    def __init__(self, title: str) -> None:
        super().__init__(logging.INFO)
        console = Console(stderr=True)
        live = console.is_terminal and sys.stdout.isatty()
        self._status = console.status(title) if live else None
        self._logger = logging.getLogger("mlsd")

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message."""
        if self._status:
            self._status.update(record.getMessage())
        else:
            print(f"... {record.getMessage()}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True
        if self._status:
            self._status.stop()
