"""What a gateway answers while the servers that it needs to begin with are away: 503, and that it lives."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from typing import Final

import orjson

POLL_SECONDS: Final = 0.1
CLIENT_SECONDS: Final = 0.5  # for one client, whatever it sends: others wait behind it
MOST_BYTES: Final = 65_536


class WaitingRoom:
    """Answers everybody who comes to a listening socket, one after the other, from a thread of its own until it ends.

    `why` is told, and may be changed meanwhile.
    """

    def __init__(self, listener: socket.socket, why: str) -> None:
        self.why = why
        self._listener = listener
        listener.setblocking(False)  # another process may take who comes
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._answer_all, name="tandem-waiting-room", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more: who comes next waits for who listens next."""
        self._ends.set()
        self._thread.join()

    def _answer_all(self) -> None:
        while not self._ends.is_set():
            ready, _, _ = select.select([self._listener], [], [], POLL_SECONDS)
            if ready:
                with suppress(OSError):  # who has left, or was taken by another process
                    taken, _ = self._listener.accept()
                    with taken:
                        self._answer(taken)

    def _answer(self, client: socket.socket) -> None:
        until_s = time.monotonic() + CLIENT_SECONDS
        head = b""
        while b"\r\n" not in head and len(head) < MOST_BYTES:
            received = _received(client, until_s)
            if not received:
                return
            head += received
        path = head.split(b"\r\n", 1)[0].split(b" ")[1:2]
        client.sendall(self._response(path[0].split(b"?")[0] if path else b""))
        client.shutdown(socket.SHUT_WR)
        # What is left unread would have the system throw the answer away.
        left = MOST_BYTES
        while left > 0 and (received := _received(client, until_s)):
            left -= len(received)

    def _response(self, path: bytes) -> bytes:
        body: dict[str, object]
        status, body = b"503 Service Unavailable", {"status": "not ready", "reason": self.why}
        if path == b"/livez":
            status, body = b"200 OK", {"status": "live"}
        elif path != b"/readyz":
            body = {"errors": [{"message": self.why, "extensions": {"code": "UNAVAILABLE"}}]}
        content = orjson.dumps(body)
        headers = {
            b"content-type": b"application/json; charset=utf-8",
            b"content-length": str(len(content)).encode(),
            b"cache-control": b"private, no-store",
            b"retry-after": b"1",
            b"connection": b"close",
        }
        lines = b"".join(b"%s: %s\r\n" % header for header in headers.items())
        return b"HTTP/1.1 " + status + b"\r\n" + lines + b"\r\n" + content


def _received(client: socket.socket, until_s: float) -> bytes:
    """What a client sends next; raises TimeoutError, an OSError, when its time is over."""
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    client.settimeout(left_s)
    return client.recv(4_096)
