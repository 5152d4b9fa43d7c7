"""Two of the small model servers of `upstream.py` on one port, and a supervisor that replaces one that dies."""

import signal
import socket
import subprocess
import sys
import threading
import time

WORKERS, AGAIN_S = 2, 0.3


def work(listening: int) -> None:
    """One worker; whoever is first takes a connection, so what a dying one has not taken is not lost."""
    from support import upstream

    server = upstream.Server(("127.0.0.1", 0), upstream.Handler, bind_and_activate=False)
    server.socket = socket.socket(fileno=listening)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=upstream.finish).start())
    server.serve_forever()


def supervise(port: int) -> None:
    """Until SIGTERM, which ends the workers first."""
    listening = socket.create_server(("127.0.0.1", port), backlog=256)
    listening.setblocking(False)
    number = listening.fileno()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, str(number), "worker"], pass_fds=[number])

    workers = [started() for _ in range(WORKERS)]
    while not stopping.wait(0.05):
        for k, worker in enumerate(workers):
            if worker.poll() is not None:
                time.sleep(AGAIN_S)
                workers[k] = started()
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait(10)


if __name__ == "__main__":
    if "worker" in sys.argv[2:]:
        work(int(sys.argv[1]))
    else:
        supervise(int(sys.argv[1]))
