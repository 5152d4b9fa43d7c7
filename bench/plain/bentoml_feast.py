"""BentoML as in its quick start: a service class with one method, features by the Feast SDK."""

from typing import Any

import bentoml

from plain.quickstart import FromFeast


@bentoml.service(workers=1)
class Ranker:
    """`POST /rank`."""

    def __init__(self) -> None:
        self.ranker = FromFeast()

    @bentoml.api  # type: ignore[untyped-decorator]
    def rank(self, user_id: int, candidates: list[int], device: str = "mobile") -> dict[str, Any]:
        """Candidates, best first."""
        return self.ranker.rank(user_id, candidates, device)
