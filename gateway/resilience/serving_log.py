"""The record of what was served, without which lists are served all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog

from gateway import instruments
from recommender.errors import UnavailableError
from recommender.ports import ServedList, ServingLog

# Longer than any commit on a disk that works. It waits for a lock, else for up to 10 s, while an erasure writes.
APPEND_SECONDS: Final = 0.1

_log = structlog.get_logger("tandem.serve")


class UnfailingServingLog:
    """`recommender.ports.ServingLog` over another, whose full disk or lock fails and delays no list.

    What is not kept is counted: outcomes of it cannot be credited to a list.
    """

    def __init__(self, serving_log: ServingLog, append_seconds: float = APPEND_SECONDS) -> None:
        self._serving_log = serving_log
        self._append_seconds = append_seconds

    async def append(self, served: Sequence[ServedList]) -> None:
        """Keep the lists if that is possible at once."""
        try:
            async with asyncio.timeout(self._append_seconds):
                await self._serving_log.append(served)
        except (UnavailableError, TimeoutError) as error:
            instruments.SERVED_UNKEPT.inc(len(served))
            _log.error("served lists not kept", reason=str(error) or "writing takes too long")

    async def get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        """See the port."""
        return await self._serving_log.get_many(request_ids)

    def scan(self) -> AsyncIterator[Sequence[ServedList]]:
        """See the port."""
        return self._serving_log.scan()
