"""Feast, imported without its run-time type checks, which recompile 261 functions: 3.7 of the 5.7 s that it takes.

What they would find in a pack's definitions the strict type checker finds, before anything runs.
"""

import sys
from typing import Any


def _unchecked(target: Any = None, **_: Any) -> Any:
    """As typeguard's decorator under `python -O`."""
    return target if target is not None else _unchecked


def import_feast() -> None:
    """Make `import feast` cheap from here on."""
    if "feast" in sys.modules:
        return
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = _unchecked
    try:
        import feast  # noqa: F401
    finally:
        typeguard.typechecked = checked
