"""Syntax trees of sources, built while no thread left by another test reads an array (see mlsd.core.arrays)."""

import ast

from mlsd.core.arrays import BUILDING_TREES


def parsed(source: str) -> ast.Module:
    """The tree of a module's text."""
    with BUILDING_TREES:
        return ast.parse(source)
