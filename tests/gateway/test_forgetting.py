"""Of somebody whom another gateway erased this one keeps nothing at hand: no document, no page, no history."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from gateway.adapters.memory.cache import MemoryCache
from gateway.adapters.sqlite.catalogue import SqliteCatalogue
from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.cli.serve import forgetting
from gateway.forgetting import Forgetting
from gateway.graphql.remembered import remembered
from gateway.resilience.event_log import GuardedEventLog
from gateway.resilience.guards import Guards
from gateway.wiring import Guarded
from recommender.documents import Kind, Patch, Talent
from recommender.events import EventType
from recommender.ports import CachedDocument, SubjectKey
from tests.factories import NOW_MS, event
from tests.gateway.served_market import close_market, open_market

SECRET = "person-7f3a9c"


class _Made:
    """What a schema makes of a document."""


def documents_of_the_erased() -> int:
    gc.collect()
    return sum(isinstance(found, Talent) and found.id == SECRET for found in gc.get_objects())


async def test_what_is_deleted_elsewhere_is_dropped_here(tmp_path: Path) -> None:
    market = await open_market(tmp_path)
    another = SqliteCatalogue.open(tmp_path / "catalogue.db")
    log = SqliteEventLog.open(tmp_path / "events.db")
    events, cache = GuardedEventLog(log), MemoryCache(8_000_000, lambda: NOW_MS)
    await another.upsert(Kind.TALENT, [Patch(SECRET, {"title": "Developer", "skills": ("Go",)})])
    await events.append([event(talent_id=SECRET, job_id="j1", occurred_at_ms=NOW_MS)])
    await events.append([event(EventType.DISMISS, SECRET, "j1"), event(EventType.DISMISS, "t1", "j2")])
    ports = Guarded(market.catalogue, events, cache, Guards())  # type: ignore[arg-type]
    looking = forgetting(ports, market.services)
    await looking.look()

    (document,) = await market.catalogue.get_many(Kind.TALENT, ids=[SECRET])
    await cache.put_documents(Kind.TALENT, [CachedDocument(1, document)], 3_600_000)
    remembered(lambda _: _Made())(document)
    del document
    await market.data(f'{{ talent(talentId: "{SECRET}") {{ title recommendedJobs {{ nodes {{ title }} }} }} }}')
    subjects = [SubjectKey(Kind.TALENT, SECRET), SubjectKey(Kind.JOB, "j1"), SubjectKey(Kind.JOB, "j2")]
    await events.history(subjects)
    assert documents_of_the_erased() > 0
    assert len(events._kept) == 3
    assert {subject.id for subject in events._telling} == {SECRET, "j1", "t1", "j2"}

    await another.delete(Kind.TALENT, SECRET, erase=True)
    await looking.look()
    assert documents_of_the_erased() == 0
    assert [subject.id for subject, _ in events._kept] == ["j2"]
    assert {subject.id for subject in events._telling} == {"t1", "j2"}
    log.close()
    another.close()
    await close_market(market)


async def test_looking_goes_on_for_ever_and_costs_nothing_while_nothing_is_deleted(tmp_path: Path) -> None:
    market = await open_market(tmp_path)
    told: asyncio.Queue[object] = asyncio.Queue()
    cache = MemoryCache(8_000_000, lambda: NOW_MS)
    looking = asyncio.create_task(
        Forgetting(
            market.catalogue,  # type: ignore[arg-type]
            cache,
            lambda *gone: told.put_nowait(gone),
            market.services.remains.serving_log,  # type: ignore[union-attr, arg-type]
        ).follow(every_seconds=0.01)
    )
    await asyncio.sleep(0.05)
    assert told.empty()
    await market.catalogue.delete(Kind.JOB, "j3")
    (ordinal,) = await market.catalogue.ensure(Kind.JOB, ["j3"])
    assert await asyncio.wait_for(told.get(), 20) == (Kind.JOB, [ordinal], ["j3"])
    assert told.empty()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    await close_market(market)
