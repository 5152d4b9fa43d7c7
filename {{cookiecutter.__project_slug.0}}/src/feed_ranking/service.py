"""The model server of the feed: `POST /rank` under BentoML."""

import bentoml

from feed_ranking.problem import PROBLEM
from mlsd.models.release import workers
from mlsd.serving.app import application
from mlsd.serving.runtime import start

REQUEST_LIMIT_S = 5  # of BentoML, for whatever is not `/rank`, which has tighter deadlines of its own
APP = application()


@bentoml.asgi_app(APP, path="/")
class FeedRanking:
    """Ranks up to 500 candidate posts for one user."""

    def __init__(self) -> None:
        """Load the release that this process was told to serve; BentoML calls this before it accepts a connection."""
        APP.serve(start(PROBLEM))

    async def __is_ready__(self) -> bool:
        """Ready once the model is verified and has scored a batch, until it is told to end; else 503 and why."""
        APP.require_ready()
        return True


# The metrics and the access log of this service are its own, with hop times and degraded answers.
SERVICE = bentoml.service(
    FeedRanking,
    name="feed_ranking",
    workers=workers(),
    traffic={"timeout": REQUEST_LIMIT_S},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
