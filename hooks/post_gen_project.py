"""Refuse a project without its runtime, delete other packs, say what comes next: no network, no shell, no git."""

import re
import shutil
import sys
from pathlib import Path

NO_LINKS = """
This project would have no runtime: {source} is no folder. The template was checked out without symbolic links.
In its clone run `git config core.symlinks true`, check it out again (`git checkout -- .`), then bake again.
On Windows links need the developer mode. Nothing was made."""


def main() -> None:
    """Work in the new project, which is the working directory of a hook."""
    source = Path("vendor", "mlsd", "src")
    if not source.is_dir():
        sys.exit(NO_LINKS.format(source=source))
    problem = re.search(r"^problem: (\w+)$", Path("design.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    if problem and Path("src", problem[1]).is_dir():
        for pack in Path("src").iterdir():
            if pack.is_dir() and pack.name != problem[1]:
                shutil.rmtree(pack)
    print(f"\nNext:\n  cd {Path.cwd().name} && make demo\n  make test\n")


main()
