"""A cache on a server that may fail: it is not waited for while it is down. What its failure means is Caching's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.resilience.breaker import Breaker
from gateway.resilience.guard import Guard
from gateway.resilience.loop_lag import LoopLag
from recommender.degradation import DegradedReason
from recommender.documents import Kind
from recommender.ports import Cache, CachedDocument, CachedList, Lost

IN_A_ROW = 3  # nothing is lost but what it would have spared, so it is left alone sooner than others


class ServerCache(Cache, Protocol):
    """A cache that keeps the texts of operations, too."""

    async def get_text(self, digest: str) -> str | None:
        """The text of an operation, None when it is not there."""
        ...

    async def put_text(self, digest: str, text: str, ttl_ms: int) -> None:
        """Keep the text of an operation for at most `ttl_ms`."""
        ...

    async def spend(self, key: str, cost: int, limit: int) -> tuple[int, int, int]:
        """See rate_limit.Buckets."""
        ...


class GuardedCache:
    """`recommender.ports.Cache` before one that may fail."""

    def __init__(self, cache: ServerCache, lag: LoopLag | None = None) -> None:
        self._cache = cache
        self.guard = Guard("cache", DegradedReason.CACHE, self._probe, lag=lag, breaker=Breaker(in_a_row=IN_A_ROW))

    async def _probe(self) -> None:
        await self._cache.get_text("")

    async def get_lists(self, keys: Sequence[str], claim_ms: int) -> list[CachedList | Lost]:
        """See ListCache."""
        return await self.guard.read(lambda: self._cache.get_lists(keys, claim_ms))

    async def put_lists(self, lists: Mapping[str, CachedList], ttl_ms: int) -> None:
        """See ListCache."""
        await self.guard.write(lambda: self._cache.put_lists(lists, ttl_ms))

    async def claim(self, keys: Sequence[str], claim_ms: int) -> list[bool]:
        """See ListCache."""
        return await self.guard.read(lambda: self._cache.claim(keys, claim_ms))

    async def release(self, keys: Sequence[str]) -> None:
        """See ListCache."""
        await self.guard.write(lambda: self._cache.release(keys))

    async def get_documents(self, kind: Kind, ordinals: Sequence[int]) -> list[CachedDocument | Lost]:
        """See DocumentCache."""
        return await self.guard.read(lambda: self._cache.get_documents(kind, ordinals))

    async def forget_documents(self, kind: Kind, ordinals: Sequence[int]) -> None:
        """See DocumentCache."""
        await self.guard.write(lambda: self._cache.forget_documents(kind, ordinals))

    async def put_documents(self, kind: Kind, documents: Sequence[CachedDocument], ttl_ms: int) -> None:
        """See DocumentCache."""
        await self.guard.write(lambda: self._cache.put_documents(kind, documents, ttl_ms))

    async def get_text(self, digest: str) -> str | None:
        """See ServerCache."""
        return await self.guard.read(lambda: self._cache.get_text(digest))

    async def put_text(self, digest: str, text: str, ttl_ms: int) -> None:
        """See ServerCache."""
        await self.guard.write(lambda: self._cache.put_text(digest, text, ttl_ms))

    async def spend(self, key: str, cost: int, limit: int) -> tuple[int, int, int]:
        """See rate_limit.Buckets."""
        return await self.guard.read(lambda: self._cache.spend(key, cost, limit))
