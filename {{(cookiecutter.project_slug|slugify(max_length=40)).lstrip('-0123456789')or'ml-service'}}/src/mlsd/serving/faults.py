"""Planted faults: one release made sick, to see a rollout catch it. Off unless the process was started for that."""

import os
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mlsd.serving.release import ALLOW_FAULTS


class Faults(BaseModel):
    """What is wrong with this process on purpose."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    slow_ms: Annotated[float, Field(ge=0, le=60_000, allow_inf_nan=False)] = 0.0
    invert: bool = False
    error: bool = False


def allowed() -> bool:
    """Whether this process may be made sick; never the default."""
    return os.environ.get(ALLOW_FAULTS) == "1"
