"""The record of a request, as soon as the log's own thread has written it."""

from waiting import within

from mlsd.home import Home
from mlsd.serving.log_search import find
from mlsd.serving.record import Record

WAIT_S = 20


def logged(home: Home, request_id: str) -> Record:
    """Wait for the record of one request."""
    assert within(WAIT_S, lambda: find(home.feature_log, request_id) is not None), f"{request_id} was not logged"
    record = find(home.feature_log, request_id)
    assert record is not None
    return record
