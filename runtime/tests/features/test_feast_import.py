"""Feast is imported without the type checks that recompile it, and nobody else loses theirs."""

import subprocess
import sys

import pytest

PROGRAM = """
import typeguard
before = typeguard.typechecked
{line}
import feast
assert typeguard.typechecked is before
print("memo" in feast.Entity.__init__.__code__.co_varnames)  # typeguard's own, in what it recompiled
"""
OURS = "from mlsd.features.repository.feast_import import import_feast; import_feast(); import_feast()"


@pytest.mark.parametrize(("line", "recompiled"), [("", "True"), (OURS, "False")])
def test_only_feast_is_left_unchecked(line: str, recompiled: str) -> None:
    program = PROGRAM.format(line=line)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == recompiled, done.stderr
