"""How late this process's own event loop is: a time-out measures that, too."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

EVERY_SECONDS: Final = 0.025
REMEMBERED: Final = 40  # looks, so a second


class LoopLag:
    """Measures while `follow` runs; without it the loop counts as on time."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=REMEMBERED)
        self._due_s: float | None = None

    async def follow(self) -> None:
        """Look again and again, for ever."""
        try:
            while True:
                self._due_s = time.monotonic() + EVERY_SECONDS
                await asyncio.sleep(EVERY_SECONDS)
                self._seen.append(time.monotonic() - self._due_s)
        finally:
            self._due_s = None

    @property
    def last_s(self) -> float:
        """At the last look, or by how much that which is due is late."""
        late_s = 0.0 if self._due_s is None else time.monotonic() - self._due_s
        return max(late_s, self._seen[-1] if self._seen else 0.0, 0.0)

    @property
    def worst_s(self) -> float:
        """In the last second."""
        return max(self.last_s, max(self._seen, default=0.0))
