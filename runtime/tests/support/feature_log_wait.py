"""The record of a request, as soon as the log's own thread has written it."""

from mlsd.core.home import Home
from mlsd.prediction_log.record import Record
from mlsd.prediction_log.search import find
from support.waiting import within

WAIT_S = 20


def logged(home: Home, request_id: str) -> Record:
    """Wait for the record of one request."""
    assert within(WAIT_S, lambda: find(home.feature_log, request_id) is not None), f"{request_id} was not logged"
    record = find(home.feature_log, request_id)
    assert record is not None
    return record
