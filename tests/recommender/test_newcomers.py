"""Who came after the model, or did nothing yet, is ranked and served by what they are like."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from gateway.adapters.memory.cache import MemoryCache
from recommender.batch import lists_for_everyone
from recommender.documents import Document, Job, Kind, Side, Talent
from recommender.eligibility import Exclude
from recommender.errors import UnavailableError
from recommender.events import Event, EventType
from recommender.features import FeatureTable
from recommender.filters import JobFilter, TalentFilter
from recommender.interactions import table_from_events
from recommender.model import Model
from recommender.query import Exactness, ListQuery, Mode, Profile, RankedPage, Strategy
from recommender.recipe import Recipe
from recommender.recommender import Recommender
from recommender.training import train
from tests.factories import NOW_MS, event, job, talent
from tests.recommender.fakes import World

TALENTS, JOBS, TRADES = 60, 80, 4
SILENT, COLD = 56, 76  # from here on nobody did anything
WORDS = ("plumber pipes drains", "baker bread ovens", "roofer slates gutters", "tailor cloth seams")
KIND_OF_RECIPE = Recipe(factors=8, strength=10.0, shrinkage=1.0, neighbours=0.5, talent_neighbours=0.5)


def trade_of(ordinal: int) -> str:
    return WORDS[ordinal % TRADES]


def documents() -> list[Document]:
    return [
        *(talent(n, title=trade_of(n), skills=(f"s{n % 7}",)) for n in range(1, TALENTS + 1)),
        *(job(n, title=trade_of(n), skills=(f"s{n % 5}",)) for n in range(1, JOBS + 1)),
    ]


def events() -> list[Event]:
    chance = random.Random(5)
    found = []
    for t in range(1, SILENT):
        liked = [j for j in range(1, COLD) if j % TRADES == t % TRADES]
        for j in chance.sample(liked, 6) + chance.sample(range(1, COLD), 1):
            at = NOW_MS - chance.randrange(10**9)
            found.append(event(EventType.SAVE, f"t{t}", f"j{j}", occurred_at_ms=at, seq=len(found) + 1))
    return found


@cache
def trained(prior: float = 0.3, content: float = 0.1) -> Model:
    table = table_from_events(events())
    described = {}
    for kind, of_kind in ((Kind.TALENT, Talent), (Kind.JOB, Job)):
        features = FeatureTable()
        features.add([document for document in documents() if isinstance(document, of_kind)])
        described[kind] = features.build()
    return train(
        table,
        replace(KIND_OF_RECIPE, prior=prior, content=content),
        talent_ordinals=np.array([int(name[1:]) for name in table.talent_ids], np.uint32),
        job_ordinals=np.array([int(name[1:]) for name in table.job_ids], np.uint32),
        as_of_ms=NOW_MS,
        watermark=len(table),
        trained_at_ms=NOW_MS,
        nonce=f"{prior}{content}",
        described=described,
    )


def world(model: Model | None = None, more: Iterable[Document] = (), cached: bool = False) -> World:
    memory = MemoryCache(10_000_000, lambda: 0) if cached else None
    return World([*documents(), *more], events(), model or trained(), cache=memory)


def jobs_for(talent_id: str | None = "t1", **fields: Any) -> ListQuery:
    defaults = {"mode": Mode.RECOMMENDED, "subject_kind": Kind.TALENT, "subject_id": talent_id, "filter": JobFilter()}
    return ListQuery(**{**defaults, "first": 200, **fields})  # type: ignore[arg-type]


def talents_for(job_id: str) -> ListQuery:
    return jobs_for(job_id, subject_kind=Kind.JOB, filter=TalentFilter())


async def page(recommender: Recommender, query: ListQuery) -> RankedPage:
    (answer,) = await recommender.lists([query])
    assert isinstance(answer, RankedPage), answer
    return answer


def own_trade_first(found: RankedPage, trade: int) -> float:
    """The mean place of the items of a trade, 0 when they are all before the others, 1 when behind."""
    places = [place for place, item in enumerate(found.items) if int(item.id[1:]) % TRADES == trade]
    best, worst = (len(places) - 1) / 2, len(found.items) - 1 - (len(places) - 1) / 2
    return (float(np.mean(places)) - best) / (worst - best)


async def test_a_job_that_nobody_acted_on_is_ranked_among_those_it_is_like() -> None:
    found = await page(world().recommender, jobs_for("t1", first=JOBS))
    places = {item.id: place for place, item in enumerate(found.items)}
    cold = sorted((f"j{n}" for n in range(COLD, JOBS + 1)), key=lambda name: places[name])
    assert cold[0] == "j77"  # the one of t1's trade
    assert places["j77"] < len(found.items) / 3
    assert {item.strategy for item in found.items} == {Strategy.COLLABORATIVE}


async def test_a_job_posted_after_the_model_is_ranked_like_one_of_its_kind_at_once() -> None:
    own = world()
    before = await page(own.recommender, jobs_for())
    own.catalogue.put(job(501, title=trade_of(1), skills=("s1",)), job(502, title=trade_of(2)), job(503))
    found = await page(own.recommender, jobs_for())
    scores = {item.id: item.score for item in found.items}
    assert found.total == before.total + 3
    assert found.exactness is Exactness.EXACT
    assert scores["j501"] > np.quantile(list(scores.values()), 0.7)
    assert scores["j501"] > scores["j502"]
    assert scores["j503"] == 0.0  # says nothing
    assert [item.id for item in found.items if item.id not in ("j501", "j502", "j503")] == [
        item.id for item in before.items
    ]


async def test_a_newcomer_is_read_once_and_again_when_it_changes() -> None:
    own = world()
    await page(own.recommender, jobs_for())
    own.catalogue.put(job(501, title=trade_of(1)))
    own.forget_calls()
    first = await page(own.recommender, jobs_for())
    assert own.calls["get_many job"] == 1
    await page(own.recommender, jobs_for("t2"))
    assert own.calls["get_many job"] == 1
    own.catalogue.change(Kind.JOB, 501, title=trade_of(2))
    again = await page(own.recommender, jobs_for())
    assert own.calls["get_many job"] == 2
    of = [next(item.score for item in found.items if item.id == "j501") for found in (first, again)]
    assert of[0] > of[1]
    own.catalogue.remove(Kind.JOB, 501)
    assert "j501" not in {item.id for item in (await page(own.recommender, jobs_for())).items}


async def test_a_newcomer_whose_document_could_not_be_read_is_read_later(monkeypatch: pytest.MonkeyPatch) -> None:
    own = world()
    await page(own.recommender, jobs_for())
    own.catalogue.put(job(501, title=trade_of(1)))

    async def unavailable(*_: object, **__: object) -> list[Document | None]:
        raise UnavailableError("catalogue", "it is down")

    with monkeypatch.context() as broken:
        broken.setattr(own.catalogue, "get_many", unavailable)
        (answer,) = await own.recommender.lists([jobs_for()])
        assert isinstance(answer, UnavailableError)
    found = await page(own.recommender, jobs_for())
    assert next(item.score for item in found.items if item.id == "j501") > 0


async def test_a_list_that_is_paged_keeps_its_order_when_a_newcomer_is_edited() -> None:
    own = world(more=[job(501, title=trade_of(1)), job(502, title=trade_of(1), skills=("s2",))])
    whole = await page(own.recommender, jobs_for())
    first = await page(own.recommender, jobs_for(first=5))
    own.catalogue.change(Kind.JOB, 501, title=trade_of(2))
    own.catalogue.change(Kind.JOB, 502, title=trade_of(3))
    rest = await page(own.recommender, jobs_for(after=first.items[-1].position))
    assert [item.id for item in (*first.items, *rest.items)] == [item.id for item in whole.items]


@pytest.mark.parametrize("newcomer", [False, True])
async def test_a_talent_without_events_is_served_by_what_they_are_like(newcomer: bool) -> None:
    own = world()
    if newcomer:
        own.catalogue.put(talent(501, title=trade_of(1), skills=("s1",)))
    found = await page(own.recommender, jobs_for("t501" if newcomer else "t57"))
    assert found.strategy is Strategy.CONTENT
    assert own_trade_first(found, 1) < 0.1


async def test_an_anonymous_profile_is_served_by_what_it_is_like_and_by_what_it_likes() -> None:
    own = world()
    found = await page(own.recommender, jobs_for(None, profile=Profile(skills=("baker", "bread"))))
    assert (found.strategy, own_trade_first(found, 1) < 0.1) == (Strategy.CONTENT, True)
    likes = Profile(skills=("baker", "bread"), liked_job_ids=("j2", "j6", "j10"))
    found = await page(own.recommender, jobs_for(None, profile=likes))
    assert found.strategy is Strategy.COLLABORATIVE
    assert own_trade_first(found, 2) < 0.1


async def test_a_job_without_events_gets_the_talents_of_its_kind() -> None:
    own = world(more=[job(501, title=trade_of(3))])
    for job_id in ("j79", "j501"):
        found = await page(own.recommender, talents_for(job_id))
        assert own_trade_first(found, 3) < 0.1
        assert {"t59", "t57"} <= {item.id for item in found.items}


@pytest.mark.parametrize("talent_id", ["t57", "t501"])
async def test_events_take_over_step_by_step(talent_id: str) -> None:
    """A plumber's talent who acts on bakers' jobs: the more they do, the less the description says."""
    own = world(more=[talent(501, title=trade_of(1))])
    towards = [own_trade_first(await page(own.recommender, jobs_for(talent_id)), 2)]
    for number in (2, 6, 10):
        own.events.add(event(EventType.SAVE, talent_id, f"j{number}"))
        towards.append(own_trade_first(await page(own.recommender, jobs_for(talent_id)), 2))
    assert towards == sorted(towards, reverse=True)
    assert towards[0] > 0.2 > towards[-1]


async def test_a_prior_of_0_gives_the_lists_of_traits_exactly() -> None:
    model = trained(prior=0.0)
    nothing_lent = replace(model, talents=replace(model.talents, lent=None), jobs=replace(model.jobs, lent=None))
    assert not model.lends_to(Kind.TALENT)
    found, expected = [await page(world(one).recommender, jobs_for("t57")) for one in (model, nothing_lent)]
    assert found.items == expected.items
    assert {item.strategy for item in found.items} == {Strategy.CONTENT, Strategy.POPULAR}
    assert (await page(world().recommender, jobs_for("t57"))).items != found.items


@pytest.mark.parametrize(("talent_id", "job_id"), [("t1", "j501"), ("t1", "j77"), ("t57", "j1"), ("t501", "j501")])
async def test_contributions_sum_to_the_score_of_what_is_like_something(talent_id: str, job_id: str) -> None:
    own = world(more=[job(501, title=trade_of(1)), talent(501, title=trade_of(1))])
    own.events.add(event(EventType.SAVE, "t501", "j1"))
    for side in Side:
        found = await own.recommender.explain(talent_id, job_id, side, JobFilter(), TalentFilter())
        assert found.score is not None
        assert sum(part.value for part in found.contributions) == pytest.approx(found.score, abs=1e-9)


@pytest.mark.parametrize("kind", list(Kind))
async def test_everyones_lists_are_the_served_ones_newcomers_and_strangers_included(kind: Kind) -> None:
    own = world(more=[job(501, title=trade_of(1)), talent(501, title=trade_of(2)), job(502), talent(502)])
    made = {}
    async for some in lists_for_everyone(
        catalogue=own.catalogue,
        events=own.events,
        model=own.recommender.model,
        subject_kind=kind,
        k=30,
        exclude=Exclude.RULES,
        as_of_ms=NOW_MS,
        workers=2,
    ):
        made.update({one.subject_id: one for one in some})
    for name, one in made.items():
        query = jobs_for(name) if kind is Kind.TALENT else talents_for(name)
        served = await page(own.recommender, replace(query, first=30))
        assert [item.id for item in served.items] == list(one.item_ids)
        assert [item.score for item in served.items] == one.scores.tolist()


async def test_a_cache_changes_no_answer_while_newcomers_come_change_and_act() -> None:
    chance = random.Random(7)
    own = world(cached=True)
    kept, own.cache = own.cache, None
    plain = own.replica()
    own.cache = kept
    for turn in range(120):
        match chance.randrange(6):
            case 0:
                own.catalogue.put(job(600 + turn, title=trade_of(chance.randrange(4)), description=f"w{turn % 3}"))
            case 1:
                own.catalogue.put(talent(600 + turn % 3, title=trade_of(chance.randrange(4))))
            case 2:
                newcomers = [one.ordinal for one in own.catalogue.all(Kind.JOB) if one.ordinal >= 600]
                if newcomers:
                    own.catalogue.change(Kind.JOB, chance.choice(newcomers), title=trade_of(chance.randrange(4)))
            case 3:
                own.events.add(event(EventType.SAVE, f"t{600 + turn % 3}", f"j{chance.randrange(1, JOBS)}"))
        name = chance.choice(["t1", "t57", "t600", "t601", "t602", "nobody"])
        query = jobs_for(name, first=7)
        ours, theirs = await page(own.recommender, query), await page(plain, query)
        assert (ours.items, ours.total, ours.strategy) == (theirs.items, theirs.total, theirs.strategy), turn
    assert own.recommender.cache_counts


@pytest.mark.parametrize("talent_id", ["t1", "t501"])
async def test_an_effect_on_a_newcomers_score_is_what_it_loses_when_the_event_is_gone(talent_id: str) -> None:
    more = [job(501, title=trade_of(1)), talent(501, title=trade_of(2))]
    own = world(more=more)
    for number in (1, 2, 5):
        own.events.add(event(EventType.SAVE, "t501", f"j{number}", occurred_at_ms=NOW_MS - number))
    found = await own.recommender.explain(talent_id, "j501", Side.TALENT, JobFilter(), TalentFilter())
    named = [part for part in found.contributions if part.effect is not None]
    assert len(named) >= 3
    assert any(part.reason is not None for part in named)
    for part in named:
        acted_on = part.signal.removeprefix("history:")
        kept = [one for one in own.events.events if one.job_id != acted_on or one.talent_id != talent_id]
        without = World([*documents(), *more], kept, trained())
        again = await without.recommender.explain(talent_id, "j501", Side.TALENT, JobFilter(), TalentFilter())
        assert found.score is not None and again.score is not None
        assert part.effect == pytest.approx(found.score - again.score, abs=1e-9)
        assert part.effect != 0


async def test_where_content_contributes_the_shared_skills_are_named() -> None:
    own = world(more=[job(501, title=trade_of(1), skills=("S1", "other"))])
    for talent_id, job_id, signal in (("t1", "j501", "profile"), ("t57", "j1", "profile")):
        found = await own.recommender.explain(talent_id, job_id, Side.TALENT, JobFilter(), TalentFilter())
        (part,) = (part for part in found.contributions if part.signal == signal)
        assert part.reason is not None
        assert [skill.lower() for skill in part.reason.skills] == ["s1"]
        assert part.value > 0
        assert part.effect is None
