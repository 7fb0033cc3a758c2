"""What people are told, and what they must not be told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from recommender.documents import Budget, BudgetType, Kind, Level, Money, Side
from recommender.events import EventType
from recommender.filters import JobFilter, TalentFilter
from recommender.query import ListQuery, Mode, Profile, RankedPage, Reason, ReasonKind
from recommender.reasons import ActedOn, reasons_for, told_of
from tests.factories import DAY_MS, NOW_MS, event, job, talent
from tests.recommender.fakes import World


def texts(reasons: list[Reason]) -> list[str]:
    return [reason.text for reason in reasons]


def test_everything_that_fits_is_said_most_telling_first() -> None:
    subject = talent(
        skills=("kubernetes", "go", "sql"), category="DATA", level=Level.EXPERT, hourly_rate=Money(Decimal(60), "EUR")
    )
    item = job(
        skills=("Go", "Kubernetes", "Rust"),
        category="Data",
        level=Level.EXPERT,
        budget=Budget(BudgetType.HOURLY, Decimal(50), Decimal("80.50"), "EUR"),
        posted_at_ms=NOW_MS - 2 * DAY_MS,
    )
    acted_on = ActedOn("Because you applied to “{}”", job(7, title="Senior Data Engineer"), None)
    reasons = reasons_for(subject, item, acted_on, is_popular=True, now_ms=NOW_MS)
    assert texts(reasons) == [
        "Because you applied to “Senior Data Engineer”",
        "Shares Go and Kubernetes",
        "In the same field: Data",
        "Pays up to 80.5 EUR an hour, your rate is 60 EUR",
        "At the same level: expert",
        "Posted 2 days ago",
        "Popular with talents",
    ]
    assert (reasons[0].job_ordinals, reasons[1].skills) == ((7,), ("Go", "Kubernetes"))


@pytest.mark.parametrize(
    ("skills", "text"),
    [
        (("A",), "Shares A"),
        (("A", "B"), "Shares A and B"),
        (("A", "B", "C"), "Shares A, B and C"),
        (("A", "B", "C", "D", "E"), "Shares A, B, C and 2 more"),
    ],
)
def test_a_few_skills_are_named(skills: tuple[str, ...], text: str) -> None:
    (reason,) = reasons_for(Profile(skills=skills), job(skills=skills), None, is_popular=False, now_ms=NOW_MS)
    assert (reason.text, reason.skills) == (text, skills)


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        (Budget(BudgetType.HOURLY, Decimal(20), Decimal(60), "USD"), True),
        (Budget(BudgetType.HOURLY, Decimal(20), Decimal(59), "USD"), False),
        (Budget(BudgetType.HOURLY, Decimal(60), None, "USD"), True),
        (Budget(BudgetType.HOURLY, Decimal(59), None, "USD"), False),
        (Budget(BudgetType.HOURLY, None, None, "USD"), False),
        (Budget(BudgetType.FIXED, Decimal(20), Decimal(6000), "USD"), False),
        (Budget(BudgetType.HOURLY, Decimal(20), Decimal(60), "EUR"), False),
        (None, False),
    ],
)
def test_pay_fits_only_where_it_compares(budget: Budget | None, fits: bool) -> None:
    person, offer = talent(hourly_rate=Money(Decimal(60), "USD")), job(budget=budget)
    for subject, item in ((person, offer), (offer, person)):
        kinds = [reason.kind for reason in reasons_for(subject, item, None, is_popular=False, now_ms=NOW_MS)]
        assert kinds == [ReasonKind.PAY_FITS] * fits


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [
        (0, ["Posted today"]),
        (DAY_MS, ["Posted yesterday"]),
        (7 * DAY_MS, ["Posted 7 days ago"]),
        (7 * DAY_MS + 1, []),
        (-1, []),
    ],
)
def test_new_is_a_week(age_ms: int, expected: list[str]) -> None:
    item = job(posted_at_ms=NOW_MS - age_ms)
    assert texts(reasons_for(None, item, None, is_popular=False, now_ms=NOW_MS)) == expected


def test_neither_side_learns_what_the_other_does_in_private() -> None:
    shortlisted = [event(EventType.SHORTLIST), event(EventType.VIEW, actor=Side.CLIENT)]
    assert told_of(shortlisted, Kind.JOB) is None
    assert told_of([event(EventType.VIEW), event(EventType.SAVE)], Kind.TALENT) is None
    assert told_of(shortlisted, Kind.TALENT) == "Similar to a talent you shortlisted for “{}”"


def test_the_strongest_event_in_force_is_named() -> None:
    pair = [event(EventType.VIEW), event(EventType.SAVE), event(EventType.APPLY)]
    assert told_of(pair, Kind.JOB) == "Because you applied to “{}”"
    withdrawn = [*pair, event(EventType.WITHDRAW, occurred_at_ms=NOW_MS + 1)]
    assert told_of(withdrawn, Kind.JOB) == "Because you saved “{}”"


# --- over a list ------------------------------------------------------------------------------------------------------


def world() -> World:
    documents = [
        *(talent(n, skills=("Go",)) for n in range(1, 41)),
        *(job(n, title=f"Job {n}", skills=("go",) if n % 2 else ()) for n in range(1, 121)),
    ]
    return World(documents, [event(EventType.APPLY, "t1", "j2"), event(EventType.VIEW, "t9", "j50")])


async def page_of(w: World, kind: Kind, subject_id: str | None, **more: object) -> RankedPage:
    listed = JobFilter() if kind is Kind.TALENT else TalentFilter()
    query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=kind, subject_id=subject_id, filter=listed, **more)  # type: ignore[arg-type]
    page = (await w.recommender.lists([query]))[0]
    assert isinstance(page, RankedPage)
    return page


async def test_a_talent_is_told_what_of_their_own_doing_speaks_for_a_job() -> None:
    w = world()
    page = await page_of(w, Kind.TALENT, "t1")
    twin = next(item for item in page.items if item.id == "j3")  # has the factors of the applied j2
    reasons = (await w.recommender.reasons([(page, twin)]))[0]
    assert texts(reasons)[:2] == ["Because you applied to “Job 2”", "Shares go"]
    assert reasons[0].job_ordinals == (2,)


async def test_a_client_is_told_of_their_own_job_alone() -> None:
    w = world()
    page = await page_of(w, Kind.JOB, "j2")
    reasons = [one[0] for one in await w.recommender.reasons([(page, item) for item in page.items[:5]])]
    similar = [reason for reason in reasons if reason.kind is ReasonKind.SIMILAR_TO_ACTED_ON]
    assert similar
    assert {reason.text for reason in similar} == {"Similar to a talent who applied to “Job 2”"}
    assert {(reason.job_ordinals, reason.talent_ordinals) for reason in similar} == {((2,), (1,))}
    viewed = await page_of(w, Kind.JOB, "j50")  # t9's view is not the client's to know
    for one in await w.recommender.reasons([(viewed, item) for item in viewed.items]):
        assert ReasonKind.SIMILAR_TO_ACTED_ON not in {reason.kind for reason in one}


async def test_a_profile_is_told_of_what_it_likes() -> None:
    w = world()
    page = await page_of(w, Kind.TALENT, None, profile=Profile(skills=("GO",), liked_job_ids=("j4",)))
    items = {item.id: item for item in page.items}
    found = (await w.recommender.reasons([(page, page.items[0])]))[0]
    assert found[0].text == "Because you like “Job 4”"
    assert "j4" not in items


async def test_reasons_of_many_lists_cost_one_call_per_kind_of_document() -> None:
    w = world()
    pages = [await page_of(w, Kind.TALENT, f"t{n}") for n in (1, 2, 3)] + [await page_of(w, Kind.JOB, "j2")]
    w.forget_calls()
    answers = await w.recommender.reasons([(page, item) for page in pages for item in page.items])
    assert len(answers) == 80
    assert w.calls == {"get_many talent": 1, "get_many job": 1}


async def test_a_document_that_has_gone_since_has_no_reasons() -> None:
    w = world()
    page = await page_of(w, Kind.TALENT, "t1")
    w.catalogue.remove(Kind.JOB, page.items[0].ordinal)
    gone, there = await w.recommender.reasons([(page, page.items[0]), (page, page.items[1])])
    assert gone == []
    assert there
