"""Remote engines against a stand-in that is true to the protocols: remote_stand_in.py, not the servers themselves."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.design.online_sections import Remote
from mlsd.models.engines.deadline import RemoteError
from mlsd.models.engines.remote import RemoteEngine, connect
from mlsd.models.selection import load_now
from support.boosters import WIDTH, boosted, bundled, rows
from support.gameday import Seen
from support.remote_stand_in import FEATURES, MODEL, Handler, expected, stand_in

PROTOCOLS = ("triton", "tf_serving", "vllm")
DEADLINE_S = 1.0
BOUND_S = 10.0  # a server that hangs or drips takes longer
MATRIX = np.array([[1.0, 2.0, 3.0], [-0.5, np.nan, 0.25], [1e-3, 100.0, np.nan]], np.float32)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, type[Handler]]]:
    with stand_in() as found:
        yield found


@pytest.fixture(autouse=True)
def well(server: tuple[str, type[Handler]]) -> Iterator[None]:
    yield
    server[1].mode = "ok"


def engine(url: str, protocol: str, deadline_s: float = 5.0) -> RemoteEngine:
    return connect(Remote.model_validate({"protocol": protocol, "url": url, "model": MODEL}), FEATURES, deadline_s)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_strict_server_is_asked_and_read_as_documented(server: tuple[str, type[Handler]], protocol: str) -> None:
    """5.11: adapters for Triton, TF Serving and vLLM; missing values arrive as missing values."""
    remote = engine(f"{server[0]}/", protocol)
    assert (remote.name, remote.remote, remote.width) == (protocol, True, 3)
    assert np.allclose(remote.raw(MATRIX), expected(MATRIX))
    server[1].mode = "json"  # Triton: no binary output; TF Serving: a column instead of a list
    assert np.allclose(remote.raw(MATRIX), expected(MATRIX))


def test_connections_are_kept(server: tuple[str, type[Handler]]) -> None:
    server[1].connections.clear()
    remote = engine(server[0], "triton")
    for _ in range(20):
        remote.raw(MATRIX)
    assert len(server[1].connections) == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mode", ["500", "shape", "nan", "text", "cut", "huge"])
def test_a_bad_answer_is_an_exception_never_a_score(
    server: tuple[str, type[Handler]], protocol: str, mode: str
) -> None:
    remote = engine(server[0], protocol)
    server[1].mode = mode
    with pytest.raises(RemoteError):
        remote.raw(MATRIX)
    server[1].mode = "ok"
    assert np.allclose(remote.raw(MATRIX), expected(MATRIX)), "the next call is as good as new"


@pytest.mark.fault("Model server frozen or dripping", "cut off at the inference hop's deadline, whatever it sends")
@pytest.mark.parametrize("mode", ["hang", "drip"])
def test_the_deadline_is_that_of_the_whole_call(server: tuple[str, type[Handler]], mode: str, seen: Seen) -> None:
    """A client's own read timeout never fires while a byte comes now and then."""
    remote = engine(server[0], "triton", DEADLINE_S)
    remote.raw(MATRIX)
    server[1].mode = mode
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within 1000 ms"):
        remote.raw(MATRIX)
    took = time.monotonic() - started
    seen(f"{mode}: given up after {took * 1e3:.0f} ms, designed {DEADLINE_S * 1e3:.0f}")
    assert DEADLINE_S * 0.9 <= took < BOUND_S


def test_threads_have_deadlines_of_their_own(server: tuple[str, type[Handler]]) -> None:
    remote = engine(server[0], "tf_serving")
    found: list[bool] = []

    def many() -> None:
        found.extend(np.allclose(remote.raw(MATRIX), expected(MATRIX)) for _ in range(20))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_a_server_that_is_not_there_or_does_not_accept_is_an_exception() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(RemoteError, match="ConnectError"):
            engine(url, "triton").raw(MATRIX)
        bound.listen(0)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            engine(url, "triton", DEADLINE_S).raw(MATRIX)  # the kernel accepts, nobody reads
        assert time.monotonic() - started < BOUND_S


def test_another_model_name_is_refused_with_the_servers_own_words(server: tuple[str, type[Handler]]) -> None:
    settings = Remote.model_validate({"protocol": "vllm", "url": server[0], "model": "other"})
    with pytest.raises(RemoteError, match="model `other` does not exist"):
        connect(settings, FEATURES, 5.0).raw(MATRIX)


def test_the_design_names_the_remote_engine(tmp_path: Path, design: Design) -> None:
    """The bundle gives names, digest and calibration; the numbers come from elsewhere."""
    digest = bundled(tmp_path / "1", boosted(), graphs=False)
    content = design.serving.model_dump() | {
        "engine": "remote",
        "remote": {"protocol": "triton", "url": "http://127.0.0.1:9", "model": MODEL},
    }
    settings = type(design.serving).model_validate(content)
    bundle = load_now(settings, tmp_path / "1", digest, Home(tmp_path), 0.5)
    assert (bundle.engine, bundle.scorer.width, bundle.scorer.remote) == ("triton", WIDTH, True)
    with pytest.raises(RemoteError):
        bundle.score(rows(5))
