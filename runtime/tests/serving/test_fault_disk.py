"""Planted faults, disk: what a disk without room costs a running server."""

import json
import time

import pytest

from mlsd.features.snapshot import current
from mlsd.prediction_log.writer import read_records
from support import small_disk
from support.connection import ClientConnection, request
from support.gameday import Seen
from support.model_server import Server, candidates

pytestmark = pytest.mark.slow

REQUESTS = 60
DROPPED = "mlsd_feature_log_dropped_total"
SOON_S = 60.0


def ask(connection: ClientConnection, body: bytes, name: str) -> int:
    answer = connection.ask(request(body, f"x-request-id: {name}"))
    assert answer is not None
    return answer.status


@pytest.mark.fault("Disk full for feature log", "serving unaffected; drops counted; said once; whole again with space")
def test_a_full_disk_costs_records_and_not_one_answer(attacked: Server, seen: Seen) -> None:
    """The log's own small disk is filled to the last byte under a running server, and emptied again."""
    folder = attacked.home.feature_log
    body = json.dumps({"user_id": 39, "candidates": candidates(current(attacked.home), 300)}).encode()
    with ClientConnection(int(attacked.url.rpartition(":")[2])) as connection:
        assert ask(connection, body, "before") == 200
        before = attacked.metrics()[DROPPED]
        with small_disk.full(attacked.process, folder) as told:
            codes = [ask(connection, body, f"lost-{k}") for k in range(REQUESTS)]
            until = time.monotonic() + SOON_S
            while (lost := attacked.metrics()[DROPPED] - before) < REQUESTS - 2 and time.monotonic() < until:
                time.sleep(0.05)
        assert codes == [200] * REQUESTS
        assert REQUESTS - 2 <= lost <= REQUESTS  # one or two may fit into what the last block has left
        assert 1 <= attacked.log.read_text().count("records are dropped") <= 6  # not once for each record
        until, number, kept = time.monotonic() + SOON_S, 0, set[str]()
        while not any(name.startswith("after-") for name in kept):
            assert time.monotonic() < until
            number += 1
            ask(connection, body, f"after-{number}")
            time.sleep(0.05)
            kept = {record.request_id for record in read_records(small_disk.seen_by(attacked.process, folder))}
    assert "before" in kept
    seen(f"{told}: {REQUESTS} of {REQUESTS} answered, {lost:.0f} records dropped and counted, writes again after it")
