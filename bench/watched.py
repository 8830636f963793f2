"""An upstream that notes when a stream's connection is closed on it: how long a client's leaving takes to get here.

It lives in the bench's own process, so that leaving and noticing are read from one clock.
"""

from __future__ import annotations

import queue
import select
import socket
import threading
import time

from bench.paced import FINISH, HEAD, OPENING, TOKEN, framed

EVENTS = 60
GAP_S = 0.02


class Watched:
    """A server of slow streams on a thread of its own. `closed` receives the time at which each broken stream was noticed."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._server.getsockname()[1])
        self.closed: queue.Queue[float] = queue.Queue()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while _asked(connection):
                    connection.sendall(HEAD + framed(OPENING))
                    for _ in range(EVENTS):
                        readable, _, _ = select.select([connection], [], [], GAP_S)
                        if readable and not connection.recv(1, socket.MSG_PEEK):
                            raise ConnectionError
                        connection.sendall(framed(TOKEN))
                    connection.sendall(framed(FINISH) + b"0\r\n\r\n")
            except OSError:
                self.closed.put(time.perf_counter())


def _asked(connection: socket.socket) -> bool:
    """Read one request; False when the peer ends the connection between two, as it may."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return False
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < (lengths or [0])[0]:
        body += connection.recv(65536)
    return True
