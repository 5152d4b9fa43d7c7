"""FastAPI as in its tutorial, features by the Feast SDK."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from plain.quickstart import FromFeast

app = FastAPI()
RANKER = FromFeast()


class RankRequest(BaseModel):
    """One user and the candidates to order."""

    user_id: int
    candidates: list[int]
    device: str = "mobile"


@app.get("/livez")
def livez() -> str:
    """The process answers."""
    return "ok"


@app.post("/rank")
def rank(request: RankRequest) -> dict[str, Any]:
    """Candidates, best first."""
    return RANKER.rank(request.user_id, request.candidates, request.device)
