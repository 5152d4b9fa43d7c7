"""Start one program so that it outlives its starter: own session, parent gone, pid file written before it runs.

Run as a script: `detach.py PID_FILE LOG_FILE PROGRAM ARGUMENT...`. Envoy asks the kernel for SIGTERM when the thread
that started it ends; it is only started after that thread is gone, so the signal never comes. The pid file is written
by the child itself: a starter killed at any moment leaves no process that the next one cannot find.
"""

import json
import os
import sys
import time

import psutil


def _become(pid_file: str, log_file: str, argv: list[str], starter: int) -> None:
    os.setsid()
    while os.getppid() == starter:
        time.sleep(0.001)
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.closerange(3, 256)
    record = {"pid": os.getpid(), "created": psutil.Process().create_time(), "argv": argv}
    temporary = f"{pid_file}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123 (pathlib would double the start-up time)
        json.dump(record, file)
    os.replace(temporary, pid_file)  # noqa: PTH105
    try:
        os.execvp(argv[0], argv)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", flush=True)
        os._exit(127)


if __name__ == "__main__":
    starter = os.getpid()
    if os.fork() == 0:
        _become(sys.argv[1], sys.argv[2], sys.argv[3:], starter)
