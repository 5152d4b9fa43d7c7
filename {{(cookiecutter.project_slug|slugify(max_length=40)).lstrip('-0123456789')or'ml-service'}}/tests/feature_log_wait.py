"""The record of a request, as soon as the log's own thread has written it."""

import time

from mlsd.home import Home
from mlsd.serving.log_search import find
from mlsd.serving.record import Record

WAIT_S = 20


def logged(home: Home, request_id: str) -> Record:
    """Wait for the record of one request."""
    until = time.monotonic() + WAIT_S
    while (record := find(home.feature_log, request_id)) is None:
        assert time.monotonic() < until, f"{request_id} was not logged"
        time.sleep(0.02)
    return record
