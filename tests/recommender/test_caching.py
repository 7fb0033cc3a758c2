"""A cache changes no answer: lists with one and without one, computed once, never older than an acknowledged event."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway.adapters.memory.cache import MemoryCache
from recommender import ranking, shared_pass
from recommender.caching import HARD_MS, SOFT_MS
from recommender.degradation import CURRENT, Degradation, DegradedReason, degrade, degraded
from recommender.documents import JobStatus, Kind
from recommender.errors import TandemError, UnavailableError
from recommender.events import EventType
from recommender.exposure import Floor
from recommender.fatigue import Fatigue
from recommender.filters import JobFilter, TalentFilter, TermFilter
from recommender.kept_lists import KEPT_BEST
from recommender.ports import CachedDocument, CachedList, Lost
from recommender.query import ListQuery, Mode, Options, Profile, RankedItem, RankedPage
from recommender.recommender import Recommender
from recommender.retrieval import best_of_each
from recommender.rules import Rule, RuleKind
from recommender.search import FacetField
from recommender.steering import Steering
from tests.factories import DAY_MS, event, job, talent
from tests.recommender.fakes import World, model

TALENTS, JOBS = 40, 120
SKILLS = ("Go", "SQL", "C++", "Rust")
DEEDS = list(EventType)


def documents() -> list[Any]:
    return [
        *(talent(n, skills=(SKILLS[n % 4],), title="Go developer" if n % 5 else None) for n in range(1, TALENTS + 3)),
        *(job(n, skills=(SKILLS[n % 4], SKILLS[n % 3]), client_id=f"c{n % 4}") for n in range(1, JOBS + 1)),
    ]


def uncached(world: World) -> Recommender:
    kept, world.cache = world.cache, None
    recommender = world.replica()
    world.cache = kept
    return recommender


def small_cache() -> MemoryCache:
    return MemoryCache(10_000_000, lambda: 0)


def jobs_for(talent_id: str = "t1", **fields: Any) -> ListQuery:
    defaults = {"mode": Mode.RECOMMENDED, "subject_kind": Kind.TALENT, "subject_id": talent_id, "filter": JobFilter()}
    return ListQuery(**{**defaults, **fields})  # type: ignore[arg-type]


async def page(recommender: Recommender, query: ListQuery) -> RankedPage:
    (answer,) = await recommender.lists([query])
    assert isinstance(answer, RankedPage), answer
    return answer


def told(answer: RankedPage | TandemError | None) -> Any:
    """All that two answers to one query must share: everything but the names of the requests and when a list began."""
    if not isinstance(answer, RankedPage):
        return None if answer is None else (type(answer), str(answer))
    items = [_timeless(item) for item in answer.items]
    shown = (items, answer.total, answer.has_next, answer.has_previous, answer.strategy, answer.exactness)
    return (*shown, answer.model.version)


def _timeless(item: RankedItem) -> RankedItem:
    return replace(item, position=replace(item.position, pins=replace(item.position.pins, as_of_ms=0)))


class Walk:
    """Random changes and random queries, the same for recommenders with and without a cache."""

    def __init__(self, seed: int, cache: Any = None, steering: Steering | None = None) -> None:
        self.random = random.Random(seed)
        self.world = World(
            documents(),
            [event(EventType.SAVE, "t1", "j3")],
            model("m0"),
            cache=cache or small_cache(),
            steering=steering,
        )
        self.plain, self.cached = uncached(self.world), self.world.recommender
        self.other_plain, self.other = uncached(self.world), self.world.replica()
        self.next_job, self.models, self.deeds = JOBS + 1, 1, 0
        self.compared = 0
        self.asked = [self.new_query() for _ in range(12)]

    def change(self) -> None:
        dice, catalogue = self.random, self.world.catalogue
        match dice.choice(("deed", "deed", "deed", "post", "edit", "close", "edit talent", "delete", "clock", "model")):
            case "deed":
                self.deeds += 1
                pair = f"t{dice.randint(1, 12)}", f"j{dice.randint(1, self.next_job)}"
                at = self.world.now_ms - dice.randint(0, 40) * DAY_MS
                self.world.events.add(event(dice.choice(DEEDS), *pair, event_id=f"e{self.deeds}", occurred_at_ms=at))
            case "post":
                expires = self.world.now_ms + dice.randint(1, 9) * 1_000 if dice.random() < 0.5 else None
                catalogue.put(job(self.next_job, skills=(dice.choice(SKILLS),), expires_at_ms=expires))
                self.next_job += 1
            case "edit":
                self.edit(dice.choice(catalogue.all(Kind.JOB)).ordinal, skills=(dice.choice(SKILLS),))
            case "close":
                status = dice.choice([JobStatus.OPEN, JobStatus.OPEN, JobStatus.CLOSED])
                self.edit(dice.choice(catalogue.all(Kind.JOB)).ordinal, status=status)
            case "edit talent":
                ordinal = dice.choice(catalogue.all(Kind.TALENT)).ordinal
                catalogue.change(Kind.TALENT, ordinal, skills=(dice.choice(SKILLS),), is_available=dice.random() < 0.8)
            case "delete":
                catalogue.remove(Kind.JOB, dice.choice(catalogue.all(Kind.JOB)).ordinal)
            case "clock":
                self.world.now_ms += dice.choice([1_000, 1_000, SOFT_MS, HARD_MS])
            case "model":
                self.world.models.publish(model(f"m{self.models}", seed=self.models))
                self.models += 1
                for recommender in (self.plain, self.cached, self.other, self.other_plain):
                    recommender.refresh_model()

    def edit(self, ordinal: int, **fields: Any) -> None:
        self.world.catalogue.change(Kind.JOB, ordinal, **fields)

    def query(self) -> ListQuery:
        """Mostly one that was asked before."""
        if self.random.random() < 0.1:
            self.asked[self.random.randrange(len(self.asked))] = self.new_query()
        return replace(self.random.choice(self.asked), first=self.random.choice([1, 5, 20, 200]))

    def new_query(self) -> ListQuery:
        dice = self.random
        skills = TermFilter(any=tuple(dice.sample(SKILLS, 2))) if dice.random() < 0.4 else TermFilter()
        text = dice.choice([None, None, None, "go", "c++"])
        job_filter = JobFilter(skills=skills, ids=("j1", "j2", "j3", "j300") if dice.random() < 0.1 else None)
        options = Options(
            exclude_seen=dice.random() < 0.2, max_per_client=dice.choice([None, None, 1]), rerank=dice.random() < 0.9
        )
        someone = f"t{dice.choice([1, 1, 1, 2, 3, 4, 41, 42, 99])}"
        match dice.choice(("jobs", "jobs", "jobs", "talents", "similar", "profile")):
            case "talents":
                wanted = {"filter": TalentFilter(skills=skills), "subject_kind": Kind.JOB}
                return jobs_for(f"j{dice.randint(1, self.next_job)}", text=text, **wanted)
            case "similar":
                subject = f"j{dice.randint(1, self.next_job)}"
                return jobs_for(subject, mode=Mode.SIMILAR, subject_kind=Kind.JOB, filter=job_filter)
            case "profile":
                profile = Profile(skills=(dice.choice(SKILLS),), liked_job_ids=("j5",) if dice.random() < 0.5 else ())
                return jobs_for(None, profile=profile, filter=job_filter)  # type: ignore[arg-type]
        return jobs_for(someone, filter=job_filter, text=text, options=options)

    async def compare(self, queries: Sequence[ListQuery]) -> Sequence[ListQuery]:
        """Ask both; gives the queries of the next pages."""
        expected = await self.plain.lists(queries)
        found = await self.cached.lists(queries)
        for query, one, other in zip(queries, expected, found, strict=True):
            assert told(other) == told(one), query
            self.compared += 1
        pages = [answer for answer in found if isinstance(answer, RankedPage)]
        asked = [(one, (FacetField.SKILLS,), (), 9) for one in pages]
        plain_pages = [answer for answer in expected if isinstance(answer, RankedPage)]
        again = [(one, (FacetField.SKILLS,), (), 9) for one in plain_pages]
        assert await self.cached.facets(asked) == await self.plain.facets(again)
        shown = [[(one, item) for item in one.items[:3]] for one in (*pages, *plain_pages)]
        half = len(pages)
        for mine, theirs in zip(shown[:half], shown[half:], strict=True):
            assert await self.cached.reasons(mine) == await self.plain.reasons(theirs)
            assert await self.cached.interactions(mine) == await self.plain.interactions(theirs)
        return [
            replace(query, after=answer.items[-1].position)
            for query, answer in zip(queries, found, strict=True)
            if isinstance(answer, RankedPage) and answer.has_next
        ]

    async def run(self, steps: int) -> None:
        paging: list[ListQuery] = []
        for _ in range(steps):
            for _ in range(self.random.choice([0, 0, 1, 1, 3])):
                self.change()
            queries = [self.query() for _ in range(self.random.choice([1, 1, 2, 6]))]
            paging = [*(await self.compare(queries)), *paging][:4]
            if paging and self.random.random() < 0.5:
                paging = list(await self.compare(paging))
            if self.random.random() < 0.2:
                query = self.query()  # of another process that shares the cache
                assert told((await self.other.lists([query]))[0]) == told((await self.other_plain.lists([query]))[0])


@pytest.mark.parametrize("seed", range(4))
async def test_answers_are_the_same_with_a_cache_and_without_while_everything_changes(seed: int) -> None:
    walk = Walk(seed)
    await walk.run(45)
    assert walk.compared > 50
    assert walk.cached.cache_counts["lists", "hit"] > 10


class SteeredWalk(Walk):
    """The same under every step of steering, while rules change and people are shown jobs."""

    def __init__(self, seed: int) -> None:
        steering = Steering(max_per_client=2, fatigue=Fatigue(0.8, 7), new_jobs=Floor(0.3, 7))
        super().__init__(seed, steering=steering)
        self.steer()

    def steer(self) -> None:
        dice = self.random
        out = TermFilter(all=(dice.choice(SKILLS), dice.choice(SKILLS)))
        rules = [
            Rule(name="out", kind=RuleKind.EXCLUDE, items=JobFilter(skills=out)),
            Rule(
                name="pin",
                kind=RuleKind.PIN,
                items=JobFilter(client_ids=("c1",)),
                subjects=TalentFilter(skills=TermFilter(any=(dice.choice(SKILLS),))),
                position=dice.randint(1, 9),
            ),
            Rule(
                name="soon",
                kind=RuleKind.BOOST,
                items=JobFilter(client_ids=("c2",)),
                factor=3.0,
                from_ms=self.world.now_ms + 1_000,
            ),
        ]
        self.world.steering = replace(self.world.steering or Steering(), rules=tuple(rules))
        for recommender in (self.plain, self.cached, self.other, self.other_plain):
            recommender.steer(rules)

    def change(self) -> None:
        super().change()
        dice = self.random
        if dice.random() < 0.1:
            self.steer()
        self.edit(dice.choice(self.world.catalogue.all(Kind.JOB)).ordinal, posted_at_ms=self.world.now_ms)
        for _ in range(4):
            self.deeds += 1
            pair = f"t{dice.randint(1, 4)}", f"j{dice.randint(1, self.next_job)}"
            at = self.world.now_ms - dice.randint(-2, 40) * 1_000
            self.world.events.add(event(EventType.IMPRESSION, *pair, event_id=f"e{self.deeds}", occurred_at_ms=at))


@pytest.mark.parametrize("seed", range(3))
async def test_steered_answers_are_the_same_with_a_cache_and_without_while_everything_changes(seed: int) -> None:
    walk = SteeredWalk(seed)
    await walk.run(35)
    assert walk.compared > 40
    assert walk.cached.cache_counts["lists", "hit"] > 5


class Gate:
    """A port that waits for a word before it answers; everything else is passed through."""

    def __init__(self, port: Any, name: str) -> None:
        self._port, self._name = port, name
        self.open = asyncio.Event()
        self.reached = asyncio.Event()
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name != self._name:
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            self.reached.set()
            await self.open.wait()
            if self.failure is not None:
                raise self.failure
            return await found(*arguments, **named)

        return call


def gated(world: World, name: str = "matching") -> tuple[Recommender, Gate]:
    """A process whose catalogue waits."""
    plain = world.catalogue
    gate = Gate(plain, name)
    world.catalogue = gate  # type: ignore[assignment]
    recommender = world.replica()
    world.catalogue = plain
    return recommender, gate


def cached_world(*events: Any) -> World:
    return World(documents(), [event(EventType.SAVE, "t1", "j3"), *events], cache=small_cache())


async def test_a_thousand_identical_misses_are_one_computation() -> None:
    recommender, gate = gated(world := cached_world())
    asked = [asyncio.create_task(recommender.lists([jobs_for(first=n % 5 + 1)])) for n in range(1_000)]
    await gate.reached.wait()
    gate.open.set()
    answers = [answer for (answer,) in await asyncio.gather(*asked)]
    expected = {n: told(await page(uncached(world), jobs_for(first=n + 1))) for n in range(5)}
    assert [told(answer) for answer in answers] == [expected[n % 5] for n in range(1_000)]
    counts = recommender.cache_counts
    assert (counts["lists", "computed"], counts["lists", "shared"], counts["lists", "miss"]) == (1, 999, 1)


@pytest.mark.parametrize("subject", ["t42", "t1"])
async def test_two_lists_in_one_request_that_are_cut_from_the_same_one_are_one_computation(subject: str) -> None:
    world = cached_world()
    queries = [jobs_for(subject, first=first) for first in (3, 9, 3)]
    found = await world.recommender.lists(queries)
    assert [told(one) for one in found] == [told(one) for one in await uncached(world).lists(queries)]
    assert world.recommender.cache_counts["lists", "computed"] == 1


async def test_requests_that_want_each_others_lists_do_not_wait_in_a_circle() -> None:
    recommender, gate = gated(cached_world())
    one, two = jobs_for("t1"), jobs_for("t2")
    asked = [asyncio.create_task(recommender.lists(queries)) for queries in ([one], [one, two], [two, one], [two])]
    await gate.reached.wait()
    gate.open.set()
    answers = await asyncio.wait_for(asyncio.gather(*asked), 30)
    assert all(isinstance(answer, RankedPage) for some in answers for answer in some)
    assert recommender.cache_counts["lists", "computed"] == 2


async def test_when_the_one_that_computes_is_cancelled_another_one_does() -> None:
    recommender, gate = gated(cached_world())
    first = asyncio.create_task(recommender.lists([jobs_for()]))
    await gate.reached.wait()
    others = [asyncio.create_task(recommender.lists([jobs_for()])) for _ in range(50)]
    await asyncio.sleep(0)
    first.cancel()
    gate.open.set()
    answers = [answer for (answer,) in await asyncio.gather(*others)]
    assert all(isinstance(answer, RankedPage) for answer in answers)
    assert recommender.cache_counts["lists", "computed"] == 1


async def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    recommender, gate = gated(cached_world())
    gate.failure = UnavailableError("catalogue")
    asked = [asyncio.create_task(recommender.lists([jobs_for()])) for _ in range(20)]
    await gate.reached.wait()
    gate.open.set()
    answers = [answer for (answer,) in await asyncio.gather(*asked)]
    assert all(isinstance(answer, UnavailableError) for answer in answers)
    gate.failure = None
    assert isinstance((await recommender.lists([jobs_for()]))[0], RankedPage)
    assert recommender.cache_counts["lists", "computed"] == 1


async def test_a_list_is_never_older_than_an_event_that_came_before_the_question() -> None:
    world = cached_world()
    dice = random.Random(3)
    for n in range(60):
        gone = f"j{dice.randint(1, JOBS)}"
        replica = dice.choice([world.recommender, world.replica()])
        asked = asyncio.create_task(replica.lists([jobs_for(first=200)]))  # may be under way when the event comes
        await asyncio.sleep(0)
        world.events.add(event(EventType.DISMISS, "t1", gone, event_id=f"d{n}"))
        assert gone not in [item.id for item in (await page(replica, jobs_for(first=200))).items]
        world.events.add(event(EventType.UNDISMISS, "t1", gone, event_id=f"u{n}"))
        assert gone in [item.id for item in (await page(replica, jobs_for(first=200))).items]
        await asked


async def test_an_impression_keeps_the_list_and_an_erased_event_does_not() -> None:
    world = cached_world(event(EventType.SAVE, "t1", "j9"))
    await page(world.recommender, jobs_for())
    world.events.add(event(EventType.IMPRESSION, "t1", "j50"))
    await page(world.recommender, jobs_for())
    counts = world.recommender.cache_counts
    assert (counts["lists", "computed"], counts["lists", "hit"]) == (1, 1)
    del world.events.events[0]  # erased: the newest event is as new as before
    found = await page(world.recommender, jobs_for())
    assert told(found) == told(await page(uncached(world), jobs_for()))
    assert counts["lists", "computed"] == 2


async def test_what_changes_while_a_list_is_computed_does_not_end_up_in_a_wrong_one() -> None:
    for change in ("history", "items", "both"):
        world = cached_world()
        recommender, gate = gated(world)
        asked = asyncio.create_task(recommender.lists([jobs_for()]))
        await gate.reached.wait()
        if change != "items":
            world.catalogue.remove(Kind.JOB, 3)  # all that the talent has saved
        if change != "history":
            world.catalogue.change(Kind.JOB, 5, status=JobStatus.CLOSED)
        gate.open.set()
        await asked
        assert told(await page(recommender, jobs_for())) == told(await page(uncached(world), jobs_for())), change


async def test_a_list_that_lost_what_it_was_keyed_by_before_it_was_solved_is_not_kept() -> None:
    world = cached_world(event(EventType.SAVE, "t1", "j8"))
    (saved,) = [document for document in world.catalogue.all(Kind.JOB) if document.id == "j3"]
    plain, world.cache = uncached(world), Gate(world.cache, "get_lists")  # type: ignore[assignment]
    gate: Any = world.cache
    recommender = world.replica()
    asked = asyncio.create_task(recommender.lists([jobs_for()]))
    await gate.reached.wait()
    world.catalogue.remove(Kind.JOB, 3)
    gate.open.set()
    await asked
    assert recommender.cache_counts["lists", "computed"] == 0
    world.catalogue.put(saved)  # and so the key is the same again
    assert told(await page(recommender, jobs_for())) == told(await page(plain, jobs_for()))


async def test_a_list_without_a_vector_whose_documents_changed_meanwhile_is_not_kept() -> None:
    recommender, gate = gated(world := cached_world())
    asked = asyncio.create_task(recommender.lists([jobs_for("t41")]))
    await gate.reached.wait()
    world.catalogue.change(Kind.JOB, 5, skills=("Rust",))
    gate.open.set()
    await asked
    assert recommender.cache_counts["lists", "computed"] == 0


async def test_what_has_changed_far_down_the_list_does_not_come_before_what_was_not_kept() -> None:
    many = [*(talent(n) for n in range(1, 4)), *(job(n) for n in range(1, 2 * KEPT_BEST))]
    world = World(many, [event(EventType.SAVE, "t1", "j3")], model(jobs=2 * KEPT_BEST), cache=small_cache())
    plain, query = uncached(world), jobs_for(first=KEPT_BEST)
    whole = await page(plain, replace(query, first=3 * KEPT_BEST))
    await page(world.recommender, query)
    for item in (whole.items[5], *whole.items[-2:]):
        status = JobStatus.CLOSED if item.rank == 6 else JobStatus.OPEN
        world.catalogue.change(Kind.JOB, item.ordinal, status=status, title="changed")
    assert told(await page(world.recommender, query)) == told(await page(plain, query))


async def test_a_hit_asks_no_port_but_for_what_may_have_changed() -> None:
    world = cached_world()
    world.forget_calls()
    await page(world.recommender, jobs_for())
    await page(world.recommender, jobs_for())
    each = {"mirror job": 2, "history": 2, "matching job": 2, "append": 2}
    assert world.calls == each
    world.forget_calls()
    await page(world.recommender, jobs_for())
    assert world.calls == {"mirror job": 1, "history": 1, "append": 1}
    world.forget_calls()
    await page(world.recommender, jobs_for("t42"))
    cold = {**dict.fromkeys(each, 1), "get_many talent": 1}
    assert world.calls == cold
    assert world.recommender.cache_counts["lists", "hit"] == 2


async def test_a_hit_does_not_solve_or_search(monkeypatch: pytest.MonkeyPatch) -> None:
    world = cached_world()
    expected = told(await page(world.recommender, jobs_for()))

    def never(*_: object, **__: object) -> Any:
        raise AssertionError("the list is kept")

    monkeypatch.setattr("recommender.ranking.best", never)
    monkeypatch.setattr(
        "recommender.recommender.interests_from_histories", lambda histories, *_: [never] * len(histories)
    )
    assert told(await page(world.recommender, jobs_for())) == expected
    assert told(await page(world.replica(), jobs_for())) == expected


async def test_a_page_behind_what_is_kept_is_searched_for() -> None:
    many = [*(talent(n) for n in range(1, 4)), *(job(n) for n in range(1, 3 * KEPT_BEST))]
    world = World(many, [event(EventType.SAVE, "t1", "j3")], model(jobs=2 * KEPT_BEST), cache=small_cache())
    plain = uncached(world)
    query = jobs_for(first=100)
    seen = 0
    while True:
        one, other = await page(world.recommender, query), await page(plain, query)
        assert told(one) == told(other)
        seen += len(one.items)
        if not one.has_next:
            break
        query = replace(query, after=one.items[-1].position)
        world.catalogue.put(job(5_000 + seen))  # comes into the list, or does not, the same in both
    assert seen > 2 * KEPT_BEST


async def test_after_many_changes_the_list_is_searched_for_and_right() -> None:
    world = cached_world()
    await page(world.recommender, jobs_for())
    world.catalogue.put(*(job(n) for n in range(1_000, 4_000)))
    query = jobs_for(first=50)
    assert told(await page(world.recommender, query)) == told(await page(uncached(world), query))


async def test_another_process_goes_on_with_a_list_of_a_subject_without_history() -> None:
    world = cached_world()
    first = await page(world.recommender, jobs_for("t41", first=7))
    rest = await page(world.replica(), jobs_for("t41", first=7, after=first.items[-1].position))
    whole = await page(uncached(world), jobs_for("t41", first=14))
    assert [item.id for item in (*first.items, *rest.items)] == [item.id for item in whole.items]


async def test_one_request_makes_an_ageing_list_anew_while_the_others_take_the_old_one() -> None:
    world = cached_world()
    await page(world.recommender, jobs_for())
    world.now_ms += SOFT_MS
    recommender, gate = gated(world)
    asked = asyncio.create_task(recommender.lists([jobs_for()]))
    await gate.reached.wait()
    gate.open.set()
    await asked
    await page(recommender, jobs_for())
    counts = recommender.cache_counts
    assert (counts["lists", "refreshed"], counts["lists", "computed"], counts["lists", "hit"]) == (1, 1, 1)
    world.now_ms += HARD_MS
    await page(recommender, jobs_for())
    assert (counts["lists", "computed"], counts["lists", "miss"]) == (2, 1)


class BrokenCache(MemoryCache):
    """One that cannot be reached while `is_broken`."""

    is_broken = True
    calls = 0

    async def get_lists(self, keys: Sequence[str], claim_ms: int) -> list[CachedList | Lost]:
        self._check()
        return await super().get_lists(keys, claim_ms)

    async def get_documents(self, kind: Kind, ordinals: Sequence[int]) -> list[CachedDocument | Lost]:
        self._check()
        return await super().get_documents(kind, ordinals)

    def _check(self) -> None:
        self.calls += 1
        if self.is_broken:
            raise UnavailableError("cache")


async def test_a_cache_that_cannot_be_reached_is_no_error_and_takes_what_was_made_meanwhile() -> None:
    cache = BrokenCache(1_000_000, lambda: 0)
    world = World(documents(), [event(EventType.SAVE, "t1", "j3")], cache=cache)
    recommender = world.recommender
    for _ in range(5):
        assert told(await page(recommender, jobs_for())) == told(await page(uncached(world), jobs_for()))
    assert recommender.cache_counts["cache", "failed"] >= 1
    cache.is_broken = False
    for _ in range(2):  # one puts what was kept here into the cache, one has it from there
        await page(recommender, jobs_for())
    assert recommender.cache_counts["lists", "computed"] == 1
    assert cache.size_bytes > 0


async def test_who_leaves_while_a_list_is_made_for_many_takes_nothing_from_the_others() -> None:
    world = World(documents(), [event(EventType.SAVE, "t1", "j3")], cache=MemoryCache(1_000_000, lambda: 0))
    recommender = world.recommender
    asking = [asyncio.create_task(page(recommender, jobs_for())) for _ in range(100)]
    for _ in range(4):  # until the first one is at work
        await asyncio.sleep(0)
    for task in asking[::2]:
        task.cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in answers) == 50
    expected = told(await page(uncached(world), jobs_for()))
    assert all(told(one) == expected for one in answers if not isinstance(one, BaseException))
    assert recommender.cache_counts["lists", "computed"] == 1


async def test_however_many_leave_while_the_cache_is_asked_one_list_is_made_for_who_stays() -> None:
    cache = SlowCache(1_000_000, lambda: 0)
    world = World(documents(), [event(EventType.SAVE, "t1", "j3")], cache=cache)
    recommender = world.recommender
    asking = [asyncio.create_task(page(recommender, jobs_for())) for _ in range(60)]
    for task in asking[:50]:  # always the one whose turn it is
        await cache.asked.acquire()
        task.cancel()
    cache.answers.set()
    answers = await asyncio.gather(*asking[50:])
    expected = told(await page(uncached(world), jobs_for()))
    assert [told(one) for one in answers] == [expected] * 10
    counts = recommender.cache_counts
    assert (counts["lists", "computed"], counts["lists", "shared"], counts["lists", "alone"]) == (1, 9, 0)


async def test_what_another_process_has_claimed_and_never_makes_is_made_once_by_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recommender.caching.PATIENCE_SECONDS", 0.05)
    world = World(documents(), [event(EventType.SAVE, "t1", "j3")], cache=ClaimedCache(1_000_000, lambda: 0))
    recommender = world.recommender
    answers = await asyncio.gather(*(page(recommender, jobs_for()) for _ in range(100)))
    expected = told(await page(uncached(world), jobs_for()))
    assert [told(one) for one in answers] == [expected] * 100
    counts = recommender.cache_counts
    assert (counts["lists", "computed"], counts["lists", "alone"]) == (1, 0)


async def test_a_request_waits_for_another_process_for_half_of_the_time_it_has() -> None:
    world = World(documents(), [event(EventType.SAVE, "t1", "j3")], cache=ClaimedCache(1_000_000, lambda: 0))
    CURRENT.set(Degradation(until_s=asyncio.get_running_loop().time() + 0.2))
    await asyncio.wait_for(page(world.recommender, jobs_for()), 30)
    assert world.recommender.cache_counts["lists", "computed"] == 1


class SlowCache(MemoryCache):
    """One that answers none before it is told to. asked: how often it was."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.asked, self.answers = asyncio.Semaphore(0), asyncio.Event()

    async def get_lists(self, keys: Sequence[str], claim_ms: int) -> list[CachedList | Lost]:
        self.asked.release()
        await self.answers.wait()
        return await super().get_lists(keys, claim_ms)


class ClaimedCache(MemoryCache):
    """One of whose lists each is another process's to make, and stays so."""

    async def get_lists(self, keys: Sequence[str], claim_ms: int) -> list[CachedList | Lost]:
        found = await super().get_lists(keys, claim_ms)
        return [Lost.CLAIMED if one is Lost.ABSENT else one for one in found]


async def test_a_degraded_list_is_shared_with_who_waits_and_kept_for_nobody() -> None:
    cache = MemoryCache(1_000_000, lambda: 0)
    world = World(documents(), [event(EventType.SAVE, "t1", "j3")], cache=cache)
    recommender = world.recommender

    async def ask() -> frozenset[DegradedReason]:
        CURRENT.set(Degradation())
        degrade(DegradedReason.CATALOGUE)
        await page(recommender, jobs_for())
        return degraded()

    assert await asyncio.gather(*(ask() for _ in range(10))) == [{DegradedReason.CATALOGUE}] * 10
    assert (recommender.cache_counts["lists", "computed"], cache.size_bytes) == (1, 0)
    await page(recommender, jobs_for())
    assert recommender.cache_counts["lists", "computed"] == 2
    assert cache.size_bytes > 0


class LateCache(MemoryCache):
    """One that takes no list in time while `is_late`."""

    is_late = True

    async def put_lists(self, lists: Mapping[str, CachedList], ttl_ms: int) -> None:
        if self.is_late:
            raise UnavailableError("cache")
        await super().put_lists(lists, ttl_ms)


async def test_a_list_that_the_cache_did_not_take_in_time_is_made_once_and_put_there_later() -> None:
    cache = LateCache(1_000_000, lambda: 0)
    world = World(documents(), [event(EventType.SAVE, "t1", "j3")], cache=cache)
    recommender = world.recommender
    for late in (True, True, True, False, False):
        cache.is_late = late
        world.now_ms += 1_000  # the cache is asked again each time
        assert told(await page(recommender, jobs_for())) == told(await page(uncached(world), jobs_for()))
    assert recommender.cache_counts["lists", "computed"] == 1
    assert cache.size_bytes > 0


async def test_random_changes_with_a_cache_that_comes_and_goes() -> None:
    cache = BrokenCache(200_000, lambda: 0)
    walk = Walk(99, cache)
    for _ in range(15):
        cache.is_broken = not cache.is_broken
        await walk.run(4)


async def test_a_document_from_the_cache_is_as_new_as_the_list() -> None:
    world = cached_world()
    found = await page(world.recommender, jobs_for(first=5))
    ordinals = [item.ordinal for item in found.items]
    old = await world.recommender.documents(Kind.JOB, ordinals)
    world.forget_calls()
    assert await world.recommender.documents(Kind.JOB, [*ordinals, ordinals[0]]) == [*old, old[0]]
    assert world.calls == {}
    world.catalogue.change(Kind.JOB, ordinals[1], title="Another title")
    world.catalogue.remove(Kind.JOB, ordinals[2])
    new = await world.recommender.documents(Kind.JOB, ordinals)
    assert new[1] is not None
    assert new[1].title == "Another title"
    assert new[2] is None
    assert [new[0], *new[3:]] == [old[0], *old[3:]]
    assert world.calls == {"get_many job": 1}


async def test_of_two_subjects_with_the_same_history_each_has_a_list_of_its_own() -> None:
    world = cached_world(event(EventType.SAVE, "t2", "j3"), event(EventType.DISMISS, "t2", "j4"))
    for subject in ("t1", "t2", "t1", "t2"):
        query = jobs_for(subject, first=200)
        assert told(await page(world.recommender, query)) == told(await page(uncached(world), query))
    assert world.recommender.cache_counts["lists", "computed"] == 2


async def test_lists_of_one_filter_are_found_in_one_pass_and_are_those_found_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_pass, "TILE", 16)
    passes = []

    def counted(lists: Sequence[Any], *rest: Any) -> Any:
        passes.append(len(lists))
        return best_of_each(lists, *rest)

    monkeypatch.setattr(ranking, "best_of_each", counted)
    acted = [event(EventType.APPLY, f"t{n}", f"j{n * 7 % JOBS + 1}") for n in range(1, 7)]
    w = World(documents(), acted, model(talents=TALENTS, jobs=JOBS), cache=small_cache())
    wanted = JobFilter(skills=TermFilter(any=("Go", "SQL")))
    queries = [jobs_for(f"t{n}", filter=wanted) for n in range(1, 7)] + [jobs_for("t1")]
    answers = await w.recommender.lists(queries)
    assert passes == [6, 1]
    assert [told(one) for one in answers] == [told(one) for one in await uncached(w).lists(queries)]
