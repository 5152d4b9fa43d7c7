"""The processes of a stack: its model servers with their workers, and its edge."""

import psutil

from mlsd.core.home import Home
from mlsd.local import envoy, processes
from mlsd.local.target import process_name


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants, itself first; empty when it has ended."""
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def servers(home: Home) -> list[psutil.Process]:
    """The processes of the slots that run: supervisors and workers."""
    running = processes.running(home)
    names = (process_name("a"), process_name("b"))
    return [process for name in names if name in running for process in tree(running[name])]


def workers(home: Home) -> list[psutil.Process]:
    """Those of the servers that answer requests."""
    return answering(servers(home))


def answering(found: list[psutil.Process]) -> list[psutil.Process]:
    """The workers among processes; all of them where none is called a worker."""
    return [process for process in found if _is_worker(process)] or found


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "worker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def edge(home: Home) -> list[psutil.Process]:
    """Envoy, if it runs."""
    running = processes.running(home)
    return tree(running[envoy.NAME]) if envoy.NAME in running else []
