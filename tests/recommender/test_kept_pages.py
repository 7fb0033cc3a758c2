"""A page that is at hand is served again only while nothing that it rests on has changed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recommender.documents import JobStatus, Kind
from recommender.events import EventType
from recommender.filters import JobFilter
from recommender.kept_pages import KEPT_MS
from recommender.rules import Rule, RuleKind
from tests.factories import NOW_MS, event, job
from tests.recommender.fakes import World, model
from tests.recommender.test_caching import cached_world, jobs_for, page, told, uncached

EXPIRES_MS = NOW_MS + 30_000


async def world_with_a_page() -> tuple[World, list[str]]:
    """One whose next request has its page at hand; and the ids in it."""
    world = cached_world()
    world.catalogue.put(job(500, skills=("Go", "SQL"), expires_at_ms=EXPIRES_MS))
    await page(world.recommender, jobs_for())
    found = await page(world.recommender, jobs_for())
    return world, [item.id for item in found.items]


async def is_at_hand(world: World) -> bool:
    """Whether the page is served without a look at the candidates; it is right in any case."""
    world.forget_calls()
    found = await page(world.recommender, jobs_for())
    was_matched = "matching job" in world.calls
    assert told(found) == told(await page(uncached(world), jobs_for()))
    return not was_matched


async def test_an_unchanged_page_is_at_hand_under_a_new_id_and_in_the_serving_log() -> None:
    world, _ = await world_with_a_page()
    first, second = [await page(world.recommender, jobs_for()) for _ in range(2)]
    assert [(one.request_id, len(one.items)) for one in world.serving_log.served[-2:]] == [
        (first.request_id, 20),
        (second.request_id, 20),
    ]
    assert first.request_id != second.request_id
    assert await is_at_hand(world)


async def test_the_page_behind_one_that_was_at_hand_goes_on_with_it() -> None:
    world, shown = await world_with_a_page()
    found = await page(world.recommender, jobs_for())
    following = await page(world.recommender, jobs_for(after=found.items[-1].position))
    assert not {item.id for item in following.items} & set(shown)
    assert following.items[0].rank == 21


def _trained_anew(world: World) -> None:
    world.models.publish(model("m9", seed=9))
    world.recommender.refresh_model()


def _later(world: World, ms: int) -> None:
    world.now_ms += ms


CHANGES: dict[str, Callable[[World, str], None]] = {
    "event": lambda world, shown: world.events.add(event(EventType.DISMISS, "t1", shown)),
    "erasure": lambda world, _: world.events.events.clear(),
    "closed": lambda world, shown: world.catalogue.change(Kind.JOB, int(shown[1:]), status=JobStatus.CLOSED),
    "deleted": lambda world, shown: world.catalogue.remove(Kind.JOB, int(shown[1:])),
    "posted": lambda world, _: world.catalogue.put(job(600, skills=("Go", "SQL"))),
    "model": lambda world, _: _trained_anew(world),
    "expiry": lambda world, _: _later(world, EXPIRES_MS - NOW_MS),
    "age": lambda world, _: _later(world, KEPT_MS),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_page_is_made_anew_after_a_change(change: Callable[[World, str], None]) -> None:
    world, shown = await world_with_a_page()
    assert await is_at_hand(world)
    change(world, shown[0])
    assert not await is_at_hand(world)


async def test_a_rule_leaves_its_items_out_at_once() -> None:
    world, shown = await world_with_a_page()
    world.recommender.steer([Rule(name="out", kind=RuleKind.EXCLUDE, items=JobFilter(ids=(shown[0],)))])
    found = await page(world.recommender, jobs_for())
    assert [item.id for item in found.items][:19] == shown[1:]


async def test_others_events_leave_a_page_at_hand() -> None:
    world, shown = await world_with_a_page()
    world.events.add(event(EventType.SAVE, "t2", shown[0]), event(EventType.IMPRESSION, "t1", shown[0]))
    assert await is_at_hand(world)


async def test_a_page_comes_with_the_documents_that_were_shown_until_one_of_them_changes() -> None:
    world, shown = await world_with_a_page()
    found = await page(world.recommender, jobs_for())
    documents = await world.recommender.documents(Kind.JOB, [item.ordinal for item in found.items])
    world.recommender.show(found, documents)
    first, second = [await page(world.recommender, jobs_for()) for _ in range(2)]
    assert first.shown is not None
    assert [(item.id, document.id) for item, document in first.shown] == [(one, one) for one in shown]
    assert second.shown is first.shown
    world.catalogue.change(Kind.JOB, int(shown[3][1:]), title="Another one")
    assert (await page(world.recommender, jobs_for())).shown is None


async def test_a_page_comes_with_no_document_that_is_missing_or_was_read_before_another_one() -> None:
    world, shown = await world_with_a_page()
    found = await page(world.recommender, jobs_for())
    documents = await world.recommender.documents(Kind.JOB, [item.ordinal for item in found.items])
    world.recommender.show(found, [*documents[:-1], None])
    assert (await page(world.recommender, jobs_for())).shown is None
    world.catalogue.change(Kind.JOB, int(shown[3][1:]), title="Another one")
    await page(world.recommender, jobs_for())
    world.recommender.show(found, documents)
    assert (await page(world.recommender, jobs_for())).shown is None
