"""What stands between a talent and a job, and what keeps a document out of every list."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.documents import Document, JobStatus, Kind
from recommender.eligibility import Exclude, document_blocker, excluded_ids, pair_blocker, types_in_force
from recommender.events import RULES, Event, EventType, in_force
from recommender.query import Blocker
from tests.factories import NOW_MS, event, job, talent

HISTORIES = st.lists(
    st.builds(
        lambda kind, job_id, at: event(kind, "t1", job_id, occurred_at_ms=NOW_MS + at),
        st.sampled_from(list(EventType)),
        st.sampled_from(["j1", "j2", "j3"]),
        st.integers(0, 5),
    ),
    max_size=20,
)


@given(HISTORIES, st.sampled_from(list(Kind)))
def test_a_pair_is_excluded_exactly_when_a_hiding_event_of_it_is_in_force(history: list[Event], kind: Kind) -> None:
    rule = {Kind.JOB: "hides_job_from_talent", Kind.TALENT: "hides_talent_from_job"}[kind]
    expected = {one.id_of(kind) for one in in_force(history) if getattr(RULES[one.type], rule)}
    assert excluded_ids(history, kind) == expected
    for item_id in {one.id_of(kind) for one in history}:
        pair = [one for one in history if one.id_of(kind) == item_id]
        assert (pair_blocker(pair, kind) is not None) == (item_id in expected)


@pytest.mark.parametrize(
    ("done", "undone"),
    [(EventType.APPLY, EventType.WITHDRAW), (EventType.DISMISS, EventType.UNDISMISS)],
)
def test_an_undo_lifts_its_event_and_a_repetition_brings_it_back(done: EventType, undone: EventType) -> None:
    history = [event(kind, occurred_at_ms=NOW_MS + at) for at, kind in enumerate((done, undone, done))]
    assert [excluded_ids(history[:count], Kind.JOB) for count in (1, 2, 3)] == [{"j1"}, set(), {"j1"}]


def test_modes_of_exclusion() -> None:
    history = [
        event(EventType.VIEW, job_id="j1"),
        event(EventType.APPLY, job_id="j2"),
        event(EventType.IMPRESSION, job_id="j3"),
    ]
    assert excluded_ids(history, Kind.JOB, Exclude.RULES) == {"j2"}
    assert excluded_ids(history, Kind.JOB, Exclude.SEEN) == {"j1", "j2"}
    assert excluded_ids(history, Kind.JOB, Exclude.NONE) == set()


@pytest.mark.parametrize(
    ("kinds", "blocker"),
    [
        ((EventType.DISMISS,), Blocker.DISMISSED),
        ((EventType.REJECT,), Blocker.DISMISSED),
        ((EventType.APPLY,), Blocker.ALREADY_APPLIED),
        ((EventType.APPLY, EventType.DISMISS), Blocker.DISMISSED),
        ((EventType.HIRE,), Blocker.ALREADY_APPLIED),
        ((EventType.VIEW, EventType.SAVE), None),
    ],
)
def test_what_is_said_to_stand_between_two(kinds: tuple[EventType, ...], blocker: Blocker | None) -> None:
    assert pair_blocker([event(kind) for kind in kinds], Kind.JOB) is blocker


def test_an_invitation_keeps_the_talent_from_the_job_but_not_the_job_from_the_talent() -> None:
    pair = [event(EventType.INVITE)]
    assert pair_blocker(pair, Kind.TALENT) is Blocker.ALREADY_APPLIED
    assert pair_blocker(pair, Kind.JOB) is None


@pytest.mark.parametrize(
    ("document", "blocker"),
    [
        *((job(status=status), Blocker.CLOSED) for status in JobStatus if status is not JobStatus.OPEN),
        (job(status=JobStatus.CLOSED, expires_at_ms=1), Blocker.CLOSED),
        (job(expires_at_ms=NOW_MS), Blocker.EXPIRED),
        (job(expires_at_ms=NOW_MS + 1), None),
        (talent(is_available=False), Blocker.UNAVAILABLE),
        (talent(), None),
    ],
)
def test_what_keeps_a_document_out(document: Document, blocker: Blocker | None) -> None:
    assert document_blocker(document, NOW_MS) is blocker


def test_types_in_force_come_once_in_order_without_impressions() -> None:
    kinds = [EventType.IMPRESSION, EventType.VIEW, EventType.SAVE, EventType.VIEW, EventType.APPLY, EventType.WITHDRAW]
    pair = [event(kind, occurred_at_ms=NOW_MS + at) for at, kind in enumerate(kinds)]
    assert types_in_force(pair) == [EventType.VIEW, EventType.SAVE]


def test_every_hiding_type_has_a_blocker() -> None:
    for kind, item_kind in product(EventType, Kind):
        hides = excluded_ids([event(kind)], item_kind) != set()
        assert (pair_blocker([event(kind)], item_kind) is not None) == hides
