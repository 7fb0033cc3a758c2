"""A proxy that counts the round trips of what goes through it, as they are on the wire."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

CHUNK = 1 << 16


class Wire(ThreadingTCPServer):
    """The way to one server. A round trip begins when a client speaks for the first time or after an answer."""

    daemon_threads = True

    def __init__(self, to_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.to_port = to_port
        self.port: int = self.server_address[1]
        self.trips: Counter[str] = Counter()  # by what was asked first


class _Carrier(BaseRequestHandler):
    """One connection, carried to the server and back."""

    server: Wire

    def handle(self) -> None:
        self._is_asking = False
        with socket.create_connection(("127.0.0.1", self.server.to_port)) as there:
            back = threading.Thread(target=self._answers, args=(there,))
            back.start()
            with suppress(OSError):
                while chunk := self.request.recv(CHUNK):
                    if not self._is_asking:
                        self.server.trips[label_of(chunk)] += 1
                    self._is_asking = True
                    there.sendall(chunk)
            with suppress(OSError):
                there.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answers(self, there: socket.socket) -> None:
        with suppress(OSError):
            while chunk := there.recv(CHUNK):
                self._is_asking = False
                self.request.sendall(chunk)
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)


def label_of(request: bytes) -> str:
    """What is asked: the last part of a path of HTTP, or the first command of a pipeline to Redis."""
    if found := re.match(rb"[A-Z]+ [^ ?]*/([^ ?/]*)[ ?]", request):
        return found[1].decode() or "/"
    found = re.match(rb"\*\d+\r\n\$\d+\r\n(\w+)", request)
    return found[1].decode().upper() if found else "?"


@contextmanager
def wires(*to_ports: int) -> Iterator[list[Wire]]:
    """A way to each port. Whoever goes through them has ended when the block ends."""
    with ExitStack() as ends:
        opened = [ends.enter_context(Wire(port)) for port in to_ports]
        for wire in opened:
            threading.Thread(target=wire.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            ends.callback(wire.shutdown)
        yield opened
