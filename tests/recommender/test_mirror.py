"""The mirror against brute force: filters, facets and order, while documents change."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from recommender import columns
from recommender.columns import SetColumn
from recommender.documents import Budget, BudgetType, Changes, Document, JobStatus, Kind, Level, Money
from recommender.filters import AttributeFilter, JobFilter, PayFilter, TalentFilter, TermFilter
from recommender.id_order import IdOrder
from recommender.mirror import CHANGES_KEPT, Mirror
from recommender.search import Facet, FacetBucket, FacetField, SearchPosition, Sort
from tests import brute_force
from tests.factories import DAY_MS, NOW_MS, job, talent

KINDS = st.sampled_from(list(Kind))


def mirror_of(*documents: Document, kind: Kind = Kind.JOB) -> Mirror:
    mirror = Mirror(kind)
    mirror.apply(Changes(1, documents, ()))
    return mirror


@st.composite
def histories(draw: st.DrawFn) -> tuple[Kind, Mirror, list[Document]]:
    """A mirror that has seen documents come, change and go, and what is left of them."""
    kind = draw(KINDS)
    mirror = Mirror(kind)
    alive: dict[int, Document] = {}
    first = draw(brute_force.documents_of(kind))
    mirror.apply(Changes(1, first, ()))
    alive.update({document.ordinal: document for document in first})
    if first:
        # Filters fill the caches of postings, which later changes must mend.
        for _ in range(draw(st.integers(0, 2))):
            mirror.matching(draw(brute_force.filters_of(kind)), NOW_MS)
        ordinals = [document.ordinal for document in first]
        changed = [
            replace(alive[ordinal], **draw(brute_force.fields_of[kind]))
            for ordinal in draw(st.lists(st.sampled_from(ordinals), max_size=4, unique=True))
        ]
        gone = draw(st.lists(st.sampled_from(ordinals), max_size=4, unique=True))
        mirror.apply(Changes(2, changed, ()))
        mirror.apply(Changes(3, (), [*gone, 999]))
        alive.update({document.ordinal: document for document in changed})
        for ordinal in gone:
            del alive[ordinal]
    return kind, mirror, list(alive.values())


@settings(max_examples=80, deadline=None)
@given(histories(), st.data())
def test_matching_is_what_brute_force_finds(history: tuple[Kind, Mirror, list[Document]], data: st.DataObject) -> None:
    kind, mirror, documents = history
    for _ in range(3):
        wanted = data.draw(brute_force.filters_of(kind))
        expected = [one.ordinal for one in documents if brute_force.matches(one, wanted, NOW_MS)]
        assert sorted(mirror.matching(wanted, NOW_MS)) == sorted(expected)


@settings(max_examples=80, deadline=None)
@given(histories(), st.data())
def test_facets_are_what_brute_force_counts(history: tuple[Kind, Mirror, list[Document]], data: st.DataObject) -> None:
    kind, mirror, documents = history
    wanted = data.draw(brute_force.filters_of(kind))
    size = data.draw(st.integers(1, 5))
    within = data.draw(st.none() | st.lists(st.integers(1, 25)).map(BitMap))
    names: list[Any] = [*(field for field in FacetField if field is not FacetField.PAY), "size", "none"]
    fields = [name for name in names if isinstance(name, FacetField)]
    facets = mirror.facets(wanted, fields, ["size", "none"], size, NOW_MS, within=within)
    for name, facet in zip(names, facets, strict=True):
        free = brute_force.without_own_clause(wanted, name)
        counted = [
            one
            for one in documents
            if brute_force.matches(one, free, NOW_MS) and (within is None or one.ordinal in within)
        ]
        expected = brute_force.counts(documents, counted, name)
        ranked = sorted(expected.items(), key=lambda item: (-item[1], item[0]))
        assert [(bucket.value, bucket.count) for bucket in facet.buckets] == ranked[:size]
        assert facet.other == sum(count for _, count in ranked[size:])
        assert facet.missing == sum(not brute_force.values_of(one, name) for one in counted)


@settings(max_examples=80, deadline=None)
@given(histories(), st.data())
def test_a_pay_range_counts_what_a_filter_on_it_finds(
    history: tuple[Kind, Mirror, list[Document]], data: st.DataObject
) -> None:
    kind, mirror, documents = history
    wanted = data.draw(brute_force.filters_of(kind))
    pay = wanted.pay or brute_force.default_pay(kind)
    (facet,) = mirror.facets(wanted, [FacetField.PAY], [], data.draw(st.integers(1, 20)), NOW_MS)
    for bucket in facet.buckets:
        on_range = PayFilter(pay.currency, bucket.low, bucket.high, False, pay.budget_type)
        assert bucket.count == len(mirror.matching(replace(wanted, pay=on_range), NOW_MS))
    counted = brute_force.found(documents, replace(wanted, pay=None), None, NOW_MS)
    assert facet.missing == sum(brute_force.pay_range(one, pay) is None for one in counted)
    assert facet.other == 0
    ends = [(bucket.low, bucket.high) for bucket in facet.buckets]
    assert all(high == low for (_, high), (low, _) in pairwise(ends))


@settings(max_examples=80, deadline=None)
@given(histories(), st.sampled_from(list(Sort)), st.integers(1, 7), st.data())
def test_pages_follow_each_other_in_the_order_of_brute_force(
    history: tuple[Kind, Mirror, list[Document]], sort: Sort, first: int, data: st.DataObject
) -> None:
    kind, mirror, documents = history
    pay = data.draw(st.none() | brute_force.pay_filters(kind))
    expected = brute_force.in_order(documents, sort, pay or brute_force.default_pay(kind))
    everything = BitMap(document.ordinal for document in documents)
    seen: list[int] = []
    after: SearchPosition | None = None
    while True:
        page = mirror.page(everything, sort, first, after, pay=pay)
        assert page.total == len(documents)
        seen.extend(page.ordinals)
        assert page.has_next == (len(seen) < len(documents))
        assert page.has_previous == (len(seen) > len(page.ordinals))
        if not page.has_next:
            break
        assert len(page.ordinals) == first
        after = page.positions[-1]
    assert seen == [document.ordinal for document in expected]

    back: list[int] = []
    before: SearchPosition | None = None
    while True:
        page = mirror.page(everything, sort, 1, last=first, before=before, pay=pay)
        assert page.total == len(documents)
        assert page.has_next == (len(back) > 0)
        back[:0] = page.ordinals
        assert page.has_previous == (len(back) < len(documents))
        if not page.has_previous:
            break
        assert len(page.ordinals) == first
        before = page.positions[0]
    assert back == seen


def test_a_page_can_begin_behind_an_id_that_no_longer_exists_and_end_before_it() -> None:
    mirror = mirror_of(job(1, job_id="a"), job(2, job_id="b"), job(3, job_id="d"))
    mirror.apply(Changes(2, (), [2]))
    for gone in ("b", "c"):
        page = mirror.page(BitMap([1, 3]), Sort.RELEVANCE, 5, SearchPosition(None, gone))
        assert (list(page.ordinals), page.has_next, page.has_previous) == ([3], False, True)
        page = mirror.page(BitMap([1, 3]), Sort.RELEVANCE, 5, last=5, before=SearchPosition(None, gone))
        assert (list(page.ordinals), page.has_next, page.has_previous) == ([1], True, False)


def test_eligible_jobs_are_open_and_not_expired_at_the_moment() -> None:
    mirror = mirror_of(
        job(1),
        job(2, expires_at_ms=NOW_MS),
        job(3, expires_at_ms=NOW_MS + 1),
        job(4, status=JobStatus.DRAFT),
        job(5, status=JobStatus.CLOSED, expires_at_ms=NOW_MS + 1),
    )
    assert list(mirror.eligible(NOW_MS)) == [1, 3]
    assert list(mirror.eligible(NOW_MS - 1)) == [1, 2, 3]
    mirror.apply(Changes(2, [job(2), job(1, status=JobStatus.PAUSED)], [3]))
    assert list(mirror.eligible(NOW_MS)) == [2]


def test_eligible_talents_are_available() -> None:
    mirror = mirror_of(talent(1), talent(2, is_available=False), kind=Kind.TALENT)
    assert list(mirror.eligible(NOW_MS)) == [1]


def test_ids_that_are_gone_or_unknown_have_no_ordinal_and_a_gone_ordinal_keeps_its_name() -> None:
    mirror = mirror_of(job(7, job_id="x"), job(9, job_id="y"))
    mirror.apply(Changes(2, (), [9]))
    assert mirror.ordinals_of(["y", "x", "z", "x"]) == [None, 7, None, 7]
    assert mirror.ids_of(np.array([9, 7], dtype=np.uint32)) == ["y", "x"]


def test_a_revived_document_is_back_under_its_ordinal() -> None:
    mirror = mirror_of(job(1, skills=("Go",)))
    mirror.apply(Changes(2, (), [1]))
    assert not mirror.matching(JobFilter(), NOW_MS)
    mirror.apply(Changes(3, [job(1, skills=("Rust",))], ()))
    assert list(mirror.matching(JobFilter(skills=TermFilter(any=("rust",))), NOW_MS)) == [1]
    assert not mirror.matching(JobFilter(skills=TermFilter(any=("go",))), NOW_MS)


def test_a_bitmap_that_was_handed_out_does_not_change_with_the_mirror() -> None:
    mirror = mirror_of(job(1, skills=("Go",)), job(2, skills=("Go",)))
    wanted = JobFilter(skills=TermFilter(all=("go",)))
    found, eligible = mirror.matching(wanted, NOW_MS), mirror.eligible(NOW_MS)
    mirror.apply(Changes(2, (), [1, 2]))
    assert list(found) == list(eligible) == [1, 2]
    found.add(77)
    assert not mirror.matching(wanted, NOW_MS)


@pytest.mark.parametrize(
    ("clauses", "expected"),
    [
        ({}, [1, 2]),
        ({"ids": ()}, []),
        ({"ids": ("j2", "j3", "x")}, [2]),
        ({"exclude_ids": ("j2", "x")}, [1]),
        ({"statuses": (JobStatus.DRAFT, JobStatus.OPEN)}, [1, 2, 3]),
        ({"skills": TermFilter(all=("go", "SQL"))}, [1]),
        ({"skills": TermFilter(any=("go", "nothing"))}, [1]),
        ({"skills": TermFilter(none=("GO",))}, [2]),
        ({"categories": ("büro", "x")}, [1]),
        ({"countries": ("de", "fr")}, [1, 2]),
        ({"levels": (Level.EXPERT,)}, [2]),
        ({"client_ids": ("c1",)}, [1]),
        ({"is_remote": False}, [2]),
        ({"pay": PayFilter("usd", 50, None, budget_type=BudgetType.HOURLY)}, [1]),
        ({"pay": PayFilter("usd", 51, None, budget_type=BudgetType.HOURLY)}, []),
        ({"pay": PayFilter("usd", 51, None, True, BudgetType.HOURLY)}, [2]),
        ({"attributes": (AttributeFilter("size", min=2, max=3),)}, [1]),
        ({"attributes": (AttributeFilter("size"),)}, [1, 2]),
        ({"attributes": (AttributeFilter("size", ("MANY",)), AttributeFilter("none", ("x",)))}, []),
    ],
)
def test_each_clause_by_itself(clauses: dict[str, Any], expected: list[int]) -> None:
    mirror = mirror_of(
        job(
            1,
            skills=("Go", "sql"),
            category="Bu\u0308ro",
            country="DE",
            client_id="c1",
            is_remote=True,
            budget=Budget(BudgetType.HOURLY, Decimal(20), Decimal(50), "USD"),
            attributes={"size": "2.5"},
        ),
        job(2, country="FR", level=Level.EXPERT, is_remote=False, attributes={"size": "many"}),
        job(3, status=JobStatus.DRAFT),
    )
    assert list(mirror.matching(JobFilter(**clauses), NOW_MS)) == expected


def test_client_ids_and_attribute_names_compare_exactly() -> None:
    mirror = mirror_of(job(1, client_id="acme", attributes={"Team": "A"}), job(2, client_id="ACME"))
    assert list(mirror.matching(JobFilter(client_ids=("acme",)), NOW_MS)) == [1]
    assert list(mirror.matching(JobFilter(attributes=(AttributeFilter("Team", ("a",)),)), NOW_MS)) == [1]
    assert not mirror.matching(JobFilter(attributes=(AttributeFilter("team", ("a",)),)), NOW_MS)


def test_a_facet_shows_the_most_common_spelling_and_marks_what_is_selected() -> None:
    mirror = mirror_of(
        job(1, category="design"),
        job(2, category="Design"),
        job(3, category="Design"),
        job(4, category="LAW"),
        job(5),
    )
    (facet,) = mirror.facets(JobFilter(categories=("DESIGN",)), [FacetField.CATEGORIES], [], 20, NOW_MS)
    expected = (FacetBucket("Design", 3, is_selected=True), FacetBucket("LAW", 1))
    assert facet == Facet("CATEGORIES", expected, other=0, missing=1)


def test_the_skills_facet_ignores_any_but_not_all() -> None:
    mirror = mirror_of(job(1, skills=("Go", "SQL")), job(2, skills=("Rust",)))
    (free,) = mirror.facets(JobFilter(skills=TermFilter(any=("go",))), [FacetField.SKILLS], [], 20, NOW_MS)
    assert [(b.value, b.count, b.is_selected) for b in free.buckets] == [
        ("Go", 1, True),
        ("Rust", 1, False),
        ("SQL", 1, False),
    ]
    (bound,) = mirror.facets(JobFilter(skills=TermFilter(all=("go",))), [FacetField.SKILLS], [], 20, NOW_MS)
    assert [(b.value, b.count, b.is_selected) for b in bound.buckets] == [("Go", 1, True), ("SQL", 1, False)]


def test_pay_falls_into_round_ranges_and_outliers_share_an_open_one() -> None:
    rates = [20, 35, 50, 74, 90] * 30 + [5_000]
    talents = [talent(n, hourly_rate=Money(Decimal(rate), "USD")) for n, rate in enumerate(rates, 1)]
    mirror = mirror_of(*talents, talent(999), kind=Kind.TALENT)
    (facet,) = mirror.facets(TalentFilter(pay=PayFilter("usd", 50, 60)), [FacetField.PAY], [], 20, NOW_MS)
    assert [(bucket.value, bucket.count, bucket.is_selected) for bucket in facet.buckets] == [
        ("20-30", 30, False),
        ("30-40", 30, False),
        ("40-50", 30, False),
        ("50-60", 30, True),
        ("60-70", 0, False),
        ("70-80", 30, False),
        ("80-90", 30, False),
        ("90+", 31, False),
    ]
    assert facet.missing == 1


@pytest.mark.parametrize("budget", [Budget(BudgetType.FIXED, Decimal(1), None, "USD"), None])
def test_include_unknown_lets_only_documents_without_pay_pass(budget: Budget | None) -> None:
    mirror = mirror_of(job(1, budget=budget))
    pay = PayFilter("USD", 10, 20, include_unknown=True, budget_type=BudgetType.HOURLY)
    assert list(mirror.matching(JobFilter(pay=pay), NOW_MS)) == ([] if budget else [1])


def test_a_job_without_posted_at_is_not_posted_within_any_number_of_days() -> None:
    mirror = mirror_of(job(1), job(2, posted_at_ms=NOW_MS - DAY_MS), job(3, posted_at_ms=NOW_MS - DAY_MS - 1))
    assert list(mirror.matching(JobFilter(posted_within_days=1), NOW_MS)) == [2]


def test_an_empty_mirror_answers() -> None:
    mirror = Mirror(Kind.JOB)
    assert not mirror.matching(JobFilter(ids=("x",)), NOW_MS)
    assert not mirror.eligible(NOW_MS)
    assert mirror.page(BitMap(), Sort.NEWEST, 5).total == 0
    assert len(mirror.facets(JobFilter(), list(FacetField), ["x"], 5, NOW_MS)) == len(FacetField) + 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=5), max_size=20))
def test_id_keys_sort_as_the_bytes_of_the_ids(batches: list[list[str]]) -> None:
    order = IdOrder()
    known: list[str] = []
    for batch in batches:
        fresh = [text for text in dict.fromkeys(batch) if text not in known]
        known.extend(fresh)
        order.add([order.ordinal(text) or known.index(text) + 1 for text in batch], batch)
        if len(batch) % 2:
            order.key_before("m")
    keys = order.keys(np.arange(1, len(known) + 1, dtype=np.uint32)).tolist()
    assert [known[place] for place in np.argsort(keys)] == sorted(known, key=str.encode)
    assert len(set(keys)) == len(known)
    for text in ["", "a", "\uffff", *known]:
        before = [one for one in known if one.encode() <= text.encode()]
        assert order.key_before(text) == max((keys[known.index(one)] for one in before), default=0)


@pytest.mark.parametrize("step", [1, -1])
def test_id_keys_stay_in_order_when_a_gap_is_used_up(step: int) -> None:
    order = IdOrder()
    order.add([1, 2], ["a", "c"])
    ids = ["a", "c"]
    for number in range(3_000):
        ids.append(f"b{step * number + 5_000}")
        order.add([len(ids)], [ids[-1]])
        if number % 3 == 0:
            order.keys(np.array([1], dtype=np.uint32))
    keys = order.keys(np.arange(1, len(ids) + 1, dtype=np.uint32))
    assert [ids[place] for place in np.argsort(keys)] == sorted(ids)


def test_sets_survive_compaction_of_their_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "FEW", 3)
    chance = random.Random(7)
    column, expected = SetColumn(), dict[int, list[str]]()
    for _ in range(300):
        ordinals = chance.sample(range(1, 30), 2)
        sets = [chance.sample("abcdefgh", chance.randrange(5)) for _ in ordinals]
        column.put(np.array(ordinals, dtype=np.uint32), sets)
        expected.update(zip(ordinals, sets, strict=True))
        letter = chance.choice("abcdefgh")
        assert sorted(column.having(letter)) == sorted(o for o, letters in expected.items() if letter in letters)
        everyone = np.array(sorted(expected), dtype=np.uint32)
        assert column.lengths(everyone).tolist() == [len(expected[o]) for o in everyone.tolist()]
        spellings = [column.vocabulary.spellings[code] for code in column.codes(everyone).tolist()]
        assert spellings == [letter for o in everyone.tolist() for letter in expected[o]]


def test_readers_in_threads_see_each_change_whole() -> None:
    """Every revision has one open job of each of two skills, or none of both."""
    mirror = Mirror(Kind.JOB)
    torn: list[tuple[int, int]] = []
    done = False

    def read() -> None:
        while not done:
            (facet,) = mirror.facets(JobFilter(), [FacetField.SKILLS], [], 5, NOW_MS)
            counted = {bucket.value: bucket.count for bucket in facet.buckets}
            if counted.get("a", 0) != counted.get("b", 0):
                torn.append((counted.get("a", 0), counted.get("b", 0)))

    reader = Thread(target=read)
    reader.start()
    for revision in range(1, 400):
        pair = [job(2 * revision + n, skills=(skill,)) for n, skill in enumerate("ab")]
        mirror.apply(Changes(revision, pair, [2 * revision - 2, 2 * revision - 1]))
    done = True
    reader.join()
    assert torn == []


def test_what_changed_since_a_revision_is_known_however_long_ago_that_was() -> None:
    """The latest changes are at hand; older ones are found among all documents."""
    mirror, changed_at = Mirror(Kind.JOB), dict[int, int]()
    for revision in range(1, 2 * CHANGES_KEPT, 3):
        ordinals = [1 + revision * 7 % 40, 1 + revision * 11 % 40]
        upserted = [job(ordinal) for ordinal in dict.fromkeys(ordinals)]
        mirror.apply(Changes(revision=revision, upserted=upserted, deleted=[]))
        changed_at |= dict.fromkeys(ordinals, revision)
    for revision in range(1, 2 * CHANGES_KEPT, 17):
        expected = sorted(ordinal for ordinal, at in changed_at.items() if at > revision)
        assert list(mirror.changed_since(revision)) == expected
