"""Private words in the names of the runtime: `python -m support.words FOLDER`, exit code 1 and a line for each."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from support.syntax import parsed

TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
MODULE_ONLY = {"step"}  # a good word for a variable, and no name for a file


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr


def standard(name: str) -> str | None:
    """The field's word for a private one; None if the name is none."""
    if name in TABLE["names"] and name not in MODULE_ONLY:
        return str(TABLE["names"][name])
    head = name.lstrip("_").split("_")[0]
    return f"{TABLE['prefixes'][head]}_..." if head in TABLE["prefixes"] else None


def private_words(folder: Path) -> list[str]:
    """One line for each private word in a folder of Python."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        if path.stem in TABLE["names"]:
            found.append(f"{path}: a module called {path.stem}, expected {TABLE['names'][path.stem]}")
        tree = parsed(path.read_text(encoding="utf-8"))
        lines = {(line, name): word for line, name in _names(tree) if (word := standard(name))}
        found += [f"{path}:{line}: found {name}, expected {word}" for (line, name), word in sorted(lines.items())]
    return found


if __name__ == "__main__":
    words = private_words(Path(sys.argv[1]))
    print("\n".join(words))
    sys.exit(bool(words))
