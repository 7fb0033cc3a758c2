"""The steps of re-ranking by themselves: each is a permutation, each keeps its promise, each off is the identity."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.documents import Kind, Side
from recommender.events import Event, EventType
from recommender.exposure import BLOCK, Floor, give_new_their_share
from recommender.fatigue import Fatigue
from recommender.pins import place_pins, rows_of_pins
from recommender.rerank import spread_among, spread_clients
from recommender.steering import Entrants, rearrange, standings
from tests.factories import DAY_MS, NOW_MS, event
from tests.recommender.test_rerank import CLIENTS, keeps

FLAGS = st.lists(st.booleans(), max_size=90)
HELD = st.sets(st.integers(0, 89), max_size=25)


# --- the floor for new jobs -------------------------------------------------------------------------------------------


@given(FLAGS, st.integers(0, BLOCK), HELD)
def test_the_floor_is_a_permutation_that_keeps_held_rows_and_the_order_of_each_kind(
    is_new: list[bool], of_block: int, held: set[int]
) -> None:
    order = give_new_their_share(is_new, of_block, held)
    assert sorted(order) == list(range(len(is_new)))
    assert all(order[row] == row for row in held if row < len(is_new))
    for kind in (True, False):
        moved = [place for row, place in enumerate(order) if row not in held and is_new[place] is kind]
        assert moved == sorted(moved)


@given(FLAGS, st.integers(0, BLOCK), HELD)
def test_the_floor_holds_in_every_block_while_there_are_new_ones(
    is_new: list[bool], of_block: int, held: set[int]
) -> None:
    order = give_new_their_share(is_new, of_block, held)
    for start in range(0, len(order) - BLOCK + 1, BLOCK):
        block = range(start, start + BLOCK)
        listed = sum(is_new[order[row]] for row in block)
        left = any(is_new[order[row]] for row in range(start + BLOCK, len(order)) if row not in held)
        fixed = [row for row in block if row in held]
        if left:
            assert listed >= min(of_block, sum(is_new[row] for row in fixed) + BLOCK - len(fixed))


@given(FLAGS)
def test_no_floor_changes_nothing(is_new: list[bool]) -> None:
    assert give_new_their_share(is_new, 0) == list(range(len(is_new)))


def test_new_ones_come_no_sooner_than_they_must() -> None:
    order = give_new_their_share([False] * 40 + [True] * 8, 4)
    assert [row for row, place in enumerate(order) if place >= 40] == [4, 9, 14, 19, 24, 29, 34, 39]
    assert give_new_their_share([True] * 3 + [False] * 37, 3) == list(range(40))


@pytest.mark.parametrize(("share", "rows"), [(0.1, 2), (0.15, 3), (0.01, 1), (1.0, 20), (0.55, 11)])
def test_a_share_is_rounded_up_to_rows(share: float, rows: int) -> None:
    assert Floor(share, 7).of_block == rows


# --- pins -------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 60), st.lists(st.integers(1, 70), max_size=12), st.randoms())
def test_pins_are_a_permutation_and_stand_where_they_are_wanted_or_at_the_next_free_row(
    count: int, positions: list[int], dice: object
) -> None:
    pinned = list(range(count))
    dice.shuffle(pinned)  # type: ignore[attr-defined]
    positions, pinned = positions[:count], pinned[: min(count, len(positions))]
    rows = rows_of_pins(positions, count)
    order = place_pins(count, pinned, rows)
    assert sorted(order) == list(range(count))
    assert [order[row] for row in rows] == pinned
    rest = [place for place in order if place not in pinned]
    assert rest == sorted(rest)
    for nth, (row, position) in enumerate(zip(rows, positions, strict=True)):
        earlier = set(rows[:nth])
        free = [one for one in range(count) if one not in earlier]
        assert row == min((one for one in free if one >= position - 1), default=max(free))


# --- clients, among rows of a kind ------------------------------------------------------------------------------------


@given(CLIENTS, st.integers(1, 4), st.lists(st.sampled_from([None, False, True]), min_size=60, max_size=60))
def test_spreading_among_groups_is_a_permutation_within_each_group(
    clients: list[str | None], most: int, groups: list[bool | None]
) -> None:
    groups = groups[: len(clients)]
    order = spread_among(clients, most, groups)
    assert sorted(order) == list(range(len(clients)))
    assert [groups[place] for place in order] == groups
    assert all(order[row] == row for row, group in enumerate(groups) if group is None)


@given(CLIENTS, st.integers(1, 12))
def test_spreading_among_one_group_keeps_the_limit_wherever_the_plain_rule_does(
    clients: list[str | None], most: int
) -> None:
    order = spread_among(clients, most, [True] * len(clients))
    plain = spread_clients(clients, most)
    if keeps([clients[place] for place in order], most):
        assert keeps([clients[place] for place in plain], most)


def test_room_is_left_for_a_pin_further_down() -> None:
    clients = [*"abcdefgh", "a", *"ijklmnopqrstuvwxyz"]
    order = spread_among(clients, 1, [None if row == 8 else True for row in range(len(clients))])
    assert keeps([clients[place] for place in order], 1)
    assert order[8] == 8


# --- fatigue ----------------------------------------------------------------------------------------------------------


def shown(item: str, days_ago: float, **fields: object) -> Event:
    at = NOW_MS - int(days_ago * DAY_MS)
    return event(EventType.IMPRESSION, job_id=item, occurred_at_ms=at, **fields)


def test_an_impression_counts_half_after_each_half_life() -> None:
    fatigue = Fatigue(most=0.8, half_life_days=7)
    counts = fatigue.count_unanswered([shown("a", 0), shown("a", 7), shown("b", 14)], [], Kind.JOB, NOW_MS)
    assert counts == pytest.approx({"a": 1.5, "b": 0.25})
    assert fatigue.discounts(["a", "b", "c"], {"a": 3.0, "b": 1e9}) == pytest.approx([0.6, 0.2, 1.0], abs=1e-6)


def test_impressions_before_an_action_are_answered() -> None:
    history = [event(EventType.VIEW, job_id="a", occurred_at_ms=NOW_MS - 2 * DAY_MS)]
    impressions = [shown("a", 3), shown("a", 1), shown("b", 3)]
    counts = Fatigue(0.5, 1e9).count_unanswered(impressions, history, Kind.JOB, NOW_MS)
    assert counts == pytest.approx({"a": 1.0, "b": 1.0})


def test_only_the_lists_own_side_tires_and_only_of_what_has_a_time() -> None:
    impressions = [
        shown("a", 1, actor=Side.CLIENT),
        shown("b", 1, event_id="x"),
        event(EventType.IMPRESSION, job_id="c", occurred_at_ms=None),
        shown("d", -1),  # later than the list was begun
    ]
    fatigue = Fatigue(0.5, 1e9)
    assert fatigue.count_unanswered(impressions, [], Kind.JOB, NOW_MS).keys() == {"b"}
    assert fatigue.count_unanswered(impressions, [], Kind.TALENT, NOW_MS).keys() == {"t1"}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.floats(0.01, 1.0))
def test_a_discount_is_bounded_and_grows_with_impressions(counts: list[float], most: float) -> None:
    names = [str(place) for place in range(len(counts))]
    discounts = Fatigue(most, 7).discounts(names, dict(zip(names, counts, strict=True)))
    assert np.all((discounts > 1 - most) | np.isclose(discounts, 1 - most))
    assert np.all(discounts <= 1)
    in_order = discounts[np.argsort(counts, kind="stable")]
    assert all(before >= after for before, after in pairwise(in_order.tolist()))


# --- all of it --------------------------------------------------------------------------------------------------------


@st.composite
def entrants(draw: st.DrawFn) -> Entrants:
    top, behind = draw(st.integers(0, 60)), draw(st.integers(0, 20))
    count = top + (behind if top else 0)
    scores = np.sort(np.array(draw(st.lists(st.floats(-5, 5), min_size=count, max_size=count))))[::-1]
    every = range(count)
    pinned = draw(st.lists(st.sampled_from(every), unique=True, max_size=5)) if count else []
    return Entrants(
        top=top,
        scores=scores,
        discounts=np.array([draw(st.sampled_from([1.0, 1.0, 0.6, 0.25])) for _ in every]),
        factors=np.array([draw(st.sampled_from([1.0, 1.0, 2.0, 0.1])) for _ in every]),
        additions=np.array([draw(st.sampled_from([0.0, 0.0, 1.0, -0.5])) for _ in every]),
        pinned=pinned,
        positions=[draw(st.integers(1, max(1, top))) for _ in pinned],
        is_new=np.array([draw(st.booleans()) for _ in every], dtype=np.bool_) if draw(st.booleans()) else None,
        new_of_block=draw(st.integers(1, 20)),
        clients=[draw(st.sampled_from(["a", "b", "c", None])) for _ in every] if draw(st.booleans()) else None,
        most_per_client=draw(st.integers(1, 3)),
    )


@settings(max_examples=150, deadline=None)
@given(entrants())
def test_whatever_is_set_all_of_the_top_is_listed_once_and_pins_stand_where_they_belong(some: Entrants) -> None:
    order = rearrange(some)
    assert len(set(order)) == len(order)
    assert set(range(some.top)) <= set(order) <= set(range(len(some.scores)))
    assert set(some.pinned) <= set(order)
    if some.pinned:
        assert order[some.positions[0] - 1] == some.pinned[0]
    assert order == rearrange(some)


@settings(max_examples=100, deadline=None)
@given(entrants())
def test_the_limit_of_a_client_moves_neither_a_pin_nor_the_row_of_a_new_job(some: Entrants) -> None:
    with_limit, without = rearrange(some), rearrange(replace(some, clients=None))
    assert sorted(with_limit) == sorted(without)
    if some.is_new is not None:
        assert some.is_new[with_limit].tolist() == some.is_new[without].tolist()
    for nth, place in enumerate(some.pinned):
        assert with_limit.index(place) == without.index(place), nth


@given(st.lists(st.floats(-5, 5), max_size=40))
def test_with_nothing_set_the_order_is_that_of_the_scores(values: list[float]) -> None:
    scores = np.sort(np.array(values))[::-1]
    ones = np.ones(len(scores))
    plain = Entrants(top=len(scores), scores=scores, discounts=ones, factors=ones, additions=0 * ones)
    assert rearrange(plain) == list(range(len(scores)))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=40), st.floats(-9, 9), st.sampled_from([0.25, 2.0, 64.0]))
def test_standings_do_not_depend_on_where_scores_begin_and_how_far_they_reach(
    values: list[float], shift: float, scale: float
) -> None:
    scores = np.sort(np.array(values))[::-1]
    if scores[0] - scores[-1] > 1e-3:
        assert standings(scores * scale + shift, len(scores)) == pytest.approx(standings(scores, len(scores)), abs=1e-9)
    assert standings(scores, len(scores))[0] == 1.0


def test_an_item_whose_standing_is_doubled_passes_those_it_now_equals_or_beats() -> None:
    scores = np.array([10.0, 8.0, 6.0, 4.0, 0.0])
    ones, zeros = np.ones(5), np.zeros(5)
    plain = Entrants(top=5, scores=scores, discounts=ones, factors=ones, additions=zeros)
    assert rearrange(replace(plain, factors=np.array([1, 1, 1, 2.1, 1]))) == [0, 3, 1, 2, 4]
    assert rearrange(replace(plain, additions=np.array([0, 0, 0, 0, 0.7]))) == [0, 1, 4, 2, 3]
    assert rearrange(replace(plain, discounts=np.array([0.5, 1, 1, 1, 1]))) == [1, 2, 0, 3, 4]
