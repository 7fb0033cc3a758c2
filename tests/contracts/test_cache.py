"""What every cache promises; see `recommender.ports.ListCache` and `DocumentCache`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.memory.cache import MemoryCache
from gateway.adapters.redis.cache import RedisCache
from gateway.adapters.redis.server import Timeouts
from recommender.documents import Budget, BudgetType, JobStatus, Kind, Level, Money
from recommender.ports import Cache, CachedDocument, CachedList, Lost
from recommender.query import Strategy
from tests.factories import NOW_MS, job, talent
from tests.servers import redis_binary, running_redis, running_redis_cluster, wheel_binary

PATIENT = Timeouts(connect_ms=30_000, read_ms=30_000, write_ms=30_000)  # a loaded machine is no dead server
LONG_MS = 60_000


class OpenCache(Cache, Protocol):
    def close(self) -> None: ...


@pytest.fixture(scope="module", params=["memory", "redis", "valkey", "cluster"])
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """Without persistence: a cache needs none."""
    if request.param == "memory":
        yield None
        return
    if request.param == "cluster":
        with running_redis_cluster(tmp_path_factory.mktemp("cluster"), "--appendonly", "no") as server:
            yield server.url
        return
    binary = redis_binary() if request.param == "redis" else wheel_binary()
    with running_redis(tmp_path_factory.mktemp(request.param), "--appendonly", "no", binary=binary) as server:
        yield server.url


def new_cache(url: str | None, *, max_bytes: int = 50_000_000, **names: str) -> OpenCache:
    if url is None:
        return MemoryCache(max_bytes, lambda: NOW_MS)
    given = {"namespace": uuid.uuid4().hex, "catalogue": "c", "process": "p1", **names}
    return RedisCache.open(url, max_bytes=max_bytes, timeouts=PATIENT, **given)


@pytest.fixture
def cache(server_url: str | None) -> Iterator[OpenCache]:
    opened = new_cache(server_url)
    yield opened
    opened.close()


def kept_list(size: int = 5, **changes: Any) -> CachedList:
    values: dict[str, Any] = {
        "made_at_ms": NOW_MS,
        "revision": 2**52,
        "basis": "",
        "strategy": Strategy.COLLABORATIVE,
        "rows": np.array([0, 7], np.int32),
        "weights": np.array([-0.1, 1 / 3]),
        "vector": np.array([1e-300, -2.5, np.pi]),
        "traits": (("skills", "c++", 6), ("title", "naïve\n“”\0", 1)),
        "shared": np.array([1, 2, 3, 70_000, 2**32 - 1], np.uint32),
        "units": np.array([1.0, 2.0, 8.0, 1.0, 65_535.0]),
        "best": np.arange(size, dtype=np.uint32)[::-1].copy(),
        "scores": np.linspace(1, 0, size),
        "is_whole": True,
        **changes,
    }
    return CachedList(**values)


def same(one: CachedList | Lost, other: CachedList) -> bool:
    """Bit for bit."""

    def plain(value: Any) -> Any:
        return (str(value.dtype), value.tobytes()) if isinstance(value, np.ndarray) else value

    return isinstance(one, CachedList) and all(
        plain(getattr(one, field.name)) == plain(getattr(other, field.name)) for field in fields(CachedList)
    )


async def the_list(cache: Cache, key: str) -> CachedList | Lost:
    return (await cache.get_lists([key], LONG_MS))[0]


async def test_an_empty_cache_has_nothing(cache: OpenCache) -> None:
    assert await cache.get_lists(["a", "b"], LONG_MS) == [Lost.ABSENT, Lost.ABSENT]
    assert await cache.get_documents(Kind.JOB, [1, 2]) == [Lost.ABSENT, Lost.ABSENT]
    assert await cache.get_lists([], LONG_MS) == []
    assert await cache.get_documents(Kind.TALENT, []) == []
    assert await cache.claim([], LONG_MS) == []
    await cache.release([])
    await cache.put_lists({}, LONG_MS)
    await cache.put_documents(Kind.JOB, [], LONG_MS)


async def test_a_list_comes_back_bit_for_bit(cache: OpenCache) -> None:
    empty = {"rows": np.empty(0, np.int32), "weights": np.empty(0), "vector": np.empty(0)}
    nothing = {**empty, "shared": np.empty(0, np.uint32), "units": np.empty(0), "traits": ()}
    lists = {
        "whole": kept_list(),
        "large": kept_list(600, is_whole=False),
        "nobody": kept_list(0, **nothing, strategy=Strategy.POPULAR),
        "fractions": kept_list(units=np.array([0.5, 1.0, 2.0, 3.0, 1e9]), basis="b", strategy=Strategy.CONTENT),
    }
    await cache.put_lists(lists, LONG_MS)
    for key, kept in lists.items():
        assert same(await the_list(cache, key), kept), key


LENGTHS = st.integers(0, 6)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_any_list_comes_back_bit_for_bit(cache: OpenCache, data: st.DataObject) -> None:
    rows, width, shared, best = (data.draw(LENGTHS) for _ in range(4))

    def floats(count: int) -> Any:
        return np.array(data.draw(st.lists(st.floats(allow_nan=False), min_size=count, max_size=count)), np.float64)

    def numbers(count: int, **bounds: Any) -> list[int]:
        return data.draw(st.lists(st.integers(0, 2**31 - 1), min_size=count, max_size=count, **bounds))

    kept = kept_list(
        rows=np.array(numbers(rows), np.int32),
        weights=floats(rows),
        vector=floats(width),
        shared=np.array(sorted(numbers(shared, unique=True)), np.uint32),
        units=np.abs(floats(shared)),
        best=np.array(numbers(best), np.uint32),
        scores=floats(best),
        traits=tuple(data.draw(st.lists(st.tuples(st.just("skills"), st.text(), st.integers(1, 90)), max_size=5))),
        is_whole=data.draw(st.booleans()),
        strategy=data.draw(st.sampled_from(Strategy)),
        made_at_ms=data.draw(st.integers(0, 2**45)),
        revision=data.draw(st.integers(0, 2**53)),
    )
    await cache.put_lists({"k": kept}, LONG_MS)
    assert same(await the_list(cache, "k"), kept)


async def test_lists_come_in_the_order_of_the_keys_and_the_last_one_put_wins(cache: OpenCache) -> None:
    await cache.put_lists({"a": kept_list(1), "ü\n": kept_list(2)}, LONG_MS)
    await cache.put_lists({"a": kept_list(3)}, LONG_MS)
    found = await cache.get_lists(["ü\n", "nobody's", "a", "ü\n"], LONG_MS)
    assert [len(one.best) if isinstance(one, CachedList) else one for one in found] == [2, Lost.ABSENT, 3, 2]


async def test_documents_come_back_whole_and_kinds_do_not_mix(cache: OpenCache) -> None:
    rich_job = job(
        7,
        client_id="c\0",
        title="Ünï “code”",
        description="x" * 10_000,
        skills=("C++", "node.js"),
        category="Data",
        country="DE",
        is_remote=False,
        budget=Budget(BudgetType.FIXED, None, Decimal("1000.50"), "EUR"),
        level=Level.EXPERT,
        status=JobStatus.PAUSED,
        posted_at_ms=-1,
        expires_at_ms=NOW_MS,
        attributes={"visa": "yes", "ключ": "значение"},
        updated_at_ms=NOW_MS,
    )
    rich_talent = talent(7, hourly_rate=Money(Decimal("55"), "USD"), is_available=False, skills=("Go",))
    jobs = [CachedDocument(3, rich_job), CachedDocument(4, job(8))]
    await cache.put_documents(Kind.JOB, jobs, LONG_MS)
    await cache.put_documents(Kind.TALENT, [CachedDocument(5, rich_talent)], LONG_MS)
    assert await cache.get_documents(Kind.JOB, [8, 9, 7, 8]) == [jobs[1], Lost.ABSENT, jobs[0], jobs[1]]
    assert await cache.get_documents(Kind.TALENT, [7, 8]) == [CachedDocument(5, rich_talent), Lost.ABSENT]
    newer = CachedDocument(6, replace(rich_job, title=None))
    await cache.put_documents(Kind.JOB, [newer], LONG_MS)
    assert await cache.get_documents(Kind.JOB, [7]) == [newer]


async def test_a_thousand_documents_at_once(cache: OpenCache) -> None:
    documents = [CachedDocument(1, job(n)) for n in range(1, 1_001)]
    await cache.put_documents(Kind.JOB, documents, LONG_MS)
    assert await cache.get_documents(Kind.JOB, range(1, 1_001)) == documents


async def test_a_process_may_always_make_what_it_has_claimed(cache: OpenCache) -> None:
    assert await the_list(cache, "a") is Lost.ABSENT
    assert await the_list(cache, "a") is Lost.ABSENT
    assert await cache.claim(["a", "b"], LONG_MS) == [True, True]
    await cache.put_lists({"a": kept_list()}, LONG_MS)
    assert await cache.claim(["a", "b"], LONG_MS) == [True, True]
    await cache.release(["a", "b", "c"])


async def test_many_readers_and_writers_at_once(cache: OpenCache) -> None:
    lists = {str(n): kept_list(n) for n in range(50)}
    await asyncio.gather(*(cache.put_lists({key: kept}, LONG_MS) for key, kept in lists.items()))
    found = await asyncio.gather(*(the_list(cache, key) for key in lists))
    assert all(same(one, kept) for one, kept in zip(found, lists.values(), strict=True))


async def test_memory_stays_within_its_bound_and_the_latest_are_kept(server_url: str | None) -> None:
    cache = new_cache(server_url, max_bytes=200_000)
    for n in range(200):
        await cache.put_lists({f"k{n}": kept_list(600)}, LONG_MS)  # some 7 kB each
    found = await cache.get_lists([f"k{n}" for n in range(200)], LONG_MS)
    cache.close()
    is_kept = [isinstance(one, CachedList) for one in found]
    assert 15 <= sum(is_kept) <= 200_000 // 7_200
    assert is_kept == sorted(is_kept)


async def test_what_is_too_large_is_not_kept_and_takes_the_place_of_nothing(server_url: str | None) -> None:
    cache = new_cache(server_url, max_bytes=4_000_000)
    await cache.put_lists({"small": kept_list()}, LONG_MS)
    await cache.put_lists({"huge": kept_list(200_000)}, LONG_MS)
    small, huge = await cache.get_lists(["small", "huge"], LONG_MS)
    cache.close()
    assert isinstance(small, CachedList)
    assert huge is Lost.ABSENT


async def test_closing_twice_is_harmless(server_url: str | None) -> None:
    cache = new_cache(server_url)
    cache.close()
    cache.close()
