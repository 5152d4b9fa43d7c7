"""The model server of the bench: the template's own serving code, on the bench's problem."""

import os

import bentoml

from bench_pack.problem import PROBLEM
from mlsd.models.release import workers
from mlsd.serving.app import application
from mlsd.serving.runtime import Runtime, start
from mlsd.tasks.ranking import response

APP = application()


def _without_log(runtime: Runtime) -> None:
    """The same server with its feature log off: neither the records nor their bytes are made."""
    response.record = lambda *_, **__: None  # type: ignore[assignment]
    runtime.log.append = lambda record: None  # type: ignore[method-assign]


@bentoml.asgi_app(APP, path="/")
class Bench:
    """Ranks up to 500 candidates for one user."""

    def __init__(self) -> None:
        """Load the release that this process was told to serve."""
        runtime = start(PROBLEM)
        if runtime is not None and os.environ.get("BENCH_FEATURE_LOG") == "off":
            _without_log(runtime)
        APP.serve(runtime)

    async def __is_ready__(self) -> bool:
        """Ready once the model is verified and has scored a batch, until the process is told to end."""
        return APP.ready


SERVICE = bentoml.service(
    Bench,
    name="bench",
    workers=workers(),
    traffic={"timeout": 5},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
