"""More connections than a process holds, and clients that say little: who gives way, and who never does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from gateway.cli import connections
from gateway.cli.connections import Connections, GuardedProtocol
from gateway.cli.server import Server, Turn, _Queue
from gateway.resilience.admission import FEWEST, Admission

BODY = b'{"query": "{ __typename }"}'
HEAD = b"POST /graphql HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(BODY)


class App:
    """Answers 200 once it may; until then a request is in work. begun: how many were."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        while (await receive()).get("more_body"):
            pass
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def status(self) -> int:
        """Of the next answer, which is read whole; 0 when the connection has ended without one."""
        try:
            head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), 30)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return 0
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        with suppress(ConnectionResetError):  # who is refused has sent more than was read
            await self._reader.readexactly(length)
        return int(head.split()[1])

    def close(self) -> None:
        self._writer.close()


class Served:
    """A server on a socket of its own. It looks at its connections when it is told to."""

    def __init__(self, guard: Connections, app: App, state: ServerState, port: int) -> None:
        self.guard, self.app, self._state, self._port = guard, app, state, port
        self._now_s = asyncio.get_running_loop().time()
        self._clients: list[Client] = []

    async def client(self, first: bytes = b"") -> Client:
        """A connection, known to the server."""
        known = len(self._state.connections)
        made = Client(*await asyncio.open_connection("127.0.0.1", self._port))
        self._clients.append(made)
        await made.send(first)
        await until(lambda: len(self._state.connections) != known or self.guard.most <= known)
        return made

    def passes(self, seconds: float, looks: int = 10) -> None:
        """So much time, in which the server looks so often."""
        for _ in range(looks):
            self._now_s += seconds / looks
            self.guard.sweep(self._now_s)

    def close(self) -> None:
        for client in self._clients:
            client.close()


async def until(is_so: Any) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - what is waited for is the server's
            await asyncio.sleep(0.001)


@asynccontextmanager
async def served(most: int, places: int = 100) -> AsyncIterator[Served]:
    app, state = App(), ServerState()
    config = uvicorn.Config(app, log_config=None, access_log=False)  # type: ignore[arg-type]
    guard = Connections(most, 75.0, Admission(places))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: GuardedProtocol(config, state, {}, guard=guard), "127.0.0.1", 0)
    running = Served(guard, app, state, server.sockets[0].getsockname()[1])
    running.passes(0.0, 1)
    try:
        yield running
    finally:
        running.close()
        server.close()
        await until(lambda: not state.connections)


async def test_who_sends_a_body_slowly_has_no_place_that_others_need() -> None:
    async with served(most=1_000, places=1) as server:
        slow = [await server.client(HEAD + BODY[:3]) for _ in range(2 * FEWEST)]
        good = await server.client(HEAD + BODY)
        assert await good.status() == 200
        assert server.app.begun == 1
        await slow[0].send(BODY[3:])  # who sends the rest is answered
        assert await slow[0].status() == 200


async def test_a_large_body_is_not_held_until_it_is_whole() -> None:
    large = b"x" * 400_000
    async with served(most=10) as server:
        client = await server.client(HEAD.replace(b"%d" % len(BODY), b"%d" % len(large)) + large[:200_000])
        await until(lambda: server.app.begun == 1)
        await client.send(large[200_000:])
        assert await client.status() == 200


async def test_nobody_is_called_slow_who_was_not_listened_to() -> None:
    async with served(most=10) as server:
        client = await server.client()
        server.passes(60.0, looks=1)  # the process did something else
        await client.send(HEAD + BODY)
        assert await client.status() == 200
        client = await server.client(HEAD)
        server.passes(connections.REQUEST_SECONDS + 0.1)
        assert await client.status() == 408


async def test_who_says_nothing_gives_way_before_who_has_been_answered() -> None:
    async with served(most=3) as server:
        good = await server.client(HEAD + BODY)
        assert await good.status() == 200
        silent = [await server.client() for _ in range(2)]
        server.passes(0.2)
        new = await server.client(HEAD + BODY)
        assert await silent[0].status() == 0
        assert await new.status() == 200
        await good.send(HEAD + BODY)
        assert await good.status() == 200


async def test_a_request_in_work_never_gives_way_and_one_too_many_is_told_why() -> None:
    async with served(most=2) as server:
        server.app.may_answer.clear()
        working = [await server.client(HEAD + BODY) for _ in range(2)]
        await until(lambda: server.app.begun == 2)
        server.passes(1.0)
        late = await server.client()
        await late.send(HEAD)
        server.passes(0.5)  # it is not answered before it has asked, for it would not read it
        await late.send(BODY)
        assert await late.status() == 503
        assert await late.status() == 0
        server.app.may_answer.set()
        assert [await client.status() for client in working] == [200, 200]


async def test_a_connection_whose_request_has_just_come_in_does_not_give_way() -> None:
    async with served(most=1) as server:
        client = await server.client(HEAD + BODY)
        assert await client.status() == 200
        (connection,) = server.guard.idle
        server.passes(20.0)
        assert not connection.has_unread
        connection.transport.pause_reading()  # as if the process were busy
        await client.send(HEAD + BODY)
        await until(lambda: connection.has_unread)
        new = await server.client()
        assert connection in server.guard.idle
        connection.transport.resume_reading()
        assert await client.status() == 200
        await new.send(HEAD + BODY)
        assert await new.status() == 503


async def test_as_many_connections_are_taken_as_there_is_room_for_and_the_others_wait_and_are_not_lost() -> None:
    state, guard = ServerState(), Connections(100, 75.0, Admission(100))
    http = cast("Any", partial(GuardedProtocol, guard=guard))
    config = uvicorn.Config(cast("Any", App()), http=http, log_config=None, access_log=False)
    config.load()
    served_by = SimpleNamespace(server_state=state, config=config, lifespan=SimpleNamespace(state={}))
    with ExitStack() as opened, socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        turn = Turn([0, 0], 0, cast("Any", None), is_alone=True)
        queue = _Queue(listener, cast("Server", served_by), turn, 30)
        queue.begin()
        clients = [opened.enter_context(socket.socket()) for _ in range(100)]
        for client in clients:  # far more than the socket had room for before
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        await until(lambda: len(state.connections) == 30)
        turn.counts[1] = -1  # the other process has ended, having taken none
        for client in clients[:90]:
            client.close()
        await until(lambda: not [one for one in state.connections if one.transport.is_closing()])
        await until(lambda: len(state.connections) == 10)
        queue.end()
    await until(lambda: not state.connections)
