"""What every step works on: the design in force, the state folder, the problem pack."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from mlsd.core.home import Home, find_home
from mlsd.design.design import Design, load_design
from mlsd.design.sources import effective_design
from mlsd.problem.names import require_known_names
from mlsd.problem.problem import Problem, load_problem


@dataclass(frozen=True)
class Context:
    """Read when it is asked for: what stops the stack must work whatever is wrong with the design."""

    home: Home

    @classmethod
    def of(cls, design: Design, home: Home, problem: Problem) -> Self:
        """Of a design and a pack that are loaded already."""
        context = cls(home)
        context.__dict__.update(declared=design, problem=problem)
        return context

    @cached_property
    def declared(self) -> Design:
        """design.yaml as it lies, its names compared with the pack's.

        Raises:
            UserError: it is missing or wrong, or names what the pack does not have.
        """
        design = load_design()
        require_known_names(design, load_problem(design.problem))
        return design

    @property
    def design(self) -> Design:
        """The design for the data source that `mlsd data` last read."""
        return effective_design(self.declared, self.home)

    @cached_property
    def problem(self) -> Problem:
        """The pack that the design names."""
        return load_problem(self.declared.problem)


def load_context() -> Context:
    """Find the state folder."""
    return Context(find_home())
