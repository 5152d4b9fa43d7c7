"""Where MLflow keeps runs and models: SQLite under the state folder, or the server that MLSD_MLFLOW_URL names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlsd.core.errors import UserError
from mlsd.core.home import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own defaults wait 260 s for a dead server (FIELD-NOTES: measured), and report usage to its makers.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
}


def tracking_uri(home: Home) -> str:
    """The address of the server, or of the database below the state folder.

    Not MLFLOW_TRACKING_URI: MLflow itself sets that one, for the whole process, whenever an address is chosen.
    """
    return os.environ.get("MLSD_MLFLOW_URL") or f"sqlite:///{home.mlflow / 'mlflow.db'}"


def prepare(home: Home) -> str:
    """Set the bounds of every MLflow call in this process; returns the address. Call before MLflow is imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    home.mlflow.mkdir(parents=True, exist_ok=True)
    return tracking_uri(home)


@contextmanager
def client(home: Home) -> Iterator["MlflowClient"]:
    """A client of the store.

    Raises:
        UserError: the store does not answer within its deadline, or refuses.
    """
    uri = prepare(home)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        yield MlflowClient(tracking_uri=uri, registry_uri=uri)
    except MlflowException as error:
        raise UserError(f"model registry {uri}: {' '.join(str(error).split())[:300]}") from None
