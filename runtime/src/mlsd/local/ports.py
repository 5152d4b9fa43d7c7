"""Ports of the embedded stack: five in a row from `$MLSD_PORT`, all on the loopback address."""

import errno
import json
import os
import socket
from dataclasses import dataclass

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.local import processes

HOST = "127.0.0.1"
FIRST = 8600
COUNT = 5
RECORD = "ports.json"


@dataclass(frozen=True)
class Ports:
    """The edge, Envoy's admin page, the two slots a release can run in, the hook server."""

    edge: int
    admin: int
    a: int
    b: int
    hooks: int

    def slot(self, name: str) -> int:
        """Port of slot `a` or `b`."""
        return {"a": self.a, "b": self.b}[name]

    @property
    def edge_url(self) -> str:
        """Where users' requests go."""
        return f"http://{HOST}:{self.edge}"


def find_ports() -> Ports:
    """Those to start a stack on; `ports_of` knows where one runs.

    Raises:
        UserError: MLSD_PORT is not a number from 1024 to 65531.
    """
    text = os.environ.get("MLSD_PORT") or str(FIRST)
    highest = 65536 - COUNT
    if not text.isascii() or not text.isdigit() or not 1024 <= int(text) <= highest:
        raise UserError(f"MLSD_PORT: found {text!r}, expected a port from 1024 to {highest}")
    return Ports(*range(int(text), int(text) + COUNT))


def record(home: Home, ports: Ports) -> None:
    """Note where the stack of this state folder runs."""
    write_json(home.run / RECORD, {"first": ports.edge})


def ports_of(home: Home) -> Ports:
    """Those of the stack that runs from this state folder, whatever the shell says; else those to start it on.

    Raises:
        UserError: MLSD_PORT names others than those of the running stack, or is no port.
    """
    try:
        first = int(json.loads((home.run / RECORD).read_text(encoding="utf-8"))["first"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return find_ports()
    if not processes.running(home):
        return find_ports()
    wanted = os.environ.get("MLSD_PORT")
    if wanted and wanted != str(first):
        raise UserError(f"MLSD_PORT: found {wanted!r}, expected {first}, where the stack of {home.root} runs")
    return Ports(*range(first, first + COUNT))


def require_free(port: int, what: str) -> None:
    """Check that nobody listens.

    Raises:
        UserError: the port is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            message = f"port {port} ({what}) is in use; stop what listens there, or set MLSD_PORT to another first port"
            raise UserError(message) from None
