"""What the last training left: the versions it registered, or why it was refused. State, not a report."""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json


class Training(BaseModel):
    """One training: registered versions by role (None: none), and what its gates said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: datetime
    tables_digest: str
    champion: int | None
    challenger: int | None
    refused: str = ""
    """The gates that refused, each with its number; empty if a model was registered."""


def path_of(home: Home) -> Path:
    """The file that holds it."""
    return home.root / "training.json"


def record(home: Home, training: Training) -> None:
    """Remember the newest training."""
    write_json(path_of(home), training.model_dump(mode="json"))


def newest(home: Home) -> Training | None:
    """The newest training; None if there was none.

    Raises:
        UserError: the file is damaged.
    """
    path = path_of(home)
    try:
        return Training.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise UserError(f"{path}: {field}: {first['msg']}; run `mlsd train` again") from None


def first_champion(home: Home) -> int:
    """The version that goes live first: the champion of the newest training.

    Raises:
        UserError: there was no training, or its gates refused every model; the message says which, and the way on.
    """
    found = newest(home)
    if found is None:
        raise UserError(f"{path_of(home)}: not found; run `mlsd train` first")
    if found.champion is None:
        raise UserError(
            f"no model to serve: the training of {found.at.isoformat(timespec='minutes')} registered none, because its "
            f"gates refused ({found.refused}); change the data or `training` in design.yaml, then run `mlsd train`"
        )
    return found.champion
