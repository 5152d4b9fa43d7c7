"""Does the demo hold on a busy machine? `mlsd demo` of a fresh bake, again and again beside one busy loop per core.

python bench/demo_busy.py [--runs 10] [--quiet] [--folder .build/demo-busy]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parents[1]
LETTERS = {"pass": "p", "inconclusive": "i", "fail": "F"}
SPIN = "while True:\n    pass"


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that never sleep."""
    running = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def verdict(result: dict[str, Any]) -> str:
    """Of one step's JSON."""
    checks = result["checks"]
    if not checks or any(not check["passed"] and not check["inconclusive"] for check in checks):
        return "fail"
    return "pass" if all(check["passed"] for check in checks) else "inconclusive"


def once(project: Path) -> tuple[int, float, dict[str, str], list[str]]:
    """Exit code, seconds, verdict by step, and what was missed, of one demo."""
    source = os.pathsep.join(str(project / part) for part in ("src", "vendor/mlsd/src"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLSD_")}
    command = [sys.executable, "-m", "mlsd.commands.cli", "demo", "--json"]
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=project, env=environment | {"PYTHONPATH": source}, capture_output=True, text=True, check=False
    )
    took = time.monotonic() - began
    results = json.loads(done.stdout) if done.stdout else []
    missed = [
        f"{result['step']}: {check['name']}: {check['measured']} (design {check['designed']})"
        for result in results
        for check in result["checks"]
        if not check["passed"]
    ]
    return (
        done.returncode,
        took,
        {result["step"]: verdict(result) for result in results},
        missed or [done.stderr[-500:]],
    )


def main() -> int:
    """Print a line a run, then what was missed; 0 when no run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--quiet", action="store_true", help="without busy loops")
    parser.add_argument("--folder", type=Path, default=ROOT / ".build" / "demo-busy")
    asked = parser.parse_args()
    made = cookiecutter(
        str(ROOT), no_input=True, default_config=True, output_dir=str(asked.folder), overwrite_if_exists=True
    )
    loops = 0 if asked.quiet else os.cpu_count() or 1
    found: Counter[int] = Counter()
    print(f"{asked.runs} runs beside {loops} busy loops; p pass, i inconclusive, F fail, one letter a step")
    for number in range(1, asked.runs + 1):
        with busy(loops):
            code, took, steps, missed = once(Path(made))
        found[code] += 1
        print(
            f"{number:3}  exit {code}  {took:4.0f} s  {''.join(LETTERS[each] for each in steps.values())}", flush=True
        )
        for line in missed if code else []:
            print(f"       {line}", flush=True)
    print(", ".join(f"{count} x exit {code}" for code, count in sorted(found.items())))
    return 1 if set(found) - {0, 3} else 0


if __name__ == "__main__":
    sys.exit(main())
