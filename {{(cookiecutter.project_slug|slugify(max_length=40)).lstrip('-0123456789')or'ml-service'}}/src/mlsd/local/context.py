"""What every command works on: the design in force, the state folder, the problem pack."""

from dataclasses import dataclass
from functools import cached_property

from mlsd.data.sources import effective_design
from mlsd.design import Design, load_design
from mlsd.home import Home, find_home
from mlsd.problem import Problem, load_problem


@dataclass(frozen=True)
class Context:
    """`declared` is design.yaml as it lies."""

    declared: Design
    home: Home

    @property
    def design(self) -> Design:
        """The design for the data source that `mlsd data` last read."""
        return effective_design(self.declared, self.home)

    @cached_property
    def problem(self) -> Problem:
        """The pack that the design names."""
        return load_problem(self.declared.problem)


def load_context() -> Context:
    """Read the design and find the state folder.

    Raises:
        UserError: the design is missing or wrong.
    """
    return Context(load_design(), find_home())
