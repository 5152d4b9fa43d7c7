"""BentoML at its best without a store: an async method with a pydantic request, features in the process."""

from typing import Any

import bentoml
from pydantic import BaseModel, Field

from plain.quickstart import FromMemory


class RankRequest(BaseModel):
    """One user and the candidates to order."""

    user_id: int
    candidates: list[int] = Field(min_length=1, max_length=500)
    device: str = "mobile"


@bentoml.service(workers=1)
class Ranker:
    """`POST /rank`."""

    def __init__(self) -> None:
        self.ranker = FromMemory()

    @bentoml.api  # type: ignore[untyped-decorator]
    async def rank(self, request: RankRequest, /) -> dict[str, Any]:
        """Candidates, best first."""
        return self.ranker.rank(request.user_id, request.candidates, request.device)
