"""What the pipeline's steps do: plain functions, called by the components, by tests and by nothing else."""

import json
import logging
import os
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

import pandas as pd
from pydantic import BaseModel, ConfigDict

from mlsd.core.clock import now
from mlsd.core.errors import GateError, UserError
from mlsd.core.home import Home, read_json, write_json
from mlsd.core.result import Check
from mlsd.design.design import Design, load_design
from mlsd.models import packs
from mlsd.models.bundle import read_bundle
from mlsd.models.code_version import code_version
from mlsd.problem.problem import Problem, load_problem
from mlsd.training.bundling import Lineage
from mlsd.training.candidate import Candidate
from mlsd.training.engine_benchmark import benchmark_engines, compiling
from mlsd.training.gating import gates
from mlsd.training.gating.winner import Choice, Draw, InService, choose_first, choose_next
from mlsd.training.leaderboard import Parts, run_leaderboard

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
    rungs: list[Candidate] = []
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


@reported
def validate(run: Run, tables_digest: str) -> str:
    """Check the contract of the tables that the run was started for.

    Raises:
        UserError: the tables changed since, or break their contract.
    """
    from mlsd.data.storage import digest, load_tables

    design, problem = run.open()
    found = digest(run.state)
    if found != tables_digest:
        raise UserError(f"{run.state.data}: digest {found}, the run was started for {tables_digest}; start it again")
    problem.contract(design).check(load_tables(run.state))
    return found


@reported
def training_set(run: Run, tables_digest: str, window_end: str) -> str:
    """Build the training frame of these tables by a point-in-time join.

    Returns:
        Path of the frame.
    """
    from mlsd.features.training_set import build

    design, problem = run.open()
    logging.getLogger("mlsd").info("training set of tables %s", tables_digest)
    return str(build(design, run.state, problem, datetime.fromisoformat(window_end)))


def _refuse_if_missed(run: Run, outcome: Outcome) -> None:
    missed = [f"{c.name}: {c.measured}, designed {c.designed}" for c in outcome.checks if not c.passed]
    if missed:
        _hand_on(run, outcome)
        raise GateError("; ".join(missed))


def _hand_on(run: Run, outcome: Outcome) -> str:
    path = Path(run.folder) / "outcome.json"
    write_json(path, outcome.model_dump(mode="json"))
    return str(path)


def read_outcome(folder: Path) -> Outcome:
    """What the train step measured.

    Raises:
        UserError: it has left nothing.
    """
    return Outcome.model_validate(read_json(folder / "outcome.json", "run `mlsd train`"))


def _split(design: Design, table: pd.DataFrame, held: InService | None) -> tuple[pd.DataFrame, ...]:
    """By shares of time; with a model in service the newest requests are the test, none of which it has learnt from."""
    from mlsd.data.split import split, split_newest

    shares = design.training
    if held is None:
        return split(table, shares.validation_share, shares.test_share)
    manifest, _, _ = read_bundle(Path(held.folder), held.digest)
    learnt_until = manifest.train_window[1]
    return split_newest(table, shares.validation_share, shares.retrain_test_requests, learnt_until)


def _parts(
    run: Run, design: Design, problem: Problem, table: pd.DataFrame, outcome: Outcome, held: InService | None
) -> tuple[Parts, Outcome]:
    """The temporal split, if there is enough to learn from and nothing leaks.

    Raises:
        GateError: too few rows, labels of one class, or a feature that leaks.
    """
    from mlsd.training.rows import from_frame

    checks = gates.judge_amount(design, rows=len(table), positives=int(table["label"].sum()))
    outcome = outcome.model_copy(update={"checks": checks, "rows": {"all": len(table)}})
    _refuse_if_missed(run, outcome)
    frames = _split(design, table, held)
    train, validation, test = (from_frame(part, problem.feature_names) for part in frames)
    named = {"train": train, "validation": validation, "test": test}
    checks = [
        *checks,
        *gates.judge_parts(design, named),
        *gates.judge_leaks(design, train, problem.feature_names),
    ]
    rows = {"all": len(table), **{name: len(part) for name, part in named.items()}}
    outcome = outcome.model_copy(update={"checks": checks, "rows": rows})
    _refuse_if_missed(run, outcome)
    return Parts(train, validation, test), outcome


@reported
def train(run: Run, frame: str, tables_digest: str, window_start: str, champion: str) -> str:
    """Split by time, climb the ladder, choose.

    Args:
        run: the run.
        frame: path of the training frame.
        tables_digest: the data's version, for the lineage.
        window_start: rows before it are left out; empty for all rows.
        champion: the model in service as JSON of `InService`; empty if there is none.

    Returns:
        Path of the outcome.

    Raises:
        GateError: too few rows, labels of one class, or a feature that leaks: nothing is trained.
    """
    design, problem = run.open()
    table = pd.read_parquet(frame)
    if window_start:
        table = table[table["at"] >= pd.Timestamp(window_start)]
    outcome = Outcome(checks=[], rows={}, tables_digest=tables_digest, code_version=code_version(design.problem))
    held = InService.model_validate_json(champion) if champion else None
    parts, outcome = _parts(run, design, problem, table, outcome, held)
    lineage = Lineage(tables_digest, outcome.code_version, now(), packs.keep(run.state, design.problem))
    folder = Path(run.folder)
    with compiling(run.state, folder / "texts") as begin:
        rungs = run_leaderboard(design, problem, parts, lineage, folder / "models", begin)
    draw = Draw(
        rounds=design.training.bootstrap_rounds,
        seed=design.data.seed,
        margin=design.training.gates.max_champion_loss,
    )
    if held:
        choice = choose_next(rungs, parts.test, held, problem.feature_names, draw)
    else:
        choice = choose_first(rungs, parts.test)
    names = {name for name in (choice.champion, choice.challenger) if name}
    rungs = benchmark_engines(design, run.state, rungs, names, parts.test)
    return _hand_on(run, outcome.model_copy(update={"rungs": rungs, "choice": choice}))


@reported
def register(run: Run, outcome: str) -> str:
    """Track every rung in MLflow, refused ones too; register what was chosen and set the aliases.

    Returns:
        JSON of the registered versions by role: champion, challenger.

    Raises:
        GateError: nothing was chosen; the models are tracked with the reasons.
    """
    from mlsd.registry import registry
    from mlsd.training.recording import tracking

    design, _ = run.open()
    found = Outcome.model_validate_json(Path(outcome).read_text(encoding="utf-8"))
    tags = {"mlsd.tables_digest": found.tables_digest, "mlsd.design_digest": design.digest}
    tags |= {"mlsd.code_version": found.code_version, "mlsd.run": Path(run.folder).name}
    ladder = tracking.log_ladder(run.state, design, found.rungs, tags, Path(run.folder))
    roles = {found.choice.champion: "champion", found.choice.challenger: "challenger"}
    versions: dict[str, int] = {}
    for rung in found.rungs[1:]:
        run_id, source = tracking.log_rung(run.state, design, rung, ladder)
        if rung.name in roles:
            versions[roles[rung.name]] = registry.register(run.state, design, Path(str(rung.bundle)), run_id, source)
    if not versions:
        raise GateError("no model was registered")
    if "champion" in versions and "challenger" not in versions:
        registry.drop_alias(run.state, design, "challenger")  # it challenged a champion that is none any more
    registry.set_aliases(run.state, design, champion=versions.get("champion"), challenger=versions.get("challenger"))
    for version in versions.values():
        registry.fetch(run.state, design, version)
    write_json(Path(run.folder) / "versions.json", versions)
    return json.dumps(versions)
