"""Durable list of accepted triggers and their runs: what was accepted survives a kill, and a key has one run.

Two tables: `runs` (one row per execution) and `triggers` (every key ever accepted, and the run it belongs to).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    case,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)

from mlsd.core.result import EXIT_CODES
from mlsd.monitoring.triggers.trigger import Action

Status = Literal["accepted", "running", "succeeded", "refused", "failed"]
REFUSED = EXIT_CODES["fail"]  # of the command: it ran, and a gate said no
ATTEMPTS = 3

_metadata = MetaData()
_runs = Table(
    "runs",
    _metadata,
    Column("run_id", String, primary_key=True),
    Column("action", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("window_end", String, nullable=False),
    Column("status", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("accepted_at", String, nullable=False),
    Column("started_at", String),
    Column("finished_at", String),
    Column("exit_code", Integer),
    Column("log", String),
)
_triggers = Table(
    "triggers",
    _metadata,
    Column("key", String, primary_key=True),
    Column("run_id", String, ForeignKey("runs.run_id"), nullable=False),
    Column("accepted_at", String, nullable=False),
)
_COUNT = select(func.count()).where(_triggers.c.run_id == _runs.c.run_id).scalar_subquery()


class Run(BaseModel):
    """One execution of an action, and how many triggers it stands for."""

    run_id: str
    action: Action
    reason: str
    window_end: str
    status: Status
    attempts: int
    accepted_at: str
    started_at: str | None
    finished_at: str | None
    exit_code: int | None
    log: str | None
    triggers: int


def _stamp(ago: timedelta = timedelta()) -> str:
    return (datetime.now(UTC) - ago).isoformat(timespec="microseconds")


def _durable(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # accepted means on the disk


class Outbox:
    """The one writer of trigger state. Write transactions are immediate: two writers wait instead of failing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(f"sqlite:///{path}", isolation_level="AUTOCOMMIT", connect_args={"timeout": 20})
        event.listen(self._engine, "connect", _durable)
        with self._writing() as connection:
            _metadata.create_all(connection)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            connection.execute(text("BEGIN IMMEDIATE"))
            try:
                yield connection
            except BaseException:
                connection.execute(text("ROLLBACK"))
                raise
            connection.execute(text("COMMIT"))

    def accept(self, action: Action, key: str, reason: str, window_end: str, cooldown: timedelta) -> tuple[Run, bool]:
        """Take a trigger in. A known key, or any key of the same action within the cooldown, joins the run there is.

        Returns:
            The run, and whether this trigger created it.
        """
        if known := self.find(key):
            return known, False
        with self._writing() as connection:
            by_key = select(_triggers.c.run_id).where(_triggers.c.key == key)
            recent = and_(_runs.c.action == action, _runs.c.accepted_at > _stamp(cooldown))
            by_time = select(_runs.c.run_id).where(recent).order_by(_runs.c.accepted_at.desc()).limit(1)
            found = connection.scalar(by_key) or connection.scalar(by_time)
            run_id = found or uuid4().hex[:12]
            if not found:
                row = {"run_id": run_id, "action": action, "reason": reason, "window_end": window_end}
                connection.execute(insert(_runs).values(**row, status="accepted", attempts=0, accepted_at=_stamp()))
            entry = insert(_triggers).prefix_with("OR IGNORE")
            connection.execute(entry.values(key=key, run_id=run_id, accepted_at=_stamp()))
        return self.get(run_id), not found

    def _select(self, condition: ColumnElement[bool]) -> list[Run]:
        query = select(_runs, _COUNT.label("triggers")).where(condition).order_by(_runs.c.accepted_at)
        with self._engine.connect() as connection:
            return [Run.model_validate(dict(row)) for row in connection.execute(query).mappings()]

    def find(self, key: str) -> Run | None:
        """The run of a trigger."""
        return next(
            iter(self._select(_runs.c.run_id.in_(select(_triggers.c.run_id).where(_triggers.c.key == key)))), None
        )

    def get(self, run_id: str) -> Run:
        """One run; the caller knows that it exists."""
        return self._select(_runs.c.run_id == run_id)[0]

    def waiting(self, action: Action) -> list[Run]:
        """Runs that were accepted and not started, oldest first."""
        return self._select(and_(_runs.c.status == "accepted", _runs.c.action == action))

    def unfinished(self, action: Action) -> bool:
        """Whether an action has anything left to do: accepted runs, or ones that lost their process."""
        return bool(self._select(and_(_runs.c.status.in_(["accepted", "running"]), _runs.c.action == action)))

    def _move(self, run_id: str, before: Status, **values: Any) -> bool:
        change = update(_runs).where(_runs.c.run_id == run_id, _runs.c.status == before).values(**values)
        with self._writing() as connection:
            return connection.execute(change).rowcount == 1

    def claim(self, run_id: str, log: str) -> bool:
        """accepted -> running; false if another process was faster."""
        values = {"status": "running", "started_at": _stamp(), "log": log}
        return self._move(run_id, "accepted", attempts=_runs.c.attempts + 1, **values)

    def finish(self, run_id: str, exit_code: int) -> bool:
        """running -> succeeded; refused, when a gate said no; or failed."""
        status = {0: "succeeded", REFUSED: "refused"}.get(exit_code, "failed")
        return self._move(run_id, "running", status=status, exit_code=exit_code, finished_at=_stamp())

    def interrupted(self, run_id: str) -> bool:
        """running -> accepted again, for the next start to resume; after the third attempt -> failed."""
        return self._move(run_id, "running", status=case((_runs.c.attempts < ATTEMPTS, "accepted"), else_="failed"))

    def recover(self, action: Action) -> None:
        """Runs of an action whose process is gone are accepted again; only for the holder of the action's lock."""
        for run in self._select(and_(_runs.c.status == "running", _runs.c.action == action)):
            self.interrupted(run.run_id)
