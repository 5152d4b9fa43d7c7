"""Where monitoring stands between two runs: how far traffic has been judged, which actions were asked for when."""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json


class State(BaseModel):
    """`judged` is the end of the last window with a verdict, of release `release_id`; times on the world's clock."""

    release_id: int = 0
    judged: datetime | None = None
    fired: dict[str, datetime] = {}
    last_key: str | None = None


def path_of(home: Home) -> Path:
    """One small file."""
    return home.root / "monitoring.json"


def load(home: Home) -> State:
    """The state; a fresh one if there is none.

    Raises:
        UserError: the file is damaged.
    """
    path = path_of(home)
    try:
        return State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return State()
    except ValueError as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); delete it") from None


def store(home: Home, state: State) -> None:
    """Replace the file in one step."""
    write_json(path_of(home), state.model_dump(mode="json"))
