"""What the ledger holds: releases, the stage of each, and every change of a stage."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import DateTime, Dialect, ForeignKey, Index, TypeDecorator, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Stage = Literal["candidate", "shadow", "canary", "champion", "previous", "rejected", "rolled_back"]
# Order: shadow, canary, champion. Nothing else is possible, so nothing can be skipped.
NEXT: dict[str, frozenset[Stage]] = {
    "candidate": frozenset({"shadow", "rejected"}),
    "shadow": frozenset({"canary", "rejected"}),
    "canary": frozenset({"champion", "rejected"}),
    "champion": frozenset({"previous", "rolled_back"}),
    "previous": frozenset({"champion"}),
    "rejected": frozenset(),
    "rolled_back": frozenset(),
}
IN_PROGRESS: tuple[Stage, ...] = ("candidate", "shadow", "canary")


@dataclass(frozen=True)
class Model:
    """A registered model, as a release pins it."""

    version: int
    digest: str
    feature_service: str
    code_version: str


class _Utc(TypeDecorator[datetime]):
    """Aware times in, aware times out; SQLite keeps no zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class Base(DeclarativeBase):
    """The ledger's tables."""


class Release(Base):
    """Everything that answers a request, pinned together. `since`: when it entered its stage, world clock."""

    __tablename__ = "releases"
    __table_args__ = (
        Index(
            "one_champion",
            "stage",
            unique=True,
            sqlite_where=text("stage = 'champion'"),
            postgresql_where=text("stage = 'champion'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_version: Mapped[int]
    model_digest: Mapped[str]
    feature_service: Mapped[str]
    design_digest: Mapped[str]
    code_version: Mapped[str]
    stage: Mapped[str]
    slot: Mapped[str | None]
    since: Mapped[datetime] = mapped_column(_Utc)

    @property
    def name(self) -> str:
        """As messages call it."""
        return f"release {self.id} (model {self.model_version})"


class Transition(Base):
    """One change of a stage; the first has no stage before it."""

    __tablename__ = "transitions"

    id: Mapped[int] = mapped_column(primary_key=True)
    release_id: Mapped[int] = mapped_column(ForeignKey("releases.id"))
    from_stage: Mapped[str | None]
    to_stage: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime] = mapped_column(_Utc)
