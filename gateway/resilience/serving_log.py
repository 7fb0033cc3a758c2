"""The record of what was served, without which lists are served all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import structlog

from gateway import instruments
from recommender.errors import UnavailableError
from recommender.ports import ServedList, ServingLog

_log = structlog.get_logger("tandem.serve")


class UnfailingServingLog:
    """`recommender.ports.ServingLog` over another, whose full or slow disk fails no list.

    What is not kept is counted: outcomes of it cannot be credited to a list.
    """

    def __init__(self, serving_log: ServingLog) -> None:
        self._serving_log = serving_log

    async def append(self, served: Sequence[ServedList]) -> None:
        """Keep the lists if that is possible at once."""
        try:
            await self._serving_log.append(served)
        except UnavailableError as error:
            instruments.SERVED_UNKEPT.inc(len(served))
            _log.error("served lists not kept", reason=str(error))

    async def get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        """See the port."""
        return await self._serving_log.get_many(request_ids)

    def scan(self) -> AsyncIterator[Sequence[ServedList]]:
        """See the port."""
        return self._serving_log.scan()
