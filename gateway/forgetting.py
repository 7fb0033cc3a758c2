"""What a process or its gateway still holds of who is gone, dropped whichever process or gateway deleted them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import structlog
from pyroaring import BitMap

from recommender.documents import Kind
from recommender.errors import TandemError, UnavailableError
from recommender.mirror import Mirror
from recommender.ports import Catalogue, CatalogueWriter, DocumentCache, SubjectKey

EVERY_SECONDS: Final = 5.0
REVIEW_EVERY: Final = 720  # looks, an hour: of who was deleted before and is erased now, or while nobody looked

# Drops what is kept of documents: (kind, ordinals, the marketplace's own ids).
Forget = Callable[[Kind, Sequence[int], Sequence[str]], None]

_log = structlog.get_logger("tandem.erasure")


class TombstonedCatalogue(Catalogue, CatalogueWriter, Protocol):
    """A catalogue that tells who was erased."""


class ErasableServingLog(Protocol):
    """What this gateway has served, as far as erasing it goes."""

    async def subjects(self, kind: Kind) -> list[str]:
        """Everybody of a kind of whose lists some are kept."""
        ...

    async def forget(self, subject: SubjectKey, ordinal: int) -> int:
        """Erase every list of a subject, and its rows in others' lists; how many lists were changed or removed."""
        ...


class Forgetting:
    """Looks which documents are gone since it looked last.

    Nothing is answered from what it drops, but it would stay in memory until others take its place. cache: the shared
    one or this process's. forget: called with what is gone, of one kind at a time. serving_log: this gateway's own,
    which only who was erased goes from.
    """

    def __init__(
        self, catalogue: TombstonedCatalogue, cache: DocumentCache, forget: Forget, serving_log: ErasableServingLog
    ) -> None:
        self._catalogue = catalogue
        self._cache = cache
        self._forget = forget
        self._serving_log = serving_log
        self._seen: dict[Kind, tuple[Mirror, BitMap]] = {}
        self._looks = 0

    async def look(self) -> None:
        """Drop what is kept of documents that were there at the last look and are not now. Raises UnavailableError."""
        for kind in Kind:
            mirror = await self._catalogue.mirror(kind)
            alive = mirror.alive()
            before, was_alive = self._seen.get(kind, (mirror, alive))
            gone = list(was_alive - alive)
            if gone:
                ids = before.ids_of(gone)
                self._forget(kind, gone, ids)
                await self._forget_served(kind, ids)
                with suppress(UnavailableError):  # a server's forgets within an hour
                    await self._cache.forget_documents(kind, gone)
            if self._looks % REVIEW_EVERY == 0:
                served = await self._serving_log.subjects(kind)
                known = mirror.ordinals_of(served)
                absent = [own_id for own_id, ordinal in zip(served, known, strict=True) if ordinal is None]
                await self._forget_served(kind, absent)
            self._seen[kind] = mirror, alive
        self._looks += 1

    async def _forget_served(self, kind: Kind, ids: Sequence[str]) -> None:
        """Erase from what this gateway has served who was erased, by whichever gateway."""
        if ids:
            for own_id, ordinal in zip(ids, await self._catalogue.erased(kind, ids), strict=True):
                if ordinal is not None:
                    await self._serving_log.forget(SubjectKey(kind, own_id), ordinal)

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
