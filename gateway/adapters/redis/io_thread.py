"""A thread with an event loop of its own, for connections that outlive the loops of their callers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.adapters.leaving import for_who_may_leave
from recommender.errors import UnavailableError

Result = TypeVar("Result")


class IoThread:
    """Runs coroutines on its own loop, whichever loop or thread asks.

    A connection belongs to the loop that opened it, and a command may run several loops in a row. Here they share one
    pool, it can be closed without a loop, and a time-out measures the server alone: a caller that keeps its own loop
    busy for 50 ms doesn't make a healthy server look dead.
    """

    def __init__(self, part: str) -> None:
        self._part = part
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=part.replace(" ", "-"), daemon=True)
        self._lock = threading.Lock()
        self._closed = False
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await the work on the thread's loop; cancelling the caller cancels the work."""
        with self._lock:
            self._check_open(work)
            future = asyncio.run_coroutine_threadsafe(for_who_may_leave(work), self._loop)
        return await asyncio.wrap_future(future)

    def run_blocking(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for the work without a loop."""
        with self._lock:
            self._check_open(work)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result()

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Run the last work, cancel what is left and stop. May be called twice: only the first one's work is run."""
        with self._lock:
            if self._closed:
                last.close()
                return
            self._closed = True
        try:
            asyncio.run_coroutine_threadsafe(last, self._loop).result()
            asyncio.run_coroutine_threadsafe(_cancel_the_rest(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _check_open(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._closed:
            work.close()
            raise UnavailableError(self._part, "it has been closed")


async def _cancel_the_rest() -> None:
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for _ in range(2):  # a transport is closed in a turn of the loop after the one that asked for it
        await asyncio.sleep(0)
