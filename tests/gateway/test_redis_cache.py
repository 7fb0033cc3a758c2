"""The cache on real Redis servers: two processes, garbage, faults, bounds, other tenants."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.adapters.redis.cache import MAX_VALUE_BYTES, RedisCache
from gateway.adapters.redis.cache_encoding import SCHEMA
from gateway.adapters.redis.events import RedisEventLog
from gateway.adapters.redis.server import Timeouts
from gateway.cli.doctor import Status, findings
from gateway.resilience.cache import GuardedCache
from gateway.settings import Settings
from gateway.wiring import open_stores
from recommender.documents import Kind
from recommender.ports import CachedDocument, CachedList, Lost
from recommender.query import RankedPage
from tests.contracts.test_cache import LONG_MS, PATIENT, kept_list, same
from tests.factories import event, job
from tests.recommender.test_caching import Walk, cached_world, jobs_for, page, told, uncached
from tests.servers import RedisServer, free_port, running_redis

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis"), "--appendonly", "no") as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may harm."""
    with running_redis(tmp_path / "redis", "--appendonly", "no") as running:
        yield running


def opened(server: RedisServer, **names: Any) -> RedisCache:
    given = {"namespace": "test", "catalogue": "c", "process": "p1", "max_bytes": 10_000_000, "timeouts": PATIENT}
    return RedisCache.open(server.url, **{**given, **names})


def keys_of(server: RedisServer, pattern: str = "*") -> list[str]:
    answer = server.command("KEYS", pattern).decode().split("\r\n")
    return sorted(answer[2::2])


def test_a_thousand_identical_misses_in_two_processes_are_one_computation(own_server: RedisServer) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.cache_worker", own_server.url, name, "500"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("p1", "p2")
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    told_by = [orjson.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    assert [one["answers"] for one in told_by] == [500, 500]
    assert told_by[0]["lists"] == told_by[1]["lists"]
    assert len(told_by[0]["lists"]) == 1
    assert sum(one.get("lists computed", 0) for one in told_by) == 1
    assert sum(one.get("lists awaited", 0) for one in told_by) == 1


async def test_a_claim_keeps_other_processes_out_until_it_ends(server: RedisServer) -> None:
    namespace = uuid.uuid4().hex
    one, two = (opened(server, namespace=namespace, process=name) for name in ("p1", "p2"))
    assert await one.get_lists(["a"], LONG_MS) == [Lost.ABSENT]
    assert await two.get_lists(["a", "b"], LONG_MS) == [Lost.CLAIMED, Lost.ABSENT]
    assert await two.claim(["a", "b", "c"], LONG_MS) == [False, True, True]
    await two.release(["a"])  # not its own
    assert await two.get_lists(["a"], LONG_MS) == [Lost.CLAIMED]
    await one.release(["a"])
    assert await two.get_lists(["a"], LONG_MS) == [Lost.ABSENT]
    await two.put_lists({"a": kept_list()}, LONG_MS)
    assert await one.claim(["a"], 20) == [True]
    await asyncio.sleep(0.1)
    assert await two.claim(["a"], LONG_MS) == [True]  # whoever had it has died
    one.close()
    two.close()


async def test_what_is_too_large_gives_up_its_claim(server: RedisServer) -> None:
    namespace = uuid.uuid4().hex
    one, two = (opened(server, namespace=namespace, process=name) for name in ("p1", "p2"))
    await one.get_lists(["a"], LONG_MS)
    await one.put_lists({"a": kept_list(MAX_VALUE_BYTES // 12 + 1)}, LONG_MS)
    assert await two.get_lists(["a"], LONG_MS) == [Lost.ABSENT]
    one.close()
    two.close()


async def test_whatever_stands_under_a_key_is_the_value_or_garbage(server: RedisServer) -> None:
    namespace = uuid.uuid4().hex
    cache = opened(server, namespace=namespace)
    kept = kept_list(20)
    await cache.put_lists({"a": kept, "b": kept}, LONG_MS)
    await cache.put_documents(Kind.JOB, [CachedDocument(1, job(1)), CachedDocument(1, job(2))], LONG_MS)
    prefix = f"{{{namespace}:cache}}:c:"
    raw = server.command("GET", f"{prefix}l:a").partition(b"\r\n")[2][:-2]
    document = server.command("GET", f"{prefix}d:job:1").partition(b"\r\n")[2][:-2]
    dice = random.Random(1)
    garbage = [b"", b"x", b"\x80\x04pickle", raw + b"\0", raw[:2] + bytes([SCHEMA + 1]) + raw[3:], document]
    garbage += [raw[: dice.randrange(len(raw))] for _ in range(20)]
    for _ in range(40):
        place = dice.randrange(len(raw))
        garbage.append(raw[:place] + bytes([raw[place] ^ (1 << dice.randrange(8))]) + raw[place + 1 :])
    for value in garbage:
        server.command("SET", f"{prefix}l:a", value)
        assert await cache.get_lists(["a"], LONG_MS) == [Lost.GARBAGE], value
    server.command("SET", f"{prefix}l:a", server.command("GET", f"{prefix}l:b").partition(b"\r\n")[2][:-2])
    assert await cache.get_lists(["a"], LONG_MS) == [Lost.GARBAGE]  # whole, but of another key: of another subject
    server.command("SET", f"{prefix}d:job:1", server.command("GET", f"{prefix}d:job:2").partition(b"\r\n")[2][:-2])
    assert await cache.get_documents(Kind.JOB, [1]) == [Lost.GARBAGE]
    server.command("SET", f"{prefix}d:job:1", raw)
    assert await cache.get_documents(Kind.JOB, [1, 2]) == [Lost.GARBAGE, CachedDocument(1, job(2))]
    server.command("DEL", f"{prefix}l:a")
    server.command("LPUSH", f"{prefix}l:a", "another type")
    assert await cache.get_lists(["a"], LONG_MS) == [Lost.ABSENT]
    await cache.put_lists({"a": kept}, LONG_MS)
    assert same((await cache.get_lists(["a"], LONG_MS))[0], kept)
    cache.close()


@pytest.mark.parametrize(
    "garbage", [("SET", "x"), ("HSET", "", "x"), ("HSET", "", "nan"), ("LPUSH", "x"), ("ZADD", "1", "x")]
)
async def test_garbage_in_place_of_claims_and_bounds_makes_way(server: RedisServer, garbage: tuple[str, ...]) -> None:
    namespace = uuid.uuid4().hex
    cache = opened(server, namespace=namespace, max_bytes=20_000)
    prefix, (command, *values) = f"{{{namespace}:cache}}:", garbage
    keys = [f"{prefix}c:l:a:claim", f"{prefix}c:l:b:claim", f"{prefix}index", f"{prefix}sizes"]
    for key in keys:
        server.command(command, key, *values)
    assert await cache.get_lists(["a"], LONG_MS) == [Lost.ABSENT]
    assert await cache.claim(["b"], LONG_MS) == [True]
    await cache.release(["b"])
    assert keys_of(server, f"{prefix}*:claim") == [keys[0]]
    await cache.put_lists({"a": kept_list(20)}, LONG_MS)
    assert same((await cache.get_lists(["a"], LONG_MS))[0], kept_list(20))
    await cache.put_lists({str(number): kept_list(20) for number in range(100)}, LONG_MS)
    assert 0 < len(keys_of(server, f"{prefix}c:l:*")) < 60  # and the memory is bounded as before
    cache.close()


async def test_garbage_is_a_miss_that_is_counted_and_written_over(server: RedisServer) -> None:
    world = cached_world()
    world.cache = cache = opened(server, namespace=uuid.uuid4().hex)
    recommender = world.replica()
    expected = told(await page(recommender, jobs_for()))
    (key,) = [key for key in keys_of(server) if cache._prefix in key and ":l:" in key]
    server.command("SET", key, "garbage")
    assert told(await page(recommender, jobs_for())) == expected
    assert told(await page(recommender, jobs_for())) == expected
    counts = recommender.cache_counts
    assert (counts["lists", "garbage"], counts["lists", "computed"], counts["lists", "hit"]) == (1, 2, 1)
    cache.close()


@pytest.mark.parametrize("seed", [7, 8])
async def test_answers_are_the_same_through_redis_while_everything_changes(server: RedisServer, seed: int) -> None:
    cache = opened(server, namespace=uuid.uuid4().hex)
    walk = Walk(seed, cache)
    await walk.run(25)
    assert walk.cached.cache_counts["lists", "hit"] > 5
    assert ("cache", "failed") not in walk.cached.cache_counts
    cache.close()


async def test_every_key_has_the_same_hash_tag_with_the_namespace_and_none_lasts(server: RedisServer) -> None:
    namespace = uuid.uuid4().hex
    world = cached_world()
    world.cache = cache = opened(server, namespace=namespace)
    recommender = world.replica()
    found = await page(recommender, jobs_for(first=3))
    await recommender.documents(Kind.JOB, [item.ordinal for item in found.items])
    await cache.claim(["x"], LONG_MS)
    keys = keys_of(server, f"*{namespace}*")
    assert len(keys) == 7  # a list, three documents, a claim, the two bounds
    assert all(key.startswith(f"{{{namespace}:cache}}:") for key in keys)
    (kept,) = [key for key in keys if ":l:m1:1:" in key]  # the model's version and the history's
    assert "t1" not in kept
    assert all(int(server.command("PTTL", key)[1:-2]) > 0 for key in keys)
    cache.close()


async def test_namespaces_and_catalogues_share_nothing(server: RedisServer) -> None:
    namespace = uuid.uuid4().hex
    names = [{"namespace": namespace}, {"namespace": f"{namespace}2"}, {"namespace": namespace, "catalogue": "other"}]
    caches = [opened(server, **some) for some in names]
    await caches[0].put_lists({"a": kept_list()}, LONG_MS)
    await caches[0].put_documents(Kind.JOB, [CachedDocument(1, job(1))], LONG_MS)
    for other in caches[1:]:
        assert await other.get_lists(["a"], LONG_MS) == [Lost.ABSENT]
        assert await other.get_documents(Kind.JOB, [1]) == [Lost.ABSENT]
    for cache in caches:
        cache.close()


async def test_two_tenants_bounds_are_their_own_and_values_end(server: RedisServer) -> None:
    cache = opened(server, namespace=uuid.uuid4().hex)
    await cache.put_lists({"a": kept_list()}, 30)
    await asyncio.sleep(0.1)
    assert await cache.get_lists(["a"], LONG_MS) == [Lost.ABSENT]
    await cache.put_lists({"b": kept_list()}, LONG_MS)
    sizes = server.command("HGETALL", f"{cache._prefix.removesuffix('c:')}sizes").decode().split("\r\n")[2::2]
    assert len(sizes) == 4  # of b and of all: a's bytes are given back
    assert sizes[1] == sizes[3] or len(set(sizes)) == 3
    cache.close()


async def test_a_full_server_that_evicts_nothing_does_not_disturb_the_event_log(tmp_path: Path) -> None:
    with running_redis(tmp_path / "shared", "--maxmemory", "20mb", "--maxmemory-policy", "noeviction") as shared:
        log = RedisEventLog.open(shared.url, namespace="test", timeouts=Timeouts(connect_ms=30_000, read_ms=30_000))
        cache = opened(shared, max_bytes=3_000_000)
        for n in range(400):  # 11 MB of lists
            await cache.put_lists({f"k{n}": kept_list(2_400)}, LONG_MS)
        used = sum(int(shared.command("STRLEN", key)[1:-2]) for key in keys_of(shared, "*:l:*"))
        assert 2_000_000 < used < 3_000_000
        assert [outcome.value for outcome in await log.append([event()])] == ["accepted"]
        cache.close()
        log.close()


# ---- Faults ---------------------------------------------------------------------------------------------------------


async def test_without_a_server_every_process_computes_for_itself_and_it_is_found_when_it_comes(tmp_path: Path) -> None:
    absent = RedisServer(tmp_path / "late", "--appendonly", "no")
    world = cached_world()
    world.cache = cache = opened(absent)
    recommender = world.replica()
    assert "nothing answers there" in (cache.problem() or "")
    expected = told(await page(uncached(world), jobs_for()))
    for _ in range(3):
        assert told(await page(recommender, jobs_for())) == expected
    assert recommender.cache_counts["cache", "failed"] > 0
    absent.start()
    try:
        assert cache.problem() is None
        hits, failed = recommender.cache_counts["lists", "hit"], recommender.cache_counts["cache", "failed"]
        for _ in range(2):
            await page(recommender, jobs_for())
        assert recommender.cache_counts["lists", "hit"] == hits + 2  # what was kept here meanwhile is there now
        absent.command("FLUSHALL")
        absent.command("SCRIPT", "FLUSH")
        for _ in range(2):
            await page(recommender, jobs_for())
        assert recommender.cache_counts["lists", "hit"] == hits + 4
        assert recommender.cache_counts["cache", "failed"] == failed
    finally:
        absent.kill()
        cache.close()


async def test_a_server_that_hangs_costs_a_few_milliseconds_once(own_server: RedisServer) -> None:
    world = cached_world()
    cache = opened(own_server, timeouts=Timeouts(connect_ms=100, read_ms=100, write_ms=500))
    world.cache = guarded = GuardedCache(cache)
    recommender = world.replica()
    cache.problem()
    await page(recommender, jobs_for())
    own_server.pause()
    begun = time.monotonic()
    answers = await asyncio.gather(*(recommender.lists([jobs_for(f"t{n}")]) for n in range(1, 30)))
    seconds = time.monotonic() - begun
    asked = guarded.guard.counts["failed"]
    await page(recommender, jobs_for("t31"))
    assert guarded.guard.counts["failed"] == asked
    own_server.resume()
    assert all(isinstance(answer, RankedPage) for (answer,) in answers)
    assert seconds < 5  # 29 requests at once wait 100 ms each; one after the other without an end it would be more
    await guarded.guard.close()
    cache.close()


def found_by_doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> tuple[Status, str]:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TANDEM_CACHE_URL", url)
    (found,) = [finding for finding in findings() if finding.part == "cache"]
    return found.status, found.text


def test_the_doctor_says_what_is_wrong_with_the_cache_and_nobody_needs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with running_redis(tmp_path / "closed", "--appendonly", "no", "--requirepass", "right") as closed:
        place = f"127.0.0.1:{closed.port}"
        status, text = found_by_doctor(monkeypatch, tmp_path, f"redis://:right@{place}/0")
        assert (status, text) == (Status.OK, f"redis://***@{place}/0, at most 128 MB")
        status, text = found_by_doctor(monkeypatch, tmp_path, f"redis://:wrong@{place}/0")
        assert status is Status.WARN
        assert "refuses the user or the password" in text
        assert "every list is computed" in text
        assert "wrong" not in text.replace("wrong@", "")
    status, text = found_by_doctor(monkeypatch, tmp_path, f"redis://127.0.0.1:{free_port()}/0")
    assert status is Status.WARN
    assert "nothing answers there" in text
    monkeypatch.delenv("TANDEM_CACHE_URL")
    status, text = found_by_doctor(monkeypatch, tmp_path, "memory://")
    assert (status, text) == (Status.OK, "in the process, at most 128 MB")


def test_the_setting_picks_the_cache(server: RedisServer, tmp_path: Path) -> None:
    for url, adapter in ((server.url, "RedisCache"), ("memory://", "MemoryCache")):
        stores = open_stores(Settings(data_dir=tmp_path, cache_url=url))
        assert type(stores.cache).__name__ == adapter
        stores.close()


async def test_a_replaced_list_is_that_of_the_last_writer(server: RedisServer) -> None:
    namespace = uuid.uuid4().hex
    one, two = (opened(server, namespace=namespace, process=name) for name in ("p1", "p2"))
    first, second = kept_list(3), replace(kept_list(3), revision=9)
    await one.put_lists({"a": first}, LONG_MS)
    await two.put_lists({"a": second}, LONG_MS)
    (found,) = await one.get_lists(["a"], LONG_MS)
    assert isinstance(found, CachedList)
    assert found.revision == 9
    one.close()
    two.close()
