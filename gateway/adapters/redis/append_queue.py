"""Appends that come at the same time, written together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.adapters.redis.rows import EventRow
from recommender.errors import UnavailableError
from recommender.ports import Appended

MAX_WAITING = 50_000  # events; some 10 MB


@dataclass(slots=True)
class _Waiting:
    rows: Sequence[EventRow]
    outcomes: asyncio.Future[list[Appended]]


class AppendQueue:
    """Gathers what callers hand in while earlier writes wait for the disk; used on one event loop.

    write: writes rows, in order, in one step. writers: how many writes may be under way at once. A caller's rows are
    never split; a write holds at most `most` events unless one caller's are more.
    """

    def __init__(
        self, write: Callable[[Sequence[EventRow]], Awaitable[list[Appended]]], *, part: str, writers: int, most: int
    ) -> None:
        self._write = write
        self._part = part
        self._free = writers
        self._most = most
        self._waiting: deque[_Waiting] = deque()
        self._waiting_rows = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, rows: Sequence[EventRow]) -> list[Appended]:
        """Hand in rows; returns what became of each once they are durable."""
        if self._waiting and self._waiting_rows + len(rows) > MAX_WAITING:
            raise UnavailableError(self._part, f"{self._waiting_rows:,} events wait to be written; slow down")
        waiting = _Waiting(rows, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_rows += len(rows)
        if self._free:
            self._free -= 1
            task = asyncio.create_task(self._write_what_waits())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await waiting.outcomes

    async def finish(self) -> None:
        """Wait until everything handed in is written or has failed."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write_what_waits(self) -> None:
        try:
            while group := self._next_group():
                try:
                    outcomes = iter(await self._write([row for waiting in group for row in waiting.rows]))
                except BaseException as error:
                    self._fail(group, error)
                    if not isinstance(error, Exception):
                        raise
                else:
                    for waiting in group:
                        mine = [next(outcomes) for _ in waiting.rows]
                        if not waiting.outcomes.done():
                            waiting.outcomes.set_result(mine)
        finally:
            self._free += 1

    def _fail(self, group: Sequence[_Waiting], error: BaseException) -> None:
        """What waits behind a write that failed fails with it, instead of each after a time-out of its own."""
        behind, self._waiting, self._waiting_rows = self._waiting, deque(), 0
        for waiting in (*group, *behind):
            if not waiting.outcomes.done():  # its caller may have left
                waiting.outcomes.set_exception(error)

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0].rows) <= self._most):
            waiting = self._waiting.popleft()
            self._waiting_rows -= len(waiting.rows)
            if not waiting.outcomes.done():
                group.append(waiting)
                size += len(waiting.rows)
        return group
