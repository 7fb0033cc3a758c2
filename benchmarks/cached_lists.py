"""What a ranked list costs without a cache, as a miss and as a hit, side by side: CPU of the process, and wall time.

    OPENBLAS_NUM_THREADS=1 .venv/bin/python -m benchmarks.cached_lists [JOBS] [SUBJECTS]

Over the embedded stores in a temporary directory, and a Redis or Valkey server that it starts. A pass asks for every
subject's list once; passes of all ways are interleaved, and the medians over passes of the mean per list are shown.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np

from gateway.adapters.memory.cache import MemoryCache
from gateway.adapters.redis.cache import RedisCache
from gateway.adapters.redis.server import Timeouts
from gateway.adapters.sqlite.catalogue import SqliteCatalogue
from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from recommender.documents import Kind, Patch
from recommender.events import Event, EventType, actor_of
from recommender.filters import JobFilter, TermFilter
from recommender.model import Hyperparameters, Manifest, Model, Side
from recommender.ports import Cache
from recommender.query import ListQuery, Mode, RankedPage
from recommender.recommender import Recommender
from tests.recommender.fakes import FakeModelStore
from tests.servers import running_redis

WIDTH, EVENTS, PASSES = 64, 30, 5
SKILLS = [f"skill {n}" for n in range(100)]
PATIENT = Timeouts(connect_ms=30_000, read_ms=30_000, write_ms=30_000)


@dataclass
class Cost:
    """Milliseconds for each list, by pass."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def fill(catalogue: SqliteCatalogue, events: SqliteEventLog, jobs: int, subjects: int) -> None:
    """Jobs with three of a hundred skills; talents with two, the first half of them with events."""
    dice = random.Random(1)  # noqa: S311 - the same market each time
    for start in range(0, jobs, 5_000):
        names = range(start, min(jobs, start + 5_000))
        patches = [Patch(f"j{n}", {"skills": tuple(dice.sample(SKILLS, 3)), "client_id": "c"}) for n in names]
        await catalogue.upsert(Kind.JOB, patches)
    talents = [Patch(f"t{n}", {"skills": tuple(dice.sample(SKILLS, 2))}) for n in range(2 * subjects)]
    await catalogue.upsert(Kind.TALENT, talents)
    kinds = (EventType.VIEW, EventType.VIEW, EventType.SAVE, EventType.APPLY)
    for subject in range(subjects):
        done = []
        for n in range(EVENTS):
            kind = dice.choice(kinds)
            job_id = f"j{dice.randrange(jobs)}"
            done.append(Event(f"{subject}.{n}", actor_of(kind), kind, f"t{subject}", job_id, now_ms() - n * 3_600_000))
        await events.append(done)


def random_model(talents: int, jobs: int) -> Model:
    rng = np.random.default_rng(1)

    def side(size: int) -> Side:
        factors = rng.standard_normal((size, WIDTH)).astype(np.float32) * 0.1
        return Side(np.arange(1, size + 1, dtype=np.uint32), factors, rng.random(size).astype(np.float32))

    hyper = Hyperparameters(factors=WIDTH, regularization=0.5, alpha=4.0)
    manifest = Manifest(
        version="m1", trained_at_ms=now_ms(), as_of_ms=now_ms(), watermark=0, events=0, hyperparameters=hyper
    )
    return Model(manifest, side(talents), side(jobs))


async def timed(cost: Cost, recommender: Recommender, queries: list[ListQuery]) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    for query in queries:
        (page,) = await recommender.lists([query])
        assert isinstance(page, RankedPage)
    cost.cpu.append((time.process_time() - cpu) / len(queries) * 1_000)
    cost.wall.append((time.perf_counter() - wall) / len(queries) * 1_000)


async def compare(jobs: int, subjects: int, directory: Path, redis_url: str) -> None:
    catalogue = SqliteCatalogue.open(directory / "catalogue.db")
    events = SqliteEventLog.open(directory / "events.db")
    serving_log = SqliteServingLog.open(directory / "serving.db")
    await fill(catalogue, events, jobs, subjects)
    models = FakeModelStore(random_model(2 * subjects, jobs))

    def recommender(cache: Cache | None) -> Recommender:
        made = Recommender(
            catalogue=catalogue,
            events=events,
            serving_log=serving_log,
            models=models,
            clock_ms=now_ms,
            new_id=lambda: uuid.uuid4().hex,
            cache=cache,
        )
        made.refresh_model()
        return made

    def redis() -> RedisCache:
        names = {"namespace": uuid.uuid4().hex, "catalogue": "c", "process": "p"}
        return RedisCache.open(redis_url, max_bytes=500_000_000, timeouts=PATIENT, **names)

    query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id="", filter=JobFilter())
    narrow = replace(query, filter=JobFilter(skills=TermFilter(all=("skill 7",))))
    cases = {
        "history, all jobs": [replace(query, subject_id=f"t{n}") for n in range(subjects)],
        "history, 3 % of the jobs": [replace(narrow, subject_id=f"t{n}") for n in range(subjects)],
        "no history, all jobs": [replace(query, subject_id=f"t{subjects + n}") for n in range(subjects)],
    }
    plain = recommender(None)
    print(f"{jobs:,} jobs, {subjects} subjects of {EVENTS} events, {PASSES} passes; ms for each list: CPU (wall)\n")
    for name, queries in cases.items():
        costs = {way: Cost() for way in ("no cache", "memory miss", "memory hit", "Redis miss", "Redis hit", "changed")}
        await plain.lists(queries[:3])
        for number in range(PASSES):
            in_memory, in_redis = recommender(MemoryCache(500_000_000, now_ms)), recommender(cache := redis())
            await in_redis.lists([replace(queries[0], subject_id="nobody")])
            await timed(costs["no cache"], plain, queries)
            await timed(costs["memory miss"], in_memory, queries)
            await timed(costs["memory hit"], in_memory, queries)
            await timed(costs["Redis miss"], in_redis, queries)
            await timed(costs["Redis hit"], in_redis, queries)
            changes = [Patch(f"j{n}", {"title": f"changed {number}"}) for n in range(100)]
            await catalogue.upsert(Kind.JOB, changes)
            await catalogue.mirror(Kind.JOB)
            await timed(costs["changed"], in_memory, queries)
            cache.close()
        base = median(costs["no cache"].cpu)
        print(name)
        for way, cost in costs.items():
            cpu, wall = median(cost.cpu), median(cost.wall)
            print(f"  {way:<12} {cpu:7.2f} ({wall:7.2f})   {cpu / base:5.2f} of no cache")
        print()
    for store in (catalogue, events, serving_log):
        store.close()


def main(call: Callable[[int, int, Path, str], Awaitable[None]] = compare) -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 156_000
    subjects = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory() as place, running_redis(Path(place) / "redis", "--appendonly", "no") as server:
        asyncio.run(call(jobs, subjects, Path(place), server.url))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
