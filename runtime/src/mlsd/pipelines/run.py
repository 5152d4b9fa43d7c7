"""What one run of the pipeline hands from step to step, and where it leaves what went wrong."""

import logging
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

from pydantic import BaseModel, ConfigDict

from mlsd.core.errors import GateError, UserError
from mlsd.core.home import Home, read_json, write_json
from mlsd.core.result import Check
from mlsd.design.design import Design, load_design
from mlsd.problem.problem import Problem, load_problem
from mlsd.training.candidate import Candidate
from mlsd.training.gating.winner import Choice

P = ParamSpec("P")


class Run(BaseModel):
    """One run of the pipeline: the state folder, the design file, and the folder for what the steps hand on."""

    model_config = ConfigDict(frozen=True)

    home: str
    design: str
    folder: str

    @property
    def state(self) -> Home:
        """The state folder."""
        return Home(Path(self.home))

    def open(self) -> tuple[Design, Problem]:
        """The design and its pack; the clock follows the state folder."""
        os.environ["MLSD_HOME"] = self.home
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        design = load_design(Path(self.design))
        return design, load_problem(design.problem)


class Outcome(BaseModel):
    """What the train step hands to the register step, and in the end to the report."""

    model_config = ConfigDict(frozen=True)

    checks: list[Check]
    rows: dict[str, int]
    tables_digest: str
    code_version: str
    candidates: list[Candidate] = []
    choice: Choice = Choice()


def reported(step: Callable[Concatenate[Run, P], str]) -> Callable[Concatenate[Run, P], str]:
    """Leave the message of a failed step in the run's folder, where the runner finds it."""

    @wraps(step)
    def wrapped(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return step(run, *args, **kwargs)
        except (UserError, GateError) as error:
            kind = "gate" if isinstance(error, GateError) else "input"
            write_json(Path(run.folder) / "error.json", {"step": step.__name__, "kind": kind, "message": str(error)})
            raise

    return wrapped


def refuse_if_missed(run: Run, outcome: Outcome) -> None:
    """Leave what was measured and end the run, if a check failed.

    Raises:
        GateError: which checks, each with its number.
    """
    missed = [f"{c.name}: {c.measured}, designed {c.designed}" for c in outcome.checks if not c.passed]
    if missed:
        hand_on(run, outcome)
        raise GateError("; ".join(missed))


def hand_on(run: Run, outcome: Outcome) -> str:
    """Leave the outcome in the run's folder; returns its path."""
    path = Path(run.folder) / "outcome.json"
    write_json(path, outcome.model_dump(mode="json"))
    return str(path)


def read_outcome(folder: Path) -> Outcome:
    """What the train step measured.

    Raises:
        UserError: it has left nothing.
    """
    return Outcome.model_validate(read_json(folder / "outcome.json", "run `mlsd train`"))
