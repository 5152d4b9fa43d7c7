"""The processes of the stack: started detached, found again by pid file and by a mark in their environment."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import httpx
import psutil

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.local import detach, priority

MARK = "MLSD_PROCESS"
LOG_TAIL_LINES = 15
KILL_S = 5.0
SAME_START_S = 2.0  # the kernel's boot time, which start times are counted from, moves with clock corrections
MAX_LOG_BYTES = 4_000_000


def _is_alive(process: psutil.Process) -> bool:
    """Zombies are dead, unless they have threads left: those still hold the ports."""
    try:
        return process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.NoSuchProcess:
        return False


def _is_same(process: psutil.Process, created: float, mark: str) -> bool:
    """By its start; or, for start times move with the machine's clock, by the mark that it was started with."""
    if abs(process.create_time() - created) < SAME_START_S:
        return True
    return process.environ().get(MARK) == mark


def find(home: Home, name: str) -> psutil.Process | None:
    """The running process of that name; a stale or damaged pid file is deleted."""
    path = home.run / f"{name}.pid"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        process = psutil.Process(record["pid"])
        if _is_same(process, record["created"], str(home.run / name)) and _is_alive(process):
            return process
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, psutil.Error):
        pass
    path.unlink(missing_ok=True)
    return None


def running(home: Home) -> dict[str, int]:
    """Name and pid of every running process of the stack."""
    found = {path.stem: find(home, path.stem) for path in sorted(home.run.glob("*.pid"))}
    return {name: process.pid for name, process in found.items() if process}


def _members(mark: str, leaders: Iterable[int]) -> list[psutil.Process]:
    """Living processes that carry the mark or belong to a leader's session, whoever their parent is now."""
    sessions, found = set(leaders), []
    for process in psutil.process_iter():
        try:
            value = process.environ().get(MARK, "")
            ours = value == mark or value.startswith(f"{mark}{os.sep}") or os.getsid(process.pid) in sessions
            if ours and process.pid != os.getpid() and _is_alive(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _log_tail(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])


def _prepare(home: Home, name: str) -> tuple[Path, int]:
    for folder in (home.run, home.logs):
        folder.mkdir(parents=True, exist_ok=True)
    log = home.logs / f"{name}.log"
    log.touch()
    if log.stat().st_size > MAX_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
        log.touch()
    return log, log.stat().st_size


def _launch(home: Home, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
    command = [sys.executable, "-P", detach.__file__, str(home.run / f"{name}.pid"), str(log), *argv]
    marked = {**os.environ, **env, MARK: str(home.run / name)}
    subprocess.run(command, env=marked, check=True, timeout=20, stdin=subprocess.DEVNULL)


def _answers(url: str) -> bool:
    try:
        with httpx.Client(trust_env=False, timeout=1.0) as client:
            return client.get(url).is_success
    except httpx.HTTPError:
        return False


def _wait_started(home: Home, name: str, timeout_s: float) -> int:
    """The pid as soon as the process has noted it; 0 when it never does."""
    deadline = time.monotonic() + timeout_s
    while not (home.run / f"{name}.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    return running(home).get(name, 0)


def _wait_ready(home: Home, name: str, ready_url: str, timeout_s: float, log_start: int) -> None:
    log = home.logs / f"{name}.log"
    deadline = time.monotonic() + timeout_s
    problem = f"not ready at {ready_url} within {timeout_s:g} s"
    while time.monotonic() < deadline:
        if find(home, name) is None:
            problem = "ended before it was ready"
            break
        if _answers(ready_url):
            return
        time.sleep(0.05)
    raise UserError(f"{name}: {problem}; the end of {log}:\n{_log_tail(log, log_start)}")


def start(
    home: Home,
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    ready_url: str,
    timeout_s: float = 30.0,
    yields: bool = False,
) -> int:
    """Start a process in its own session and wait until it answers; it lives on when this process ends.

    Args:
        home: where the pid file `run/<name>.pid` and the output `logs/<name>.log` go.
        name: one process of a name runs at a time; one that runs already is stopped first.
        argv: program and arguments.
        env: variables added to this process's own.
        ready_url: answers 2xx when the process is ready.
        timeout_s: deadline for that.
        yields: until it is ready, other processes come first.

    Returns:
        The pid.

    Raises:
        UserError: it ended, or was not ready in time; the message holds the end of its log. Nothing is left running.
    """
    stop(home, name)
    log, log_start = _prepare(home, name)
    try:
        _launch(home, name, argv, env, log)
        pid = _wait_started(home, name, timeout_s)
        with priority.lowered(pid) if yields and pid else nullcontext():
            _wait_ready(home, name, ready_url, timeout_s, log_start)
    except BaseException:
        stop(home, name, grace_s=1.0)
        raise
    return running(home)[name]


def _signal_all(processes: Iterable[psutil.Process], action: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            action(process)


def _outermost(processes: list[psutil.Process], leaders: Collection[int]) -> list[psutil.Process]:
    """Those to ask first: a leader stops its own children in its own order."""
    pids, outermost = {process.pid for process in processes}, []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.pid in leaders or process.ppid() not in pids:
                outermost.append(process)
    return outermost


def _end(members: Callable[[], list[psutil.Process]], leaders: Collection[int], grace_s: float) -> None:
    # A dying process loses its environment, by which it is found, before its ports: so those once found are kept.
    found = members()
    _signal_all(_outermost(found, leaders), psutil.Process.terminate)

    def left() -> list[psutil.Process]:
        known = {process.pid for process in found}
        found.extend(process for process in members() if process.pid not in known)
        return [process for process in found if _is_alive(process)]

    # Looked for again once none is left: a child forked while its parent died is seen by a look that began after that.
    deadline = time.monotonic() + grace_s
    while (left() or left()) and time.monotonic() < deadline:
        time.sleep(0.02)
    deadline = time.monotonic() + KILL_S
    while (living := left() or left()) and time.monotonic() < deadline:
        _signal_all(living, psutil.Process.kill)
        time.sleep(0.02)


def stop(home: Home, name: str, grace_s: float = 5.0) -> None:
    """SIGTERM to the process, after `grace_s` seconds SIGKILL to it and all its descendants; none running is fine."""
    leader = find(home, name)
    leaders = {leader.pid} if leader else set()
    _end(lambda: _members(str(home.run / name), leaders), leaders, grace_s)
    (home.run / f"{name}.pid").unlink(missing_ok=True)


def stop_all(home: Home, first: Sequence[str] = (), grace_s: float = 5.0) -> list[str]:
    """Stop every process of this state folder, `first` ones first, also those whose pid file is gone.

    Returns:
        The names that had a pid file.
    """
    names = running(home)
    for name in first:
        stop(home, name, grace_s)
    leaders = set(names.values())
    _end(lambda: _members(str(home.run), leaders), leaders, grace_s)
    for name in names:
        (home.run / f"{name}.pid").unlink(missing_ok=True)
    return list(names)
