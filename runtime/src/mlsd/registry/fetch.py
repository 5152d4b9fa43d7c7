"""`python -m mlsd.registry.fetch VERSION DIGEST`: bring one model from the registry, in a process of its own.

The serving process must not import MLflow, and a registry that hangs must not hang it.
"""

import sys

from mlsd.core import subprocesses
from mlsd.core.errors import UserError
from mlsd.core.home import find_home
from mlsd.design.design import load_design
from mlsd.registry import registry


def fetch_bundle(version: int, digest: str, timeout_s: float) -> None:
    """Fetch a version in a process of its own, which is killed at the deadline.

    Raises:
        UserError: the registry did not give that very model in time.
    """
    try:
        subprocesses.run("mlsd.registry.fetch", str(version), digest, timeout_s=timeout_s)
    except UserError as error:
        raise UserError(f"model {version}: the registry: {error}") from None


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
