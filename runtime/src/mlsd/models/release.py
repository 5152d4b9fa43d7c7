"""What a serving process is told by its environment."""

import os

from pydantic import BaseModel, ConfigDict, ValidationError

from mlsd.core.errors import UserError

RELEASE = "MLSD_RELEASE"
SLOT = "MLSD_SLOT"
ALLOW_FAULTS = "MLSD_ALLOW_FAULTS"
WORKERS = "MLSD_WORKERS"


class Release(BaseModel):
    """What a serving process is told to serve: a version, never an alias."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release_id: int
    model_version: int
    model_dir: str
    model_digest: str


def release_from_env() -> Release:
    """The release in `$MLSD_RELEASE`.

    Raises:
        UserError: absent or not readable.
    """
    text = os.environ.get(RELEASE, "")
    if not text:
        raise UserError(f"{RELEASE}: not set, expected what `mlsd status --json` shows as details.champion")
    try:
        return Release.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "content"
        raise UserError(f"{RELEASE}: {field}: found {text!r}: {first['msg']}") from None


def workers() -> int:
    """Processes of this slot, from `$MLSD_WORKERS`: BentoML's supervisor asks before any design is read."""
    text = os.environ.get(WORKERS, "1")
    return int(text) if text.isdigit() and int(text) else 1
