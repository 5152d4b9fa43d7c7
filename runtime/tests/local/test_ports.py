"""Ports of the stack."""

import socket

import pytest

from mlsd.core.errors import UserError
from mlsd.local.ports import HOST, find_ports, require_free


def test_five_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSD_PORT", "9100")
    ports = find_ports()
    assert (ports.edge, ports.admin, ports.slot("a"), ports.slot("b"), ports.hooks) == (9100, 9101, 9102, 9103, 9104)
    assert ports.edge_url == "http://127.0.0.1:9100"


def test_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLSD_PORT", raising=False)
    assert find_ports().edge == 8600


@pytest.mark.parametrize("text", ["80", "-1", "65532", "eight", "8600.0", "²", "1e4", " 8600"])
def test_not_a_port(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSD_PORT", text)
    with pytest.raises(UserError, match="MLSD_PORT: found"):
        find_ports()


def test_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} \(edge\) is in use.*MLSD_PORT"):
            require_free(port, "edge")
    require_free(port, "edge")
