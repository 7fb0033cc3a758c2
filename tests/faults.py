"""A TCP proxy that can be told to fail: what stands before a real server in the tests of its faults."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of a connection, old or new. Nothing at all by default: bytes pass.

    hangs: nothing passes, and nobody hangs up. resets: whoever says something is reset. refuses: new connections are
    reset, old ones too. bytes_per_second: of answers. cut_after: bytes of a connection's answers before it ends.
    answer: what every request over HTTP is answered with instead.
    """

    hangs: bool = False
    resets: bool = False
    refuses: bool = False
    bytes_per_second: int | None = None
    cut_after: int | None = None
    answer: bytes | None = None


WELL = Fault()
HANG = Fault(hangs=True)
RESET = Fault(resets=True)
REFUSE = Fault(refuses=True)
SLOW = Fault(bytes_per_second=1_000)
TORN = Fault(cut_after=200)


def http_answer(status: str, body: bytes) -> Fault:
    """Every request is answered so, as by Elasticsearch."""
    head = (
        f"HTTP/1.1 {status}\r\nX-Elastic-Product: Elasticsearch\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/vnd.elasticsearch+json;compatible-with=9\r\n\r\n"
    )
    return Fault(answer=head.encode() + body)


class FaultProxy:
    """Passes bytes between clients and a server on this machine, but for its fault. Runs on a thread of its own."""

    def __init__(self, upstream_port: int) -> None:
        self.port = 0
        self.connections = 0  # that were made so far
        self._upstream_port = upstream_port
        self._fault = WELL
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._listen())

    def fail(self, fault: Fault) -> None:
        """Fail so from now on. What an earlier fault has held back is lost, and its connection ends."""
        self._run(self._turn_to(fault))

    def heal(self) -> None:
        """Let bytes pass again."""
        self.fail(WELL)

    def stop(self) -> None:
        """Hang up on everybody."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _turn_to(self, fault: Fault) -> None:
        before, self._fault = self._fault, fault
        if before is not WELL or fault.refuses:
            for writer in list(self._open):
                _reset(writer)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _end(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(answers)
        with suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError, ExceptionGroup):
            if self._fault.refuses:
                _reset(answers)
            else:
                await self._pass_on(client, answers)
        self._open.discard(answers)
        answers.close()
        self._tasks.discard(task)

    async def _pass_on(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, questions = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        sent = 0

        async def ask() -> None:
            while data := await client.read(CHUNK):
                await self._hold()
                if self._fault.resets:
                    _reset(answers)
                    return
                if self._fault.answer is not None:
                    answers.write(self._fault.answer)
                else:
                    questions.write(data)
                    await questions.drain()
            questions.close()

        async def answer() -> None:
            nonlocal sent
            while data := await server.read(CHUNK):
                await self._hold()
                fault = self._fault
                if fault.cut_after is not None and (sent := sent + len(data)) > fault.cut_after:
                    answers.write(data[: fault.cut_after])
                    break
                await _write(answers, data, fault.bytes_per_second)
            answers.close()

        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(ask())
                both.create_task(answer())
        finally:
            questions.close()

    async def _hold(self) -> None:
        while self._fault.hangs:
            await self._changed.wait()


async def _write(writer: asyncio.StreamWriter, data: bytes, bytes_per_second: int | None) -> None:
    step = len(data) if bytes_per_second is None else max(1, bytes_per_second // 20)
    for start in range(0, len(data), step):
        writer.write(data[start : start + step])
        await writer.drain()
        if bytes_per_second is not None:
            await asyncio.sleep(0.05)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST, as a machine does that knows nothing of it."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def faulty(upstream_port: int) -> Iterator[FaultProxy]:
    """A proxy for the length of a block."""
    proxy = FaultProxy(upstream_port)
    try:
        yield proxy
    finally:
        proxy.stop()
