"""`python -m mlsd.training.fetch VERSION DIGEST`: bring one model from the registry, in a process of its own.

The serving process must not import MLflow, and a registry that hangs must not hang it.
"""

import os
import subprocess
import sys
from pathlib import Path

import mlsd
from mlsd.design import load_design
from mlsd.errors import UserError
from mlsd.home import find_home
from mlsd.training import registry


def bring(version: int, digest: str, timeout_s: float) -> None:
    """Fetch a version in a process of its own, which is killed at the deadline.

    Raises:
        UserError: the registry did not give that very model in time.
    """
    argv = [sys.executable, "-m", "mlsd.training.fetch", str(version), digest]
    path = os.pathsep.join([str(Path(mlsd.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"model {version}: the registry did not give it within {timeout_s:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UserError(f"model {version}: {said[-1] if said else f'exit code {done.returncode}'}")


def main() -> int:
    """The process; exit code 2, with the reason in one line, when the registry does not give that very model."""
    version, digest = sys.argv[1:]
    try:
        home, design = find_home(), load_design()
        found = registry.digest_of(home, design, int(version))
        if found != digest:
            raise UserError(f"version {version}: registered with digest {found[:12]}, the release pins {digest[:12]}")
        registry.fetch(home, design, int(version))
    except (UserError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
