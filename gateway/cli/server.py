"""The HTTP server of one process: begins, answers, and ends without a request that fails for it."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, Final, Protocol, cast

import uvicorn

from gateway.cli.connections import SPARE, Connections, GuardedProtocol
from gateway.http.health import Readiness
from gateway.http.request_body import MAX_BODY
from gateway.resilience.admission import Admission

PING_SECONDS: Final = 20.0  # a WebSocket whose other end is gone without a word is closed after two of these
STOP_SECONDS: Final = 10  # requests in flight may take so long once nothing is accepted any more
# A connection without a request is kept so long for the one that may be on its way, which is answered with
# `Connection: close`: to close it at once would fail that request.
LINGER_SECONDS: Final = 1.0
# Longer than load balancers keep an idle connection, mostly 60 s: else they send into one that is being closed.
KEEP_ALIVE_SECONDS: Final = 75
YIELD_SECONDS: Final = 0.001  # how long the process with more connections leaves the next one to the others
# Connections that may wait to be taken. One too many is not refused: its client asks again after a second, then after
# three and seven.
BACKLOG: Final = 2_048
TAKEN_AT_ONCE: Final = 64  # connections at most: some 6 ms, then those that there are get their turn
STOP_BY_SUPERVISOR: Final = signal.SIGHUP  # another process takes over already: no need to wait for load balancers
OWN_FILES: Final = 100  # descriptors that stores, logs and models need
FEWEST_CONNECTIONS: Final = 16


class Counts(Protocol):
    """How many connections each process has, by its place; below 0 where there is no process."""

    def __getitem__(self, place: int) -> int: ...
    def __setitem__(self, place: int, count: int) -> None: ...
    def __iter__(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """The place of a process among those that share the socket.

    told: to the supervisor; its end means that the supervisor is gone. is_alone: nobody else answers meanwhile, so
    that connections are taken before everything is warm.
    """

    counts: Counts
    place: int
    told: Connection
    is_alone: bool


def most_connections(wanted: int) -> int:
    """How many connections there may be, after asking for as many file descriptors as the system lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OWN_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            soft = limit
    return wanted if soft == resource.RLIM_INFINITY else max(FEWEST_CONNECTIONS, min(wanted, soft - OWN_FILES))


class Server(uvicorn.Server):
    """uvicorn's, which is ready when it is warm, shares a socket, and ends in steps.

    grace_seconds: after SIGTERM everything is answered for so long, but for /readyz. on_warm: called once, when the
    process is ready. end_streams: called when nothing is accepted any more.
    """

    def __init__(
        self,
        app: Any,
        readiness: Readiness,
        *,
        connections: int,
        grace_seconds: float,
        on_warm: Callable[[], None],
        end_streams: Callable[[], None],
        turn: Turn | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._guard = Connections(connections, KEEP_ALIVE_SECONDS, admission)
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=cast("Any", partial(GuardedProtocol, guard=self._guard)),
                ws="websockets-sansio",
                ws_max_size=MAX_BODY,
                ws_ping_interval=PING_SECONDS,
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self._readiness = readiness
        self._grace_seconds = grace_seconds
        self._on_warm = on_warm
        self._end_streams = end_streams
        self._turn = turn
        self._queue: _Queue | None = None
        self._stops_at = 0.0
        self._is_told = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin; connections are taken at once where nobody else takes them."""
        if self._turn is None:
            await super().startup(sockets)
            return
        await super().startup([])
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(STOP_BY_SUPERVISOR, self._stop, 0.0)
        loop.add_reader(self._turn.told.fileno(), self._orphaned, loop)
        self._queue = _Queue((sockets or [])[0], self, self._turn, self._guard.most + SPARE)
        if self._turn.is_alone:
            self._queue.begin()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; whether it is time to end."""
        self._guard.sweep(asyncio.get_running_loop().time())
        if self._queue is not None:
            self._queue.publish()
        if self._readiness.is_warm and not self._is_told:
            self._is_told = True
            if self._queue is not None:
                self._queue.begin()
            self._on_warm()
        ends = await super().on_tick(counter)
        return ends and (self.force_exit or time.monotonic() >= self._stops_at)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal. uvicorn's own would raise it again at the end, and the process die with the stores still open."""
        if sig == signal.SIGINT and self._turn is not None:
            return  # of a terminal, to all of its processes: the supervisor says what to do
        self.force_exit = self.should_exit and sig == signal.SIGINT
        if not self.should_exit:
            self._readiness.is_draining = True
            self._stop(self._grace_seconds if sig == signal.SIGTERM else 0.0)

    def _stop(self, after_seconds: float) -> None:
        self._stops_at = time.monotonic() + after_seconds
        self.should_exit = True

    def _orphaned(self, loop: asyncio.AbstractEventLoop) -> None:
        assert self._turn is not None  # noqa: S101 — it has been asked to watch
        loop.remove_reader(self._turn.told.fileno())
        self._stop(0.0)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, answer what is asked on those that there are, close them."""
        if self._queue is not None:
            self._queue.end()
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        self._end_streams()
        self._guard.is_draining = True
        for connection in list(self.server_state.connections):
            if isinstance(connection, GuardedProtocol):
                connection.end_after_answer()
        lingers_until = time.monotonic() + LINGER_SECONDS
        while self.server_state.connections and not self.force_exit and time.monotonic() < lingers_until:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await super().shutdown([])


class _Queue:
    """A listening socket that several processes take connections from, so that each has as many as the others.

    Left to themselves the process that wakes first takes all that wait: of 8 connections that a balancer opened and
    kept, one of two processes had 8 (docs/decisions/0023-workers.md).
    """

    def __init__(self, listener: socket.socket, server: Server, turn: Turn, most: int) -> None:
        self._listener = listener
        self._server = server
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._most = most
        self._takes = False
        self._turn_comes: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Take connections from now on. May be called twice."""
        if not self._takes:
            self._takes = True
            self._listener.setblocking(False)
            self._listener.listen(BACKLOG)  # it listens already, with room for 128
            self.publish()
            self._loop.add_reader(self._listener, self._ready)

    def end(self) -> None:
        """Take no more: those that wait are others' to take."""
        self._takes = False
        self._turn.counts[self._turn.place] = -1
        self._loop.remove_reader(self._listener)
        if self._turn_comes is not None:
            self._turn_comes.cancel()

    def publish(self) -> int:
        """Tell the others how many there are here."""
        count = len(self._server.server_state.connections) + len(self._opening)
        if self._takes:
            self._turn.counts[self._turn.place] = count
        return count

    def _ready(self) -> None:
        """Somebody waits. Of those who do it is taken what makes this process's share of all."""
        own, counts = self.publish(), [count for count in self._turn.counts if count >= 0]
        share = -(-(sum(counts) + _waiting(self._listener)) // max(1, len(counts))) - own
        if share > 0 and self._room > 0:
            self._take(share)
        else:
            self._loop.remove_reader(self._listener)
            self._turn_comes = self._loop.call_later(YIELD_SECONDS, self._after_others)

    def _after_others(self) -> None:
        """They had their chance, and may have no time."""
        self._take(-(-_waiting(self._listener) // max(1, sum(count >= 0 for count in self._turn.counts))))
        self._loop.add_reader(self._listener, self._ready)

    @property
    def _room(self) -> int:
        """For how many more there is room: the others wait where they are, until it is known who says nothing."""
        return self._most - len(self._server.server_state.connections) - len(self._opening)

    def _take(self, count: int) -> None:
        for _ in range(min(count, self._room, TAKEN_AT_ONCE)):
            try:
                taken, _ = self._listener.accept()
            except OSError:  # another process was quicker, or the client is gone
                return
            taken.setblocking(False)
            opening = self._loop.create_task(self._open(taken))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        self.publish()

    async def _open(self, taken: socket.socket) -> None:
        config = self._server.config
        with suppress(OSError):
            await self._loop.connect_accepted_socket(
                lambda: config.http_protocol_class(  # type: ignore[call-arg]
                    config=config,
                    server_state=self._server.server_state,
                    app_state=self._server.lifespan.state,
                ),
                taken,
            )


def _waiting(listener: socket.socket) -> int:
    """How many connections wait to be taken; where the system does not say, one."""
    if not hasattr(socket, "TCP_INFO") or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return 1
    told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    return max(1, int.from_bytes(told[24:28], sys.byteorder))  # tcpi_unacked: of a socket that listens, its backlog
