"""A process that asks for one list many times at once, behind a cache in Redis; told to begin by a line on stdin."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import orjson

from gateway.adapters.redis.cache import RedisCache
from gateway.adapters.redis.server import Timeouts
from recommender import caching
from recommender.documents import Kind
from recommender.events import EventType
from recommender.filters import JobFilter
from recommender.query import ListQuery, Mode, RankedPage
from tests.factories import event, job, talent
from tests.recommender.fakes import FakeCatalogue, World

PATIENT = Timeouts(connect_ms=30_000, read_ms=30_000, write_ms=30_000)
COMPUTING_SECONDS = 1.0  # so that everybody comes while the list is computed


class SlowCatalogue(FakeCatalogue):
    """Takes its time for what matches."""

    async def matching(self, *arguments: Any, **named: Any) -> Any:
        await asyncio.sleep(COMPUTING_SECONDS)
        return await super().matching(*arguments, **named)


async def ask(url: str, process: str, times: int) -> dict[str, Any]:
    """What came of it: the counts of the cache, and the distinct lists that were answered."""
    # On a loaded machine the other process may take longer than a request would wait for it.
    caching.PATIENCE_SECONDS = 30.0  # type: ignore[misc]
    caching.CLAIM_MS = 60_000  # type: ignore[misc]
    cache = RedisCache.open(
        url, namespace="race", catalogue="c", process=process, max_bytes=10_000_000, timeouts=PATIENT
    )
    world = World(cache=cache)
    world.catalogue = SlowCatalogue([talent(1), *(job(n) for n in range(1, 100))])
    world.events.add(event(EventType.SAVE, "t1", "j3"))
    recommender = world.replica()
    query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id="t1", filter=JobFilter())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    answers = await asyncio.gather(*(recommender.lists([query]) for _ in range(times)))
    cache.close()
    pages = [page for (page,) in answers if isinstance(page, RankedPage)]
    lists = {tuple((item.id, item.score) for item in page.items) for page in pages}
    counts = {f"{of} {outcome}": count for (of, outcome), count in recommender.cache_counts.items()}
    return {"answers": len(pages), "lists": sorted(lists), **counts}


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(asyncio.run(ask(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
