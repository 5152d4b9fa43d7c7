"""How long one bake of the default project takes, seconds: the command as a user starts it, and the work alone."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 7


def command(output: str) -> None:
    """Bake in a process of its own."""
    arguments = [str(ROOT), "--no-input", "--default-config", "--output-dir", output]
    subprocess.run([sys.executable, "-m", "cookiecutter", *arguments], check=True, capture_output=True)


def library(output: str) -> None:
    """Bake in this process, without hooks."""
    cookiecutter(str(ROOT), no_input=True, accept_hooks=False, default_config=True, output_dir=output)


def median(work: Callable[[str], None]) -> float:
    """Median of several rounds, each into an empty folder."""
    taken = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as output:
            started = time.perf_counter()
            work(output)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    print(f"one bake, median of {ROUNDS}: {median(command):.2f} s as a command, {median(library):.2f} s of work")
