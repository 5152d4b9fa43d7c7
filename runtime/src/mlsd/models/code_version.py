"""Which code trained a model: the commit, or a digest of the sources where there is no commit or it is not what ran."""

import subprocess
from pathlib import Path

from mlsd.models.bundle import sha256
from mlsd.problem.packs import pack_folder

RUNTIME = Path(__file__).parents[1]
DEADLINE_S = 5


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commit(folder: Path) -> str | None:
    """The commit that holds this folder as it lies, if there is one."""
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(folder, "rev-parse", "HEAD") if _git(folder, "status", "--porcelain", ".") == "" else None


def code_version(pack: str) -> str:
    """`git-` and twelve digits of a clean commit, else `src-` and twelve of the digest of runtime and pack."""
    folders = [RUNTIME, pack_folder(pack)]
    commits = {_commit(folder) for folder in folders}
    if len(commits) == 1 and (commit := commits.pop()):
        return f"git-{commit[:12]}"
    files = sorted((path.relative_to(folder.parent), path) for folder in folders for path in folder.rglob("*.py"))
    text = "".join(f"{name} {sha256(path.read_bytes())}\n" for name, path in files)
    return f"src-{sha256(text.encode())[:12]}"
