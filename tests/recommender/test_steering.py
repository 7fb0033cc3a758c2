"""Steered lists end to end over fake ports: rules, fatigue, the floor, and all of it while pages are turned."""

from __future__ import annotations

from random import Random

import pytest

from recommender.documents import JobStatus, Kind, Level, Side
from recommender.errors import CursorExpiredError
from recommender.events import EventType
from recommender.exposure import BLOCK, Floor
from recommender.fatigue import Fatigue
from recommender.filters import JobFilter, TalentFilter, TermFilter
from recommender.query import ListQuery, Mode, Options, Profile, RankedPage
from recommender.rules import Rule, RuleKind
from recommender.search import FacetField
from recommender.steering import Steering
from tests.factories import DAY_MS, NOW_MS, event, job, talent
from tests.recommender.fakes import World, model
from tests.recommender.test_recommender import HISTORY, all_pages, documents, ids, jobs_for, one, talents_for, world


def exclude(items: JobFilter | TalentFilter, **fields: object) -> Rule:
    return Rule(**{"name": "out", "kind": RuleKind.EXCLUDE, "items": items, **fields})  # type: ignore[arg-type]


def pin(position: int, items: JobFilter | TalentFilter, **fields: object) -> Rule:
    rule = {"name": "pinned", "kind": RuleKind.PIN, "items": items, "position": position}
    return Rule(**{**rule, **fields})  # type: ignore[arg-type]


def boost(items: JobFilter | TalentFilter, **fields: object) -> Rule:
    return Rule(**{"name": "boosted", "kind": RuleKind.BOOST, "items": items, **fields})  # type: ignore[arg-type]


def steered(*rules: Rule, **fields: object) -> World:
    return World(documents(), HISTORY, steering=Steering(rules=rules, **fields))  # type: ignore[arg-type]


def large(steering: Steering, rows: int = 1500) -> World:
    """More jobs than re-ranking looks at; every tenth is a day old, the others a hundred, and clients are few."""
    jobs = [
        job(n, client_id=f"c{n % 17}", posted_at_ms=NOW_MS - (1 if n % 10 == 0 else 100) * DAY_MS)
        for n in range(1, rows + 1)
    ]
    return World([talent(1), *jobs], [event(EventType.SAVE, "t1", "j5")], model(jobs=rows), steering=steering)


# --- nothing set ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steering",
    [
        Steering(),
        Steering(fatigue=Fatigue(0.8, 7)),  # nothing was shown
        Steering(rules=(exclude(JobFilter(ids=("j1",)), until_ms=NOW_MS), boost(JobFilter(), from_ms=NOW_MS + 1))),
        Steering(rules=(pin(1, JobFilter(), placements=("home",)), exclude(TalentFilter(ids=("t9",))))),
        Steering(rules=(pin(1, JobFilter(), subjects=TalentFilter(countries=("DE",))),)),
    ],
)
async def test_what_is_not_set_or_not_in_force_changes_no_byte(steering: Steering) -> None:
    queries = [jobs_for(first=30), jobs_for("t3"), jobs_for(options=Options(max_per_client=2)), jobs_for(text="x")]
    plain, other = world(), World(documents(), HISTORY, steering=steering)
    for query in queries:
        expected, found = await one(plain, query), await one(other, query)
        assert (found.items, found.total, found.strategy) == (expected.items, expected.total, expected.strategy)
    assert {name: count for name, count in other.calls.items() if name != "mirror talent"} == {
        name: count for name, count in plain.calls.items() if name != "mirror talent"
    }


async def test_rerank_false_switches_everything_off_but_exclusions() -> None:
    w = steered(
        exclude(JobFilter(ids=("j20",))),
        pin(1, JobFilter(ids=("j50",))),
        boost(JobFilter(skills=TermFilter(all=("go",))), factor=3.0),
        max_per_client=1,
        fatigue=Fatigue(0.9, 7),
        new_jobs=Floor(0.5, 7),
    )
    w.events.add(*(event(EventType.IMPRESSION, "t1", f"j{n}") for n in range(1, 60)))
    plain = await one(world(), jobs_for(first=200))
    bare = await one(w, jobs_for(first=200, options=Options(rerank=False)))
    expected = [(item.id, item.score) for item in plain.items if item.id != "j20"]
    assert [(item.id, item.score) for item in bare.items] == expected
    assert ids(await one(w, jobs_for(first=200))) != [name for name, _ in expected]


# --- exclude ----------------------------------------------------------------------------------------------------------


async def test_what_is_excluded_is_in_no_page_and_in_no_count() -> None:
    w = large(Steering(rules=(exclude(JobFilter(client_ids=("c3", "c4"))),)))
    pages = await all_pages(w, jobs_for(), first=100)
    plain = ids(await one(large(Steering()), jobs_for(first=1500)))
    listed = ids(*pages)
    assert listed == [name for name in plain if int(name[1:]) % 17 not in (3, 4)]
    assert {page.total for page in pages} == {len(listed)}
    (facets,) = await w.recommender.facets([(pages[0], (FacetField.REMOTE,), (), 20)])
    assert facets[0].missing == len(listed)


async def test_exclusions_are_from_and_until_and_for_whom_and_where_they_say() -> None:
    rules = [
        exclude(JobFilter(ids=("j1",)), from_ms=NOW_MS),
        exclude(JobFilter(ids=("j2",)), until_ms=NOW_MS),
        exclude(JobFilter(ids=("j3",)), placements=("home", "mail")),
        exclude(JobFilter(ids=("j4",)), subjects=TalentFilter(ids=("t2",))),
        exclude(JobFilter(ids=("j6",)), subjects=TalentFilter(skills=TermFilter(all=("go",)))),
    ]
    w = steered(*rules)
    everything = {f"j{n}" for n in (1, 2, 3, 4, 6)}
    gone = {
        query: everything - set(ids(await one(w, query)))
        for query in (
            jobs_for(first=200),
            jobs_for("t2", first=200),
            jobs_for(first=200, options=Options(placement="mail")),
            jobs_for("unheard-of", first=200),
            jobs_for(None, profile=Profile(skills=("GO",)), first=200),
            jobs_for(None, profile=Profile(level=Level.EXPERT), first=200),
        )
    }
    assert list(gone.values()) == [{"j1", "j6"}, {"j1", "j4"}, {"j1", "j3", "j6"}, {"j1"}, {"j1", "j6"}, {"j1"}]


async def test_an_exclusion_holds_for_similar_items_and_for_the_other_side_where_it_says() -> None:
    w = steered(exclude(JobFilter(ids=("j2", "j3"))), exclude(TalentFilter(ids=("t7",))))
    alike = ListQuery(mode=Mode.SIMILAR, subject_kind=Kind.JOB, subject_id="j1", filter=JobFilter(), first=200)
    assert not {"j2", "j3"} & set(ids(await one(w, alike)))
    page = await one(w, talents_for(first=200))
    assert "t7" not in ids(page)
    assert page.total == len(page.items) == 39


async def test_other_rules_are_taken_up_at_once_and_a_list_that_is_paged_goes_on() -> None:
    w = steered(max_per_client=2)
    first = await one(w, jobs_for(first=10))
    rest = ids(await one(w, jobs_for(first=200, after=first.items[-1].position)))
    w.recommender.steer([exclude(JobFilter(ids=(rest[0], rest[100]))), pin(1, JobFilter(ids=(rest[50],)))])
    later = await one(w, jobs_for(first=200, after=first.items[-1].position))
    assert ids(later) == [name for name in rest if name not in (rest[0], rest[100])]
    assert ids(await one(w, jobs_for(first=1))) == [rest[50]]


# --- pin --------------------------------------------------------------------------------------------------------------


async def test_a_pin_stands_in_its_row_from_wherever_it_comes() -> None:
    plain = ids(await one(large(Steering()), jobs_for(first=1500)))
    wanted = {1: plain[1400], 4: plain[30], 11: plain[700]}
    w = large(Steering(rules=tuple(pin(position, JobFilter(ids=(name,))) for position, name in wanted.items())))
    pages = await all_pages(w, jobs_for(), first=100)
    listed = ids(*pages)
    assert {position: listed[position - 1] for position in wanted} == wanted
    assert [name for name in listed if name not in wanted.values()] == [n for n in plain if n not in wanted.values()]
    assert [item.rank for page in pages for item in page.items] == list(range(1, 1501))


async def test_a_pin_never_shows_what_is_not_eligible_or_does_not_match() -> None:
    rules = [pin(1, JobFilter(ids=("j7", "j11", "j20", "j21")))]
    w = steered(*rules, exclude(JobFilter(ids=("j21",))))
    w.catalogue.change(Kind.JOB, 20, status=JobStatus.CLOSED)  # j7 was applied to, j11 dismissed
    assert ids(await one(w, jobs_for(first=200))) == [
        name for name in ids(await one(world(), jobs_for(first=200))) if name not in ("j20", "j21")
    ]
    free = steered(pin(1, JobFilter(ids=("j50",))))
    assert ids(await one(free, jobs_for(first=1))) == ["j50"]
    others = JobFilter(ids=tuple(f"j{n}" for n in range(1, 50)))
    assert "j50" not in ids(await one(free, jobs_for(filter=others, first=200)))


async def test_a_pin_of_many_takes_the_best_that_is_not_pinned_yet() -> None:
    plain = ids(await one(world(), jobs_for(first=200)))
    odd = JobFilter(client_ids=("c1",))
    best = [name for name in plain if int(name[1:]) % 4 == 1]
    w = steered(pin(2, odd), pin(2, odd), pin(1, JobFilter(ids=("nothing",))))
    assert ids(await one(w, jobs_for(first=3)))[1:] == best[:2]


# --- boost ------------------------------------------------------------------------------------------------------------


async def test_a_boost_raises_within_the_top_and_leaves_the_score_as_it_is() -> None:
    plain = await one(large(Steering()), jobs_for(first=1500))
    scores = {item.id: item.score for item in plain.items}
    w = large(Steering(rules=(boost(JobFilter(client_ids=("c3",)), factor=1.5),)))
    page = await one(w, jobs_for(first=1500))
    listed = ids(page)
    assert {item.id: item.score for item in page.items} == scores
    assert listed[500:] == ids(plain)[500:]
    top, bottom = page.items[0].score, 0.0
    first, last = plain.items[0].score, plain.items[499].score
    standing = {
        name: (scores[name] - last) / (first - last) * (1.5 if int(name[1:]) % 17 == 3 else 1.0)
        for name in ids(plain)[:500]
    }
    assert listed[:500] == sorted(ids(plain)[:500], key=lambda name: -standing[name])
    assert top > bottom


async def test_boosts_of_one_item_add_up() -> None:
    everything = JobFilter()
    w = steered(boost(everything, factor=2.0), boost(everything, addition=1.0))
    assert ids(await one(w, jobs_for(first=200))) == ids(await one(world(), jobs_for(first=200)))
    last = ids(await one(world(), jobs_for(first=200)))[-1]
    first = steered(boost(JobFilter(ids=(last,)), addition=0.6), boost(JobFilter(ids=(last,)), addition=0.6))
    assert ids(await one(first, jobs_for(first=1))) == [last]


# --- fatigue ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind))
async def test_what_is_shown_again_and_again_sinks_until_something_is_done_about_it(kind: Kind) -> None:
    subject, actor = (("t1", Side.TALENT), ("j2", Side.CLIENT))[kind is Kind.TALENT]
    query = jobs_for(first=200) if kind is Kind.JOB else talents_for("j2", first=200)
    w = steered(fatigue=Fatigue(0.9, 7))
    w.events.add(event(EventType.SHORTLIST, "t12", "j2", occurred_at_ms=NOW_MS - 30 * DAY_MS))
    acted_on = {one.id_of(kind) for one in w.events.events}
    plain = ids(await one(w, query))
    shown_one = next(name for name in plain if name not in acted_on)
    pair = dict(zip(("talent_id", "job_id"), (subject, shown_one)[:: 1 if kind is Kind.JOB else -1], strict=True))
    places = [plain.index(shown_one)]
    for times in range(4):
        w.events.add(event(EventType.IMPRESSION, actor=actor, occurred_at_ms=NOW_MS - DAY_MS + times, **pair))
        places.append(ids(await one(w, query)).index(shown_one))
    assert places == sorted(places)
    assert places[-1] > places[0]
    w.now_ms += 365 * DAY_MS
    assert ids(await one(w, query)) == plain
    w.now_ms -= 365 * DAY_MS
    w.events.add(event(EventType.VIEW, actor=actor, **pair))
    viewed = ids(await one(w, query))
    w.events.events = [one for one in w.events.events if one.type is not EventType.IMPRESSION]
    assert ids(await one(w, query)) == viewed


async def test_an_impression_leaves_a_kept_list_and_its_cursors_as_they_are() -> None:
    w = steered(fatigue=Fatigue(0.9, 7))
    w.events.add(event(EventType.IMPRESSION, "t1", "j33"))
    page = await one(w, jobs_for(first=10))
    rest = ids(await one(w, jobs_for(first=200, after=page.items[-1].position)))
    w.now_ms += 1
    w.events.add(*(event(EventType.IMPRESSION, "t1", name, occurred_at_ms=w.now_ms) for name in ids(page)))
    assert ids(await one(w, jobs_for(first=200, after=page.items[-1].position))) == rest
    rebuilt = (await w.replica().lists([jobs_for(first=200, after=page.items[-1].position)]))[0]
    assert isinstance(rebuilt, RankedPage)
    assert ids(rebuilt) == rest
    assert ids(await one(w, jobs_for(first=10))) != ids(page)
    assert page.items[0].position.pins.history == 4  # an impression is no event that voids a list


# --- the floor for new jobs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
async def test_of_every_twenty_rows_a_share_is_new_although_all_new_ones_score_badly(share: float) -> None:
    w = large(Steering(new_jobs=Floor(share, 7)))
    plain = ids(await one(large(Steering()), jobs_for(first=1500)))
    listed = ids(*await all_pages(w, jobs_for(), first=20))
    assert sorted(listed) == sorted(plain)
    new = [int(name[1:]) % 10 == 0 for name in listed]
    blocks = [sum(new[start : start + BLOCK]) for start in range(0, 500, BLOCK)]
    left = 150
    for found in blocks:
        assert found >= min(share * BLOCK, left)
        left -= found
    by_score = [name for name in plain if int(name[1:]) % 10 == 0]
    assert [name for name, is_new in zip(listed, new, strict=True) if is_new][:40] == by_score[:40]


async def test_the_floor_shows_nothing_that_does_not_match() -> None:
    w = large(Steering(new_jobs=Floor(0.5, 7), rules=(exclude(JobFilter(client_ids=("c10",))),)))
    wanted = JobFilter(client_ids=("c10", "c11", "c12"))
    listed = ids(*await all_pages(w, jobs_for(filter=wanted), first=20))
    assert {int(name[1:]) % 17 for name in listed} == {11, 12}


# --- together, while pages are turned ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
async def test_everything_at_once_pages_without_repeat_or_gap_here_and_in_another_process(seed: int) -> None:
    dice = Random(seed)
    rules = [
        exclude(JobFilter(ids=tuple(f"j{dice.randint(1, 900)}" for _ in range(40)))),
        *(pin(dice.randint(1, 60), JobFilter(ids=(f"j{dice.randint(1, 900)}",))) for _ in range(4)),
        boost(JobFilter(client_ids=("c3", "c5")), factor=dice.choice([0.3, 2.0])),
    ]
    chosen = Steering(
        rules=tuple(rules), max_per_client=dice.choice([None, 2]), fatigue=Fatigue(0.7, 7), new_jobs=Floor(0.2, 7)
    )
    w = large(chosen, rows=900)
    w.events.add(*(event(EventType.IMPRESSION, "t1", f"j{dice.randint(1, 900)}") for _ in range(300)))
    whole = ids(await one(w, jobs_for(first=900)))
    assert len(whole) == len(set(whole))
    pages = [await one(w, jobs_for(first=dice.randint(1, 90)))]
    while pages[-1].has_next:
        query = jobs_for(first=dice.randint(1, 90), after=pages[-1].items[-1].position)
        asked = w.recommender if dice.random() < 0.5 else w.replica()
        page = (await asked.lists([query]))[0]
        assert isinstance(page, RankedPage), page
        pages.append(page)
    assert ids(*pages) == whole
    assert {page.total for page in pages} == {len(whole)}


async def test_a_list_rebuilt_under_other_rules_has_expired() -> None:
    w = steered(pin(3, JobFilter(ids=("j50",))))
    page = await one(w, jobs_for(first=10))
    w.steering = Steering(rules=(pin(4, JobFilter(ids=("j50",))),))
    later = jobs_for(first=10, after=page.items[-1].position)
    assert isinstance((await w.replica().lists([later]))[0], CursorExpiredError)
    assert isinstance((await w.recommender.lists([later]))[0], RankedPage)


async def test_the_limit_of_a_client_is_set_for_all_lists_and_a_request_may_say_its_own() -> None:
    w = large(Steering(max_per_client=1))
    asked = large(Steering())
    one_each = ids(await one(asked, jobs_for(first=100, options=Options(max_per_client=1))))
    assert ids(await one(w, jobs_for(first=100))) == one_each
    assert ids(await one(w, jobs_for(first=100, options=Options(max_per_client=10)))) == ids(
        await one(asked, jobs_for(first=100))
    )
    similar = ListQuery(mode=Mode.SIMILAR, subject_kind=Kind.JOB, subject_id="j1", filter=JobFilter(), first=50)
    assert ids(await one(w, similar)) == ids(await one(asked, similar))


async def test_twenty_steered_lists_cost_one_call_of_each_port() -> None:
    w = steered(
        exclude(JobFilter(ids=("j3",)), subjects=TalentFilter(categories=("Data",))),
        pin(1, JobFilter(ids=("j50",))),
        max_per_client=2,
        fatigue=Fatigue(0.5, 7),
        new_jobs=Floor(0.2, 7),
    )
    w.forget_calls()
    await w.recommender.lists([jobs_for(f"t{n}") for n in range(1, 21)])
    assert set(w.calls.values()) == {1}
