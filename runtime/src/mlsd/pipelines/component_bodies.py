"""What the pipeline's steps do: plain functions, called by the components, by tests and by nothing else."""

import json
import logging
from datetime import datetime
from pathlib import Path

import pandas as pd

from mlsd.core.clock import now
from mlsd.core.errors import GateError, UserError
from mlsd.core.home import write_json
from mlsd.models import packs
from mlsd.models.code_version import code_version
from mlsd.pipelines.run import Outcome, Run, hand_on, reported
from mlsd.pipelines.splitting import split_rows
from mlsd.problem.context import Context
from mlsd.training.bundling import Lineage
from mlsd.training.engine_benchmark import benchmark_engines, compiling
from mlsd.training.gating.winner import Draw, InService, choose_first, choose_next
from mlsd.training.leaderboard import run_leaderboard


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
    return str(build(Context.of(design, run.state, problem), datetime.fromisoformat(window_end)))


@reported
def train(run: Run, frame: str, tables_digest: str, window_start: str, champion: str) -> str:
    """Split by time, fit the leaderboard, choose.

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
    parts, outcome = split_rows(run, design, problem, table, outcome, held)
    lineage = Lineage(tables_digest, outcome.code_version, now(), packs.keep(run.state, design.problem))
    folder = Path(run.folder)
    with compiling(run.state, folder / "texts") as begin:
        candidates = run_leaderboard(design, problem, parts, lineage, folder / "models", begin)
    draw = Draw(
        rounds=design.training.bootstrap_rounds,
        seed=design.data.seed,
        margin=design.training.gates.max_champion_loss,
    )
    if held:
        choice = choose_next(candidates, parts.test, held, problem.feature_names, draw)
    else:
        choice = choose_first(candidates, parts.test)
    names = {name for name in (choice.champion, choice.challenger) if name}
    candidates = benchmark_engines(design, run.state, candidates, names, parts.test)
    return hand_on(run, outcome.model_copy(update={"candidates": candidates, "choice": choice}))


@reported
def register(run: Run, outcome: str) -> str:
    """Track every candidate in MLflow, refused ones too; register what was chosen and set the aliases.

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
    leaderboard = tracking.log_leaderboard(run.state, design, found.candidates, tags, Path(run.folder))
    roles = {found.choice.champion: "champion", found.choice.challenger: "challenger"}
    versions: dict[str, int] = {}
    for candidate in found.candidates[1:]:
        run_id, source = tracking.log_candidate(run.state, design, candidate, leaderboard)
        if candidate.name in roles:
            versions[roles[candidate.name]] = registry.register(
                run.state, design, Path(str(candidate.bundle)), run_id, source
            )
    if not versions:
        raise GateError("no model was registered")
    if "champion" in versions and "challenger" not in versions:
        registry.drop_alias(run.state, design, "challenger")  # it challenged a champion that is none any more
    registry.set_aliases(run.state, design, champion=versions.get("champion"), challenger=versions.get("challenger"))
    for version in versions.values():
        registry.fetch(run.state, design, version)
    write_json(Path(run.folder) / "versions.json", versions)
    return json.dumps(versions)
