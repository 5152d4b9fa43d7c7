"""The ledger of releases: the one truth about what is live. Stages change by compare-and-swap, all of it recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.delivery.releases.records import IN_PROGRESS, NEXT, Base, Model, Release, Stage, Transition

BUSY_S = 10


class ConflictError(UserError):
    """Somebody else changed the stage first, or the change would skip one; nothing was written."""


def _manual(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _immediate(connection: Any) -> None:
    # The driver's own deferred BEGIN would let two readers both believe that they may write.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class Ledger:
    """Reads and changes the ledger; safe from several processes at once."""

    def __init__(self, path: Path) -> None:
        """Open the database, and make it if it is absent.

        Raises:
            UserError: the file is not a ledger.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_S})
        event.listen(self._engine, "connect", _manual)
        event.listen(self._engine, "begin", _immediate)
        with self._transaction() as session:
            Base.metadata.create_all(session.connection())

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        try:
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except IntegrityError as error:
            raise ConflictError(f"{self._path}: refused: {error.orig}") from None
        except OperationalError as error:
            raise UserError(f"{self._path}: {error.orig}; try again") from None
        except SQLAlchemyError as error:
            reason = error.orig if isinstance(error, DBAPIError) else type(error).__name__
            raise UserError(
                f"{self._path}: not a ledger of releases ({reason}); move it away, and `mlsd up` starts a new one "
                "with the newest training's champion"
            ) from None

    def _enter(self, session: Session, release: int, change: tuple[str | None, Stage], actor: str, reason: str) -> None:
        """Swap the stage if it still is the expected one, and record that."""
        before, to = change
        where = (Release.id == release, Release.stage == before)
        if (
            before
            and not session.scalars(
                update(Release).where(*where).values(stage=to, since=clock.now()).returning(Release.id)
            ).all()
        ):
            found = session.get(Release, release)
            raise ConflictError(f"release {release}: found {found.stage if found else 'nothing'}, expected {before}")
        entry = {"release_id": release, "from_stage": before, "to_stage": to, "actor": actor, "reason": reason}
        session.add(Transition(**entry, at=clock.now()))

    def add(self, model: Model, design_digest: str, actor: str, reason: str) -> Release:
        """A new release in stage `candidate`."""
        with self._transaction() as session:
            return self._insert(session, model, design_digest, "candidate", (actor, reason))

    def bootstrap(self, model: Model, design_digest: str, actor: str) -> Release:
        """The very first release, live at once: there is nothing to compare it with.

        Raises:
            ConflictError: there is a champion.
        """
        with self._transaction() as session:
            if session.scalars(select(Release).where(Release.stage == "champion")).first():
                raise ConflictError("there is a champion already; a new model goes through `mlsd release`")
            return self._insert(session, model, design_digest, "champion", (actor, "the first release"))

    def _insert(
        self, session: Session, model: Model, design_digest: str, stage: Stage, why: tuple[str, str]
    ) -> Release:
        release = Release(
            model_version=model.version,
            model_digest=model.digest,
            feature_service=model.feature_service,
            design_digest=design_digest,
            code_version=model.code_version,
            stage=stage,
            slot=None,
            since=clock.now(),
        )
        session.add(release)
        session.flush()
        self._enter(session, release.id, (None, stage), *why)
        return release

    def move(self, release: int, before: Stage, to: Stage, actor: str, reason: str) -> None:
        """One step of one release that touches no champion.

        Raises:
            ConflictError: it is not in stage `before`, or `to` does not follow from it.
        """
        if to not in NEXT[before] or "champion" in {before, to}:
            raise ConflictError(f"release {release}: {before} -> {to} is not a step; allowed: {sorted(NEXT[before])}")
        with self._transaction() as session:
            self._enter(session, release, (before, to), actor, reason)

    def promote(self, release: int, champion: int, actor: str, reason: str) -> None:
        """The canary becomes champion and the champion becomes previous: both or nothing.

        Raises:
            ConflictError: `champion` is not champion any more, or `release` is no canary.
        """
        with self._transaction() as session:
            self._enter(session, champion, ("champion", "previous"), actor, reason)
            self._enter(session, release, ("canary", "champion"), actor, reason)

    def roll_back(self, champion: int, previous: int, actor: str, reason: str) -> None:
        """The previous release becomes champion again: both or nothing.

        Raises:
            ConflictError: one of the two is not in that stage any more.
        """
        with self._transaction() as session:
            self._enter(session, champion, ("champion", "rolled_back"), actor, reason)
            self._enter(session, previous, ("previous", "champion"), actor, reason)

    def assign_slot(self, release: int, slot: str | None) -> None:
        """Note which slot runs a release; whoever was there is out."""
        with self._transaction() as session:
            if slot:
                session.execute(update(Release).where(Release.slot == slot).values(slot=None))
            session.execute(update(Release).where(Release.id == release).values(slot=slot))

    def _first(self, *where: Any) -> Release | None:
        with self._transaction() as session:
            return session.scalars(select(Release).where(*where)).first()

    def champion(self) -> Release | None:
        """What is live."""
        return self._first(Release.stage == "champion")

    def get(self, release: int) -> Release:
        """One release.

        Raises:
            UserError: there is none with that number.
        """
        found = self._first(Release.id == release)
        if found is None:
            raise UserError(f"release {release}: not in {self._path}")
        return found

    def previous(self, most: int) -> list[Release]:
        """Releases to go back to, the newest first, at most `most`."""
        query = select(Release).where(Release.stage == "previous").order_by(Release.since.desc(), Release.id.desc())
        with self._transaction() as session:
            return list(session.scalars(query.limit(most)))

    def in_progress(self) -> list[Release]:
        """Releases between candidate and champion."""
        with self._transaction() as session:
            return list(session.scalars(select(Release).where(Release.stage.in_(IN_PROGRESS))))

    def releases(self) -> list[Release]:
        """All of them, the oldest first."""
        with self._transaction() as session:
            return list(session.scalars(select(Release).order_by(Release.id)))

    def history(self) -> list[Transition]:
        """Every change of a stage, the oldest first."""
        with self._transaction() as session:
            return list(session.scalars(select(Transition).order_by(Transition.id)))
