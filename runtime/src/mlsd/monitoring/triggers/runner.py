"""Carries out the accepted runs of one action, one after the other: `python -m mlsd.monitoring.triggers.runner`.

It is a process of its own that does not outlive the hook server: the server holds the other end of its standard input.
When the server goes, however it goes, that pipe ends, the command is stopped, and its run is `accepted` again. A lock
file per action keeps a second runner waiting, so whoever holds it knows that any run still marked `running` is dead.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import get_args

from mlsd.core.home import Home, find_home
from mlsd.monitoring.triggers.outbox import Outbox, Run
from mlsd.monitoring.triggers.trigger import Action

GRACE_S = 5.0
DATABASE = "hooks.db"


def command_of(run: Run) -> list[str]:
    """What an action runs: this project's own command line. The reason is one argument, no shell sees it."""
    command = [sys.executable, "-m", "mlsd.commands.cli", run.action]
    return [*command, f"--reason={run.reason}"] if run.action == "rollback" else command


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class Runner:
    """Runs commands until there are none, or until the server is gone."""

    def __init__(self, home: Home, command: list[str] | None) -> None:
        self._home = home
        self._outbox = Outbox(home.root / DATABASE)
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = threading.Event()

    def _watch(self) -> None:
        os.read(0, 1)  # nobody writes: this returns when the server's end is closed
        self._gone.set()
        if self._process is not None and self._process.poll() is None:
            _stop(self._process)

    def _execute(self, run: Run) -> None:
        log = self._home.logs / f"hook-{run.action}-{run.run_id}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        if not self._outbox.claim(run.run_id, str(log)):
            return
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command or command_of(run),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, so that what it started can be stopped with it
            )
        if self._gone.is_set():
            _stop(self._process)
        code = self._process.wait()
        if self._gone.is_set() and code != 0:
            self._outbox.interrupted(run.run_id)
        else:
            self._outbox.finish(run.run_id, code)

    def drain(self, action: Action) -> None:
        """Run everything that was accepted for `action`."""
        self._home.run.mkdir(parents=True, exist_ok=True)
        with (self._home.run / f"hook-{action}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            threading.Thread(target=self._watch, daemon=True).start()
            self._outbox.recover(action)
            while not self._gone.is_set() and (waiting := self._outbox.waiting(action)):
                self._execute(waiting[0])


def main() -> None:
    """Arguments: the action, then the command as JSON, or `null` for the project's own."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # only the pipe ends a run; a handler, for SIG_IGN would be inherited
    action, command = sys.argv[1:]
    Runner(find_home(), json.loads(command)).drain(next(each for each in get_args(Action) if each == action))


if __name__ == "__main__":
    main()
