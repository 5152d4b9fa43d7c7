"""A module of ours run in a process of its own, with a deadline: what must not hang, crash or weigh on this one."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import mlsd
from mlsd.core.errors import UserError

NO_ENV: Mapping[str, str] = {}


def run(module: str, *arguments: str, timeout_s: float, env: Mapping[str, str] = NO_ENV) -> None:
    """Run `python -m module arguments` to its end; it is killed at the deadline.

    Raises:
        UserError: it took longer, or ended with another code than 0; the message is the last line it wrote.
    """
    path = os.pathsep.join([str(Path(mlsd.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path} | dict(env)
    argv = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"no result within {timeout_s:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UserError(said[-1] if said else f"exit code {done.returncode}")
