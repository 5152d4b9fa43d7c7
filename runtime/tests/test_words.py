"""The field's words: no private one is left in the runtime, and one that is planted is seen."""

from pathlib import Path

import pytest

from support.paths import SOURCE
from support.words import private_words, standard


def test_the_runtime_speaks_the_fields_words() -> None:
    assert private_words(SOURCE) == []


@pytest.mark.parametrize(
    "line",
    ["class Wire:\n    pass", "MOST_ROWS = 3", "def f(undecided: int) -> None: ...", "x.give_up()", "_FEWEST = 1"],
)
def test_a_planted_word_is_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "module.py").write_text(line + "\n", encoding="utf-8")
    assert len(private_words(tmp_path)) == 1


def test_a_module_of_a_name_that_says_nothing_is_seen(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text("", encoding="utf-8")
    assert len(private_words(tmp_path)) == 1


def test_good_words_are_left_alone() -> None:
    assert [standard(name) for name in ("step", "HttpProtocol", "at_most", "MAX_ROWS", "max_s")] == [None] * 5
