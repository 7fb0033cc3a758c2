"""A kept document is the same object until it changes, and nothing of one that has changed or gone is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.adapters.memory.cache import MemoryCache
from recommender.caching import Caching
from recommender.documents import Changes, Kind
from recommender.kept_documents import KeptDocuments, document_bytes
from recommender.mirror import Mirror
from recommender.ports import CachedDocument
from tests.factories import NOW_MS, job
from tests.recommender.fakes import FakeCatalogue


class CountingCache(MemoryCache):
    """Says how often it was asked."""

    def __init__(self) -> None:
        super().__init__(1_000_000, lambda: 0)
        self.calls: Counter[str] = Counter()

    async def get_documents(self, kind: Kind, ordinals: Sequence[int]) -> list[Any]:
        self.calls["get"] += 1
        return await super().get_documents(kind, ordinals)

    async def put_documents(self, kind: Kind, documents: Sequence[CachedDocument], ttl_ms: int) -> None:
        self.calls["put"] += 1
        await super().put_documents(kind, documents, ttl_ms)


def mirror_of(*numbers: int) -> Mirror:
    mirror = Mirror(Kind.JOB)
    mirror.apply(Changes(1, [job(number) for number in numbers], ()))
    return mirror


def test_what_has_not_changed_comes_back_as_the_object_that_it_was() -> None:
    mirror, kept = mirror_of(1, 2, 3), KeptDocuments()
    first, second = job(1), job(2)
    kept.put(mirror, 1, [first, second])
    found = kept.get(mirror, [1, 2, 3, 4])
    assert list(found) == [1, 2]
    assert found[1] is first
    kept.put(mirror, 2, [replace(first)])  # read again
    assert kept.get(mirror, [1])[1] is first


def test_what_has_changed_or_gone_is_kept_no_longer_and_not_taken_late() -> None:
    mirror, kept = mirror_of(1, 2, 3), KeptDocuments()
    kept.put(mirror, 1, [job(1), job(2), job(3)])
    mirror.apply(Changes(2, [job(1, title="changed")], (2,)))
    assert list(kept.get(mirror, [1, 2, 3])) == [3]
    assert len(kept) == 1
    kept.put(mirror, 1, [job(1), job(2)])  # what was read before the change
    assert len(kept) == 1
    kept.put(mirror, 2, [job(1, title="changed")])
    kept.put(mirror, 1, [job(1)])
    assert kept.get(mirror, [1])[1].title == "changed"


def test_a_document_that_the_mirror_never_had_is_nobodys_to_vouch_for() -> None:
    mirror, kept = mirror_of(1), KeptDocuments()
    kept.put(mirror, 1, [job(9)])
    assert not kept.get(mirror, [9])


def test_bytes_are_bounded_and_what_was_not_used_for_longest_goes_first() -> None:
    size = document_bytes(job(1))
    mirror, kept = mirror_of(*range(1, 30)), KeptDocuments(10 * size + size // 2)
    kept.put(mirror, 1, [job(number) for number in range(1, 11)])
    kept.get(mirror, [1])
    kept.put(mirror, 1, [job(11), job(12)])
    assert list(kept.get(mirror, range(1, 13))) == [1, *range(4, 13)]
    assert kept.size_bytes <= 10 * size + size // 2
    kept.put(mirror, 1, [job(13, description="x" * 10 * size)])
    assert len(kept) == 10
    kept.forget(Kind.JOB, range(1, 30))
    assert (len(kept), kept.size_bytes) == (0, 0)


def test_an_id_is_forgotten_whatever_its_ordinal() -> None:
    mirror, kept = mirror_of(1, 2), KeptDocuments()
    kept.put(mirror, 1, [job(1), job(2)])
    kept.forget_id(Kind.JOB, job(2).id)
    assert list(kept.get(mirror, [1, 2])) == [1]


async def test_a_page_whose_documents_are_kept_asks_neither_cache_nor_catalogue_for_them() -> None:
    catalogue, cache = FakeCatalogue([job(1), job(2), job(3)]), CountingCache()
    caching, mirror = Caching(cache, lambda: NOW_MS, KeptDocuments()), await catalogue.mirror(Kind.JOB)
    first = await caching.documents(catalogue, mirror, [1, 2, 3])
    catalogue.calls.clear()
    cache.calls.clear()
    again = await caching.documents(catalogue, mirror, [3, 1, 2, 1])
    assert [id(one) for one in again] == [id(first[place]) for place in (2, 0, 1, 0)]
    assert not catalogue.calls
    assert not cache.calls
    catalogue.change(Kind.JOB, 2, title="changed")
    found = await caching.documents(catalogue, mirror, [1, 2])
    assert [one and one.title for one in found] == [first[0] and first[0].title, "changed"]
    assert (catalogue.calls, cache.calls) == ({"get_many job": 1}, {"get": 1, "put": 1})
    assert caching.counts["documents", "hit"] == 4
