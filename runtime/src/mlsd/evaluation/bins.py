"""Counts of values in intervals."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Bins(BaseModel):
    """A reference distribution: counts[i] values lie in (edges[i-1], edges[i]]; the outer bins are open; NaN apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    edges: list[Annotated[float, Field(allow_inf_nan=False)]]
    counts: list[Annotated[int, Field(ge=0)]]
    missing: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} inner edges need {len(self.edges) + 1} counts, not {len(self.counts)}")
        return self
