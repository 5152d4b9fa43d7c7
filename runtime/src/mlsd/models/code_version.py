"""Which code trained a model: the commit, or a digest of the sources where there is no commit or it is not what ran."""

import subprocess
from pathlib import Path

from mlsd.models.bundle import sha256

SOURCES = Path(__file__).parents[2]
DEADLINE_S = 5


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(SOURCES), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def code_version() -> str:
    """`git-` and twelve digits of a clean commit, else `src-` and twelve of the sources' digest."""
    tracked = _git("ls-files", "--error-unmatch", "mlsd/design.py")
    commit = _git("rev-parse", "HEAD") if tracked else None
    if commit and _git("status", "--porcelain", ".") == "":
        return f"git-{commit[:12]}"
    files = sorted(SOURCES.rglob("*.py"))
    text = "".join(f"{path.relative_to(SOURCES)} {sha256(path.read_bytes())}\n" for path in files)
    return f"src-{sha256(text.encode())[:12]}"
