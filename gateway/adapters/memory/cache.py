"""The cache in the process: the lists and documents that were used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from recommender.documents import Kind
from recommender.kept_documents import TEXT_OVERHEAD, document_bytes
from recommender.ports import CachedDocument, CachedList, CachedMutual, Lost

Key = str | tuple[Kind, int]

LIST_OVERHEAD = 1_600  # what Python adds: nine arrays and their owner. Measured with tracemalloc.


class MemoryCache:
    """`recommender.ports.Cache` for one process. What was not used for longest goes first.

    max_bytes: of everything, as far as it can be told without looking at every object. clock_ms: for expiry alone.
    """

    def __init__(self, max_bytes: int, clock_ms: Callable[[], int]) -> None:
        self._max_bytes = max_bytes
        self._clock_ms = clock_ms
        self._kept: OrderedDict[Key, tuple[CachedList | CachedDocument, int, int]] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Of what is kept now."""
        return self._bytes

    def close(self) -> None:
        """Forget everything. May be called twice."""
        self._kept.clear()
        self._bytes = 0

    async def get_lists(self, keys: Sequence[str], claim_ms: int) -> list[CachedList | Lost]:
        """See ListCache."""
        found = [self._get(key) for key in keys]
        return [kept if isinstance(kept, CachedList) else Lost.ABSENT for kept in found]

    async def put_lists(self, lists: Mapping[str, CachedList], ttl_ms: int) -> None:
        """See ListCache."""
        for key, kept in lists.items():
            self._put(key, kept, list_bytes(kept), ttl_ms)

    async def claim(self, keys: Sequence[str], claim_ms: int) -> list[bool]:
        """See ListCache. There is no other process."""
        return [True] * len(keys)

    async def release(self, keys: Sequence[str]) -> None:
        """See ListCache."""

    async def get_documents(self, kind: Kind, ordinals: Sequence[int]) -> list[CachedDocument | Lost]:
        """See DocumentCache."""
        now_ms, found = self._clock_ms(), list[CachedDocument | Lost]()
        for ordinal in ordinals:
            key = (kind, ordinal)
            entry = self._kept.get(key)
            if entry is None or now_ms >= entry[2]:
                found.append(Lost.ABSENT)
            else:
                self._kept.move_to_end(key)
                found.append(entry[0])  # type: ignore[arg-type] # such a key has a document
        return found

    async def put_documents(self, kind: Kind, documents: Sequence[CachedDocument], ttl_ms: int) -> None:
        """See DocumentCache."""
        for kept in documents:
            self._put((kind, kept.document.ordinal), kept, document_bytes(kept.document), ttl_ms)

    async def forget_documents(self, kind: Kind, ordinals: Sequence[int]) -> None:
        """See DocumentCache."""
        for ordinal in ordinals:
            gone = self._kept.pop((kind, ordinal), None)
            self._bytes -= 0 if gone is None else gone[1]

    def _get(self, key: Key) -> CachedList | CachedDocument | None:
        entry = self._kept.get(key)
        if entry is None:
            return None
        kept, size, until_ms = entry
        if self._clock_ms() >= until_ms:
            del self._kept[key]
            self._bytes -= size
            return None
        self._kept.move_to_end(key)
        return kept

    def _put(self, key: Key, kept: CachedList | CachedDocument, size: int, ttl_ms: int) -> None:
        before = self._kept.pop(key, None)
        self._bytes -= 0 if before is None else before[1]
        if size > self._max_bytes // 8:  # one list must not drive out all the others
            return
        self._kept[key] = (kept, size, self._clock_ms() + ttl_ms)
        self._bytes += size
        while self._bytes > self._max_bytes:
            _, (_, gone, _) = self._kept.popitem(last=False)
            self._bytes -= gone


def list_bytes(kept: CachedList) -> int:
    """Memory that a list takes."""
    interests: list[CachedList | CachedMutual] = [kept] if kept.mutual is None else [kept, kept.mutual]
    of_interests = [array for one in interests for array in (one.rows, one.weights, one.vector, one.suited)]
    arrays = (*of_interests, kept.shared, kept.units, kept.best, kept.scores)
    traits = sum(len(value) + 3 * TEXT_OVERHEAD for _, value, _ in kept.traits)
    return LIST_OVERHEAD + sum(array.nbytes for array in arrays) + traits
