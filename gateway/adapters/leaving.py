"""Work whose caller may no longer be there when it ends, on another thread's loop or beside it on one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def for_who_may_leave(work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work. Should it fail after its caller has left, asyncio would log that nobody has looked."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 — it runs in one
    task.add_done_callback(_look)
    return await work


def _look(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
