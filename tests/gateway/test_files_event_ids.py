"""Ids of events that come without one: the same for the same row, another for every repetition."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.files.event_ids import EventIds
from gateway.files.rows import EventRow
from recommender.documents import Side
from recommender.events import EventType


def view(talent_id: str = "t1", **fields: Any) -> EventRow:
    return EventRow(None, Side.TALENT, EventType.VIEW, talent_id, "j1", None, None, None)._replace(**fields)


def assigned(*chunks: Sequence[EventRow]) -> list[str]:
    with closing(EventIds()) as ids:
        return [event_id for chunk in chunks for event_id in ids.assign(chunk)]


def test_an_id_is_the_hash_of_the_row_and_its_number_among_equal_rows() -> None:
    first, second, other = assigned([view(), view(), view("t2")])
    # Pinned: another hash would import every log that is already there a second time.
    assert first == "row-89151f3909577827e1485e250468c858-1"
    assert (second, other[-2:]) == (first[:-1] + "2", "-1")
    assert other[:-1] != first[:-1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30), st.lists(st.integers(0, 30), max_size=4))
def test_ids_do_not_depend_on_how_a_file_is_cut_into_chunks(talents: list[str], cuts: list[int]) -> None:
    rows = [view(talent) for talent in talents]
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    chunks = [rows[start:end] for start, end in pairwise(edges)]
    assert assigned(*chunks) == assigned(rows)
    assert len(set(assigned(rows))) == len(rows)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=20).flatmap(lambda t: st.tuples(st.just(t), st.permutations(t)))
)
def test_the_same_rows_in_another_order_have_the_same_ids(orders: tuple[list[str], list[str]]) -> None:
    one, other = ([view(talent) for talent in talents] for talents in orders)
    assert sorted(assigned(one)) == sorted(assigned(other))


def test_the_hash_covers_everything_that_an_event_says() -> None:
    rows = [
        view(),
        view(actor=Side.CLIENT),
        view(type=EventType.IMPRESSION),
        view(job_id="j2"),
        view(occurred_at_ms=0),
        view(value=1.0),
        view(recommendation_id="r"),
        view("t1,j1"),
    ]
    assert len({event_id.rpartition("-")[0] for event_id in assigned(rows)}) == len(rows)
