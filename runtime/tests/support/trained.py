"""What a training leaves behind, without the training."""

from datetime import UTC, datetime

from mlsd.core.home import Home
from mlsd.registry.trainings import Training, record


def trained(
    home: Home, champion: int | None = 1, challenger: int | None = 2, *, tables: str = "tables", refused: str = ""
) -> None:
    """The record of a training that registered these versions, or none."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    record(home, Training(at=at, tables_digest=tables, champion=champion, challenger=challenger, refused=refused))
