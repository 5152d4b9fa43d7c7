"""What a section of the page is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from mlsd.core.result import StepResult
from mlsd.report.results import Box

Results = dict[str, StepResult]


@dataclass(frozen=True)
class Figure:
    """A chart with its title and how to read it."""

    title: str
    caption: str
    svg: Markup
    wide: bool = False
    legend: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the first column names the row."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    folded: bool = False


@dataclass
class Section:
    """One box of the design: its steps, what was decided, what was measured."""

    box: Box
    results: Results
    facts: list[tuple[str, str]] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, `open` if a step has not run, `design` if there is nothing to run."""
        if not self.box.steps:
            return "design"
        if any(not result.passed for result in self.results.values()):
            return "fail"
        return "pass" if self.results else "open"
