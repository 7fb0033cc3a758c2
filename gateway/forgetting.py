"""What a process still holds of talents and jobs that are gone, dropped whichever process or gateway deleted them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from pyroaring import BitMap

from recommender.documents import Kind
from recommender.errors import TandemError, UnavailableError
from recommender.mirror import Mirror
from recommender.ports import Catalogue, DocumentCache

EVERY_SECONDS: Final = 5.0

# Drops what is kept of documents: (kind, ordinals, the marketplace's own ids).
Forget = Callable[[Kind, Sequence[int], Sequence[str]], None]

_log = structlog.get_logger("tandem.erasure")


class Forgetting:
    """Looks which documents are gone since it looked last.

    Nothing is answered from what it drops, but it would stay in memory until others take its place. cache: the shared
    one or this process's. forget: called with what is gone, of one kind at a time.
    """

    def __init__(self, catalogue: Catalogue, cache: DocumentCache, forget: Forget) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._forget = forget
        self._seen: dict[Kind, tuple[Mirror, BitMap]] = {}

    async def look(self) -> None:
        """Drop what is kept of documents that were there at the last look and are not now. Raises UnavailableError."""
        for kind in Kind:
            mirror = await self._catalogue.mirror(kind)
            alive = mirror.alive()
            before, was_alive = self._seen.get(kind, (mirror, alive))
            gone = list(was_alive - alive)
            if gone:
                self._forget(kind, gone, before.ids_of(gone))
                with suppress(UnavailableError):  # a server's forgets within an hour
                    await self._cache.forget_documents(kind, gone)
            self._seen[kind] = mirror, alive

    async def follow(self, every_seconds: float = EVERY_SECONDS) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except TandemError as error:
                _log.warning("deletions not read", reason=str(error))
            except Exception as error:  # noqa: BLE001 — this task must outlive whatever a store can do
                _log.error("deletions not read", error=type(error).__name__)
            await asyncio.sleep(every_seconds)
