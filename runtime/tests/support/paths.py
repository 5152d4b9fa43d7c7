"""Where things lie in the template's repository: the runtime under test, and the project whose pack the tests use."""

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
RUNTIME = TESTS.parent
SOURCE = RUNTIME / "src"
(PROJECT,) = RUNTIME.parent.glob("{{*")
PYTHONPATH = os.pathsep.join([str(SOURCE), str(PROJECT / "src"), str(TESTS)])
"""What a child process needs to import the runtime, the pack and the helpers of the tests."""
