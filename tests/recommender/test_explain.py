"""Why and why not: the order of blockers, contributions that sum to the score, the rank among the eligible."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from recommender.documents import Budget, BudgetType, JobStatus, Kind, Level, Side
from recommender.events import EventType
from recommender.exposure import Floor
from recommender.fatigue import Fatigue
from recommender.filters import AttributeFilter, JobFilter, PayFilter, TalentFilter, TermFilter
from recommender.model import Model
from recommender.query import Blocker, Explanation, ListQuery, Mode, Options, RankedPage, ReasonKind
from recommender.rules import Rule, RuleKind
from recommender.steering import Steering
from tests.factories import DAY_MS, NOW_MS, event, job, talent
from tests.recommender.fakes import World, blended, model

SQL = JobFilter(skills=TermFilter(all=("sql",)))


def world(*models: Model) -> World:
    documents = [
        *(talent(n, skills=("Go",), title="Data engineer") for n in range(1, 41)),
        *(job(n, title=f"Job {n}", skills=("Go",) if n % 2 else ("SQL",)) for n in range(1, 121)),
    ]
    history = [
        event(EventType.APPLY, "t1", "j2"),
        event(EventType.VIEW, "t1", "j9"),
        event(EventType.DISMISS, "t1", "j30"),
        event(EventType.SHORTLIST, "t7", "j2"),
        *(event(EventType.VIEW, "t8", f"j{n}") for n in range(1, 41)),
    ]
    return World(documents, history, *models)


async def explain(
    w: World, talent_id: str = "t1", job_id: str = "j1", side: Side = Side.TALENT, **filters: object
) -> Explanation:
    defaults = {"job_filter": JobFilter(), "talent_filter": TalentFilter()}
    return await w.recommender.explain(talent_id, job_id, side, **{**defaults, **filters})  # type: ignore[arg-type]


@pytest.mark.parametrize(("talent_id", "job_id"), [("t1", "nothing"), ("nobody", "j1"), ("nobody", "nothing")])
@pytest.mark.parametrize("side", list(Side))
async def test_what_does_not_exist_is_unknown(talent_id: str, job_id: str, side: Side) -> None:
    found = await explain(world(), talent_id, job_id, side)
    assert (found.blocked_by, found.rank, found.score, list(found.contributions)) == (Blocker.UNKNOWN, None, None, [])
    assert ("nobody" in found.text, "nothing" in found.text) == (talent_id == "nobody", job_id == "nothing")


async def test_the_first_blocker_is_named() -> None:
    w = world()
    w.events.add(event(EventType.DISMISS, "t1", "j2"))
    w.catalogue.change(Kind.JOB, 2, status=JobStatus.CLOSED, expires_at_ms=1)
    named = [(await explain(w, job_id="j2", job_filter=JobFilter(is_remote=True))).blocked_by]
    for repair in ({"status": JobStatus.OPEN}, {"expires_at_ms": None}):
        w.catalogue.change(Kind.JOB, 2, **repair)
        named.append((await explain(w, job_id="j2", job_filter=JobFilter(is_remote=True))).blocked_by)
    for undo in (EventType.UNDISMISS, EventType.WITHDRAW):
        w.events.add(event(undo, "t1", "j2", occurred_at_ms=NOW_MS + 1))
        named.append((await explain(w, job_id="j2", job_filter=JobFilter(is_remote=True))).blocked_by)
    named.append((await explain(w, job_id="j2")).blocked_by)
    assert named == [
        Blocker.CLOSED,
        Blocker.EXPIRED,
        Blocker.DISMISSED,
        Blocker.ALREADY_APPLIED,
        Blocker.FILTER,
        None,
    ]


async def test_each_side_has_its_own_eligibility_and_filter() -> None:
    w = world()
    w.catalogue.change(Kind.TALENT, 1, is_available=False)
    w.catalogue.change(Kind.JOB, 1, status=JobStatus.DRAFT)
    assert (await explain(w)).blocked_by is Blocker.CLOSED
    assert (await explain(w, side=Side.CLIENT)).blocked_by is Blocker.UNAVAILABLE
    none = TalentFilter(ids=())
    assert (await explain(w, "t2", side=Side.CLIENT, job_filter=JobFilter(ids=()))).blocked_by is None
    assert (await explain(w, "t2", side=Side.CLIENT, talent_filter=none)).blocked_by is Blocker.FILTER


@pytest.mark.parametrize("talent_id", ["t1", "t3", "t8"])
@pytest.mark.parametrize("weight", [0.0, 0.5, 40.0])
async def test_rank_and_score_are_those_of_the_list_and_contributions_sum_to_the_score(
    talent_id: str, weight: float
) -> None:
    w = world(blended(model(), weight))
    query = ListQuery(
        mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id=talent_id, filter=JobFilter(), first=200
    )
    page = (await w.recommender.lists([query]))[0]
    assert isinstance(page, RankedPage)
    for item in page.items[::13]:
        found = await explain(w, talent_id, item.id)
        assert (found.blocked_by, found.rank, found.score) == (None, item.rank, item.score)
        total = sum(part.value for part in found.contributions)
        assert total == pytest.approx(item.score, abs=1e-5 * max(1, abs(item.score)))
        assert found.text.startswith(f"Ranked {item.rank} of {page.total}.")


async def test_the_clients_side_ranks_talents() -> None:
    w = world()
    query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=Kind.JOB, subject_id="j2", filter=TalentFilter(), first=5)
    page = (await w.recommender.lists([query]))[0]
    assert isinstance(page, RankedPage)
    item = page.items[1]
    found = await explain(w, item.id, "j2", Side.CLIENT)
    assert (found.rank, found.score) == (2, item.score)
    assert {part.signal for part in found.contributions} == {"history:t1", "history:t7", "history:t8"}
    assert sum(part.value for part in found.contributions) == pytest.approx(item.score)


async def test_contributions_name_the_events_they_come_from() -> None:
    found = await explain(world(), job_id="j3")  # the twin of the applied j2
    assert found.contributions[0].signal == "history:j2"
    reason = found.contributions[0].reason
    assert reason is not None
    assert (reason.kind, reason.text) == (ReasonKind.SIMILAR_TO_ACTED_ON, "Because you applied to “Job 2”")
    assert "Because you applied to “Job 2”." in found.text


async def test_what_neighbours_add_is_part_of_the_event_that_they_are_of() -> None:
    base, near = model(), blended(model(), weight=2.0, popularity=0.0)
    rows = near.jobs.neighbours
    item = f"j{int(rows.columns[rows.starts[1]]) + 1}"  # the first neighbour of the applied j2
    strength = float(rows.strengths[rows.starts[1]])
    alone, beside = await explain(world(base), job_id=item), await explain(world(near), job_id=item)
    told = {part.signal: part.value for part in beside.contributions}
    bare = {part.signal: part.value for part in alone.contributions}
    # Two jobs are preferred: each says 1/√2.
    assert told["history:j2"] - bare["history:j2"] == pytest.approx(2.0 * strength / 2**0.5)
    assert told["history:j30"] == bare["history:j30"]  # what was turned down has no neighbours' say
    assert beside.score == pytest.approx(sum(told.values()))


async def test_a_long_history_is_summed_up_behind_its_largest_parts() -> None:
    found = await explain(world(), "t8", "j100")
    signals = [part.signal for part in found.contributions]
    assert (len(signals), signals[-1]) == (21, "history")


async def test_content_is_explained_by_trait() -> None:
    found = await explain(world(), "t3", "j1")
    assert [part.signal for part in found.contributions] == ["skills:go", "popularity"]
    assert found.contributions[0].reason is not None
    assert found.contributions[0].reason.text == "Shares Go"


async def test_contributions_sum_to_the_score_of_who_cannot_be_listed_too() -> None:
    w = world()
    w.catalogue.change(Kind.TALENT, 20, is_available=False)
    w.catalogue.change(Kind.JOB, 21, expires_at_ms=NOW_MS)
    for found in (await explain(w, "t20", "j41", Side.CLIENT), await explain(w, "t3", "j21")):
        assert found.blocked_by in (Blocker.UNAVAILABLE, Blocker.EXPIRED)
        assert found.contributions[0].signal == "skills:go"
        assert found.score == sum(part.value for part in found.contributions)


async def test_behind_five_hundred_a_pair_is_said_to_rank_lower() -> None:
    w = World([talent(1), *(job(n) for n in range(1, 601))], [event(EventType.SAVE, "t1", "j1")], model(jobs=600))
    query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id="t1", filter=JobFilter(), first=600)
    page = (await w.recommender.lists([query]))[0]
    assert isinstance(page, RankedPage)
    inside, outside = await explain(w, job_id=page.items[499].id), await explain(w, job_id=page.items[500].id)
    assert (inside.blocked_by, inside.rank) == (None, 500)
    assert (outside.blocked_by, outside.rank) == (Blocker.RANKED_LOWER, 501)
    gap = page.items[499].score - page.items[500].score
    assert outside.score_gap == gap > 0
    assert outside.text == f"Eligible, but ranked 501 of 600: its score is {gap:.4g} below that of rank 500."
    assert inside.score_gap is None


async def test_a_talent_known_from_events_alone_can_be_explained() -> None:
    w = world()
    w.events.add(event(EventType.SAVE, "ghost", "j5"))
    assert (await explain(w, "ghost", "j6")).blocked_by is None
    assert (await explain(w, "ghost", "j6", Side.CLIENT)).blocked_by is Blocker.UNKNOWN


async def test_an_explanation_shows_nothing_to_anybody() -> None:
    w = world()
    await explain(w)
    assert w.serving_log.served == []


async def test_popularity_is_the_last_part_of_the_sum() -> None:
    base = model()
    hyper = replace(base.manifest.hyperparameters, popularity=0.3)
    w = World(
        [talent(1), *(job(n) for n in range(1, 121))],
        [event(EventType.APPLY, "t1", "j2"), event(EventType.VIEW, "t1", "j9")],
        Model(replace(base.manifest, hyperparameters=hyper), base.talents, base.jobs),
    )
    found = await explain(w, job_id="j5")
    last = found.contributions[-1]
    most = float(base.jobs.popularity.max())
    assert last.signal == "popularity"
    assert last.value == pytest.approx(0.3 * float(base.jobs.popularity[4]) / most)
    assert sum(part.value for part in found.contributions) == pytest.approx(found.score, abs=1e-9)


@pytest.mark.parametrize("weight", [0.0, 2.0])
@pytest.mark.parametrize("job_id", ["j3", "j5", "j77"])
async def test_an_effect_is_what_the_score_loses_when_the_events_with_the_item_are_gone(
    weight: float, job_id: str
) -> None:
    w = world(blended(model(), weight))
    found = await explain(w, job_id=job_id)
    named = {part.signal.removeprefix("history:"): part for part in found.contributions if part.effect is not None}
    assert named.keys() == {"j2", "j9", "j30"}
    everything = w.events.events
    for acted_on, part in named.items():
        w.events.events = [event for event in everything if event.job_id != acted_on]
        without = await explain(w, job_id=job_id)
        assert found.score is not None and without.score is not None
        assert part.effect == pytest.approx(found.score - without.score, abs=1e-8)


async def test_only_what_the_score_would_lose_is_a_reason() -> None:
    w = world(blended(model(), 2.0))
    misleading = 0
    for number in range(41, 121):
        found = await explain(w, "t8", f"j{number}")
        named = [part for part in found.contributions if part.effect is not None]
        told = [part for part in named if part.reason is not None]
        assert all(part.effect > 0 for part in told if part.effect is not None)
        misleading += sum(part.value > 0 and part.effect < 0 for part in named if part.effect is not None)
        page = (await w.recommender.lists([replace(query_of("t8"), filter=JobFilter(ids=(f"j{number}",)))]))[0]
        assert isinstance(page, RankedPage)
        (reasons,) = await w.recommender.reasons([(page, page.items[0])])
        shown = {
            ordinal
            for reason in reasons
            if reason.kind is ReasonKind.SIMILAR_TO_ACTED_ON
            for ordinal in reason.job_ordinals
        }
        harmful = {int(part.signal[9:]) for part in named if part.effect is not None and part.effect <= 0}
        assert not shown & harmful
    assert misleading > 0  # else this test shows nothing


def query_of(talent_id: str) -> ListQuery:
    return ListQuery(mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id=talent_id, filter=JobFilter())


# --- what keeps a pair out --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "clause", "asked"),
    [
        (JobFilter(ids=("j2", "j3", "j4", "j5", "j6")), "ids", "j2, j3, j4 and 2 more"),
        (JobFilter(ids=()), "ids", "none"),
        (JobFilter(exclude_ids=("j1",)), "excludeIds", "j1"),
        (JobFilter(client_ids=("acme",)), "clientIds", "acme"),
        (JobFilter(skills=TermFilter(all=("GO", "SQL"))), "skills.all", "GO, SQL"),
        (JobFilter(skills=TermFilter(any=("SQL",))), "skills.any", "SQL"),
        (JobFilter(skills=TermFilter(none=("go",))), "skills.none", "go"),
        (JobFilter(categories=("Data",), countries=("FR",)), "countries", "FR"),
        (JobFilter(categories=("Law",)), "categories", "Law"),
        (JobFilter(levels=(Level.EXPERT,)), "levels", "EXPERT"),
        (JobFilter(is_remote=True), "isRemote", "true"),
        (JobFilter(posted_within_days=7), "postedWithinDays", "7"),
        (JobFilter(pay=PayFilter("USD", 90, None, False, BudgetType.HOURLY)), "budget", "hourly from 90 USD"),
        (JobFilter(pay=PayFilter("EUR", 1, 9.5, True, BudgetType.FIXED)), "budget", "fixed 1 to 9.5 EUR"),
        (JobFilter(attributes=(AttributeFilter("visa", ("yes",)),)), "attributes.visa", "yes"),
        (JobFilter(attributes=(AttributeFilter("stars", (), 4.5),)), "attributes.stars", "from 4.5"),
        (JobFilter(statuses=(JobStatus.DRAFT, JobStatus.PAUSED)), "statuses", "DRAFT, PAUSED"),
    ],
)
async def test_the_failing_clause_is_named_by_its_name_in_the_filter(
    wanted: JobFilter, clause: str, asked: str
) -> None:
    w = world()
    w.catalogue.change(
        Kind.JOB,
        1,
        category="Data",
        country="DE",
        level=Level.ENTRY,
        budget=Budget(BudgetType.HOURLY, Decimal(40), Decimal(80), "USD"),
        attributes={"visa": "no", "stars": "4"},
    )
    found = await explain(w, job_filter=wanted)
    assert (found.blocked_by, found.clause) == (Blocker.FILTER, clause)
    assert found.text == f"Not recommended: it does not match the filter's {clause} ({asked})."


async def test_the_clause_of_a_talents_filter_is_named() -> None:
    for wanted, clause in (
        (TalentFilter(is_available=False), "isAvailable"),
        (TalentFilter(joined_within_days=3), "joinedWithinDays"),
        (TalentFilter(pay=PayFilter("USD", max=10)), "hourlyRate"),
    ):
        assert (await explain(world(), "t2", side=Side.CLIENT, talent_filter=wanted)).clause == clause


async def test_the_first_rule_that_keeps_a_job_out_is_named_behind_filter_and_eligibility() -> None:
    w = world()
    w.recommender.steer(
        [
            Rule(name="Later", kind=RuleKind.EXCLUDE, items=JobFilter(), from_ms=NOW_MS + 1),
            Rule(name="On the home screen", kind=RuleKind.EXCLUDE, items=JobFilter(), placements=("home",)),
            Rule(name="No Go", kind=RuleKind.EXCLUDE, items=JobFilter(skills=TermFilter(all=("go",)))),
            Rule(name="No first", kind=RuleKind.EXCLUDE, items=JobFilter(ids=("j1",))),
        ]
    )
    found = await explain(w)
    assert (found.blocked_by, found.rule, found.rank) == (Blocker.RULE, "No Go", None)
    assert found.text == "Not recommended: rule “No Go” keeps it out."
    assert found.score == pytest.approx(sum(part.value for part in found.contributions), abs=1e-9)
    assert (await explain(w, options=Options(placement="home"))).rule == "On the home screen"
    assert (await explain(w, job_filter=SQL)).blocked_by is Blocker.FILTER
    assert (await explain(w, job_id="j30")).blocked_by is Blocker.DISMISSED
    assert (await explain(w, job_id="j12")).blocked_by is None


@pytest.mark.parametrize("talent_id", ["t1", "t3", "t8"])
async def test_under_steering_the_rank_is_that_of_the_list_and_contributions_sum_to_the_score(talent_id: str) -> None:
    w = world(blended(model(), 2.0))
    for number in range(1, 121):
        w.catalogue.change(Kind.JOB, number, client_id=f"c{number % 7}", posted_at_ms=NOW_MS - number * DAY_MS)
    w.events.add(*(event(EventType.IMPRESSION, talent_id, f"j{number}") for number in range(50, 90)))
    w.steering = Steering(
        rules=(
            Rule(name="Pin", kind=RuleKind.PIN, items=JobFilter(ids=("j100",)), position=2),
            Rule(name="Up", kind=RuleKind.BOOST, items=JobFilter(client_ids=("c3",)), factor=2.0),
            Rule(name="Out", kind=RuleKind.EXCLUDE, items=JobFilter(client_ids=("c4",))),
        ),
        max_per_client=2,
        fatigue=Fatigue(0.5, 7),
        new_jobs=Floor(0.2, 14),
    )
    w.recommender = w.replica()
    page = (await w.recommender.lists([replace(query_of(talent_id), first=200)]))[0]
    assert isinstance(page, RankedPage)
    for item in [*page.items[:4], *page.items[4::9]]:
        found = await explain(w, talent_id, item.id)
        assert (found.blocked_by, found.rank, found.score) == (None, item.rank, item.score)
        total = sum(part.value for part in found.contributions)
        assert total == pytest.approx(item.score, abs=1e-5 * max(1, abs(item.score)))
    pinned = await explain(w, talent_id, "j100")
    assert pinned.text.startswith(f"Ranked 2 of {page.total}. By score alone it would be ")
    assert "Rule “Pin” pins it there." in pinned.text
    raised = next(item.id for item in page.items if int(item.id[1:]) % 7 == 3 and 50 <= int(item.id[1:]) < 90)
    text = (await explain(w, talent_id, raised)).text
    assert "Rule “Up” raises it." in text
    assert "It loses 12% of its standing for having been shown without an answer." in text  # 0.5 · 1 / (1 + 3)
