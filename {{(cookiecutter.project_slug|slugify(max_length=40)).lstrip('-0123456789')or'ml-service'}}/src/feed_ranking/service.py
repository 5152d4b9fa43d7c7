"""The model server of the feed: `POST /rank` under BentoML, one worker per process."""

import bentoml

from feed_ranking.problem import PROBLEM
from mlsd.serving.app import application
from mlsd.serving.runtime import start

REQUEST_LIMIT_S = (
    5  # of BentoML: bounds a client that sends its body slowly; the hops have tighter deadlines of their own
)
APP = application()


@bentoml.asgi_app(APP, path="/")
class FeedRanking:
    """Ranks up to 500 candidate posts for one user."""

    def __init__(self) -> None:
        """Load the release that this process was told to serve; BentoML calls this before it accepts a connection."""
        APP.state.runtime = start(PROBLEM)

    async def __is_ready__(self) -> bool:
        """Ready once the model is verified and has scored a batch."""
        return APP.state.runtime is not None and APP.state.runtime.ready


# The metrics and the access log of this service are its own, with hop times and degraded answers.
SERVICE = bentoml.service(
    FeedRanking,
    name="feed_ranking",
    workers=1,
    traffic={"timeout": REQUEST_LIMIT_S},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
