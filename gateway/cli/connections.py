"""Connections of the HTTP server: none may keep it waiting for long, and there are no more than it can hold."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Iterator
from typing import Any, Final

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.http.shedding import ALWAYS, ANSWER, LAST_ANSWER, asked_by
from gateway.resilience.admission import Admission

REQUEST_SECONDS: Final = 8.0  # for a request to come whole: from its first byte, or from the connection
CROWDED_SECONDS: Final = 1.0  # who has sent no whole request by then gives way first when there is no room
LONG_IDLE_SECONDS: Final = 5.0  # then who has been idle for so long: it will hardly be used just now
YOUNG_SECONDS: Final = 0.02  # then who has sent no whole request for so long: who means well and is near has by then
SPARE: Final = 50  # connections beyond the limit that are still told why they are refused
LATE_SECONDS: Final = 1.0  # between two looks at most counts as waiting: what goes beyond is this process's lateness
MAX_HEAD: Final = 65_536  # bytes of a request before its body
REFUSED: Final = b"connection: close\r\ncontent-length: 0\r\n\r\n"


class Connections:
    """Those of one process that wait for their other end, each since when, the longest first.

    most: how many connections there may be, of every kind. admission: of requests.
    """

    def __init__(self, most: int, idle_seconds: float, admission: Admission | None = None) -> None:
        self.most = most
        self.admission = admission
        self._clock_s = 0.0  # at the last look
        self._looked_s: float | None = None
        self._idle_seconds = idle_seconds
        self.is_draining = False
        self.sending: dict[GuardedProtocol, float] = {}  # no request yet, or not the whole of one
        self.idle: dict[GuardedProtocol, float] = {}  # kept open between two requests

    def clock_s(self, now_s: float) -> float:
        """How long this process has listened; it stands still while the process is late, so that nobody is called slow
        who was not listened to. now_s: by the loop."""
        since_s = 0.0 if self._looked_s is None else now_s - self._looked_s
        return self._clock_s + min(max(0.0, since_s), LATE_SECONDS)

    def sweep(self, now_s: float) -> None:
        """End those that have kept us waiting. Called several times a second. now_s: by the loop."""
        self._clock_s, self._looked_s = self.clock_s(now_s), now_s
        for connection in list(_since(self.sending, self._clock_s - REQUEST_SECONDS)):
            connection.refuse(408)
        # uvicorn's own timer is lost when a body comes behind the answer.
        for connection in list(_since(self.idle, self._clock_s - self._idle_seconds)):
            connection.timeout_keep_alive_handler()

    def make_room(self, now_s: float) -> bool:
        """End the one that can best be missed; False when every one has a request in work, or has sent some of one."""
        for waiting, seconds in (
            (self.sending, CROWDED_SECONDS),
            (self.idle, LONG_IDLE_SECONDS),
            (self.sending, YOUNG_SECONDS),
            (self.idle, 0.0),
            (self.sending, 0.0),
        ):
            found = _since(waiting, self.clock_s(now_s) - seconds)
            # What has come in and is not read yet is our lateness; it may be the whole request.
            connection = next((one for one in found if not one.has_unread), None)
            if connection is not None:
                self.forget(connection)
                connection.transport.abort()
                return True
        return False

    def forget(self, connection: GuardedProtocol) -> None:
        """It waits for nothing any more."""
        self.sending.pop(connection, None)
        self.idle.pop(connection, None)


def _since(waiting: dict[GuardedProtocol, float], latest: float) -> Iterator[GuardedProtocol]:
    for connection, since in waiting.items():
        if since > latest:
            return
        yield connection


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's own, which would wait for a request for ever, take a head of any size and any number of clients."""

    def __init__(self, *arguments: Any, guard: Connections, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._guard = guard
        self._head_bytes = 0
        self._is_in_head = False
        self._is_one_too_many = False
        self._held: tuple[Any, Any] | None = None  # a request that is not whole yet, and the app it is for

    @property
    def has_unread(self) -> bool:
        """Whether something has come in that is still to be read."""
        there = self.transport.get_extra_info("socket")
        if there is None:
            return False
        (count,) = struct.unpack("i", fcntl.ioctl(there.fileno(), termios.FIONREAD, bytes(4)))
        return bool(count)

    @property
    def _now_s(self) -> float:
        return self._guard.clock_s(self.loop.time())

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        super().connection_made(transport)
        if len(self.connections) > self._guard.most and not self._guard.make_room(self.loop.time()):
            # Who is answered before it has asked may never read it.
            self._is_one_too_many = True
            if len(self.connections) > self._guard.most + SPARE:
                transport.abort()
                return
        self._guard.sending[self] = self._now_s

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._guard.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request, or of several."""
        if self._guard.idle.pop(self, None) is not None:
            self._guard.sending[self] = self._now_s
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.refuse(431)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        self._guard.sending.setdefault(self, self._now_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; what is sent behind a body is nobody's."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: the request begins."""
        self._is_in_head = False
        super().on_headers_complete()
        if self._guard.is_draining:
            self.end_after_answer()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """A request begins when the whole of it is there, or as much as is held: who sends it slowly has no place."""
        if cycle is self.cycle and cycle.more_body and not cycle.waiting_for_100_continue:
            self._held = (cycle, app)
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: Any, app: Any) -> None:
        """Whom the app would turn away as one too many is answered here, for a part of the work."""
        admission = self._guard.admission
        if self._is_one_too_many:
            cycle.keep_alive = False
            self._turn_away(cycle)
            return
        if admission is not None and cycle.scope["path"] not in ALWAYS:
            caller, is_batch, _ = asked_by(cycle.scope)
            if admission.refuses(caller, is_batch=is_batch):
                self._turn_away(cycle)
                return
        super()._start_asgi_task(cycle, app)

    def _begin_held(self) -> None:
        if self._held is not None:
            (cycle, app), self._held = self._held, None
            self._begin(cycle, app)

    def _turn_away(self, cycle: Any) -> None:
        cycle.response_started = cycle.response_complete = True
        self.transport.write(ANSWER if cycle.keep_alive else LAST_ANSWER)
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        super().on_body(body)
        if self._held is not None and len(self.cycle.body) > HIGH_WATER_LIMIT:  # what uvicorn reads before it is asked
            self._begin_held()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._guard.sending.pop(self, None)
        super().on_message_complete()
        self._begin_held()
        if self.cycle is not None and self.cycle.response_complete:
            self._guard.idle[self] = self._now_s

    def on_response_complete(self) -> None:
        """The answer is written."""
        super().on_response_complete()
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self._guard.idle[self] = self._now_s

    def handle_websocket_upgrade(self) -> None:
        """From here on it is a WebSocket, whose pings find out who is gone."""
        self._guard.forget(self)
        super().handle_websocket_upgrade()

    def end_after_answer(self) -> None:
        """What is asked now is answered, with `Connection: close`."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def refuse(self, status: int) -> None:
        """End the connection; with a status, where no answer has begun."""
        self._guard.forget(self)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(STATUS_LINE[status] + REFUSED)
            self.transport.close()
        else:
            self.transport.abort()
