from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.documents import Kind, Side
from recommender.eligibility import excluded_ids, hides
from recommender.events import RULES, Emphasis, Event, EventType, in_force
from recommender.interactions import (
    LARGEST_WEIGHT,
    EventTableBuilder,
    affinity,
    hidden_pairs,
    pair_weights,
    standing,
    table_from_events,
)
from recommender.model import Hyperparameters
from tests.factories import DAY_MS, NOW_MS, event

TIMELESS = Hyperparameters(half_life_days=None)
MONTHLY = Hyperparameters(half_life_days=30)

either_actor = st.sampled_from(list(Side))
events_of_few_pairs = st.lists(
    st.builds(
        lambda number, kind, actor, talent, job, day, value: Event(
            event_id=str(number),
            actor=RULES[kind].actor or actor,
            type=kind,
            talent_id=f"t{talent}",
            job_id=f"j{job}",
            occurred_at_ms=None if day is None else NOW_MS + day * DAY_MS,
            value=value,
        ),
        st.integers(0, 10**6),
        st.sampled_from(EventType),
        either_actor,
        st.integers(1, 2),
        st.integers(1, 2),
        st.none() | st.integers(-400, 3),
        st.none() | st.floats(0.1, 10),
    ),
    max_size=25,
).map(lambda events: [Event(**{**_fields(e), "seq": seq}) for seq, e in enumerate(events, 1)])


def _fields(e: Event) -> dict[str, object]:
    return {name: getattr(e, name) for name in Event.__slots__}


def naive_weights(events: list[Event], half_life_days: float | None, as_of_ms: int | None) -> dict[object, float]:
    sums: dict[object, float] = {}
    for e in in_force(events):
        weight = RULES[e.type].weight * (1.0 if e.value is None else e.value)
        if half_life_days and as_of_ms is not None and e.occurred_at_ms is not None:
            weight *= 0.5 ** (max(as_of_ms - e.occurred_at_ms, 0) / (half_life_days * DAY_MS))
        sums[e.talent_id, e.job_id] = sums.get((e.talent_id, e.job_id), 0.0) + weight
    return {pair: weight for pair, weight in sums.items() if np.float32(weight) != 0}


@settings(deadline=None)
@given(events_of_few_pairs, st.sampled_from([None, 30.0]), st.sampled_from([None, NOW_MS]))
def test_weights_equal_the_sum_over_the_events_in_force(
    events: list[Event], half_life_days: float | None, as_of_ms: int | None
) -> None:
    expected = naive_weights(events, half_life_days, as_of_ms)
    found = pair_weights(events, Hyperparameters(half_life_days=half_life_days), as_of_ms)
    # Opposite weights may cancel to nothing in one order of summing and to 1e-16 in another.
    for pair in expected.keys() | found.keys():
        assert found.get(pair, 0.0) == pytest.approx(expected.get(pair, 0.0), rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(events_of_few_pairs)
def test_the_same_events_stand_as_by_the_rule_of_one_event_at_a_time(events: list[Event]) -> None:
    table = table_from_events(events)
    expected = sorted(e.seq for e in in_force(events) if e.type is not EventType.IMPRESSION)
    assert sorted(table.seq[standing(table)].tolist()) == expected


@settings(deadline=None)
@given(events_of_few_pairs, st.sampled_from([Emphasis(), Emphasis(0.5), Emphasis(1.5, views=0.3)]))
def test_one_talents_history_weighs_the_same_alone_and_in_the_matrix(events: list[Event], emphasis: Emphasis) -> None:
    table = table_from_events(events)
    hyper = Hyperparameters(half_life_days=30, emphasis=emphasis)
    matrix = affinity(table, 30.0, NOW_MS, emphasis).toarray()
    for talent, talent_id in enumerate(table.talent_ids):
        alone = pair_weights([e for e in events if e.talent_id == talent_id], hyper, NOW_MS)
        row = {(talent_id, table.job_ids[j]): w for j, w in enumerate(matrix[talent].tolist()) if w}
        assert row == {pair: float(np.float32(weight)) for pair, weight in alone.items()}


@settings(deadline=None)
@given(events_of_few_pairs)
def test_hidden_pairs_are_those_that_the_rule_of_one_event_at_a_time_excludes(events: list[Event]) -> None:
    events = [replace(one, seq=place) for place, one in enumerate(events, 1)]
    table = table_from_events(events)
    ordinals = [np.array([int(own[1:]) + 6 for own in ids], np.uint32) for ids in (table.talent_ids, table.job_ids)]
    hidden = hidden_pairs(table, *ordinals)
    for kind, items in ((Kind.TALENT, Kind.JOB), (Kind.JOB, Kind.TALENT)):
        for number in (1, 2, 3):
            history = [one for one in events if int(one.id_of(kind)[1:]) == number]
            expected = {int(own[1:]) + 6 for own in excluded_ids(history, items)}
            found = list(hidden.of_subject(kind, number + 6))
            assert {other for other, what, _ in found if hides(what, items)} == expected
            left = hidden.without(kind, number + 6)
            assert (list(left.of_subject(kind, number + 6)), len(left)) == ([], len(hidden) - len(found))
            meant = {(one.id_of(items), one.type, one.actor) for one in in_force(history)}
            assert {(f"{items.value[0]}{other - 6}", what, actor) for other, what, actor in found} <= meant


def test_a_withdrawn_application_says_nothing() -> None:
    events = [event(EventType.APPLY, seq=1), event(EventType.WITHDRAW, occurred_at_ms=NOW_MS + 1, seq=2)]
    assert pair_weights(events, TIMELESS, None) == {}


def test_an_application_after_the_withdrawal_counts_again() -> None:
    events = [
        event(EventType.APPLY, seq=1),
        event(EventType.WITHDRAW, occurred_at_ms=NOW_MS + 1, seq=2),
        event(EventType.APPLY, occurred_at_ms=NOW_MS + 2, seq=3),
    ]
    assert pair_weights(events, TIMELESS, None) == {("t1", "j1"): 5.0}


def test_one_sides_undo_leaves_the_other_sides_dismissal() -> None:
    events = [
        event(EventType.DISMISS, actor=Side.CLIENT, seq=1),
        event(EventType.UNDISMISS, actor=Side.TALENT, occurred_at_ms=NOW_MS + 1, seq=2),
    ]
    assert pair_weights(events, TIMELESS, None) == {("t1", "j1"): -1.0}


def test_a_weight_halves_with_every_half_life() -> None:
    events = [event(EventType.SAVE, occurred_at_ms=NOW_MS - 60 * DAY_MS)]
    assert pair_weights(events, MONTHLY, NOW_MS) == {("t1", "j1"): 0.75}


def test_an_event_without_a_time_does_not_decay_nor_does_one_newer_than_the_as_of() -> None:
    assert pair_weights([event(occurred_at_ms=None)], MONTHLY, NOW_MS) == {("t1", "j1"): 1.0}
    assert pair_weights([event(occurred_at_ms=NOW_MS + DAY_MS)], MONTHLY, NOW_MS) == {("t1", "j1"): 1.0}


def test_value_multiplies_and_repeats_add_up() -> None:
    events = [event(value=2.5, seq=1), event(event_id="again", seq=2), event(EventType.APPLY, job_id="j2", value=0.5)]
    assert pair_weights(events, TIMELESS, None) == {("t1", "j1"): 3.5, ("t1", "j2"): 2.5}


def test_a_power_flattens_weights_before_they_decay_and_views_can_say_less() -> None:
    events = [
        *(event(EventType.VIEW, event_id=f"v{n}", seq=n) for n in range(4)),
        event(EventType.APPLY, job_id="j2", value=5.0, occurred_at_ms=NOW_MS - 30 * DAY_MS),
        event(EventType.DISMISS, job_id="j3"),
    ]
    plain = {("t1", "j1"): 4.0, ("t1", "j2"): 12.5, ("t1", "j3"): -1.0}
    assert pair_weights(events, MONTHLY, NOW_MS) == plain
    flat = Hyperparameters(half_life_days=30, emphasis=Emphasis(power=0.5))
    assert pair_weights(events, flat, NOW_MS) == plain | {("t1", "j2"): 2.5}
    quiet = Hyperparameters(half_life_days=30, emphasis=Emphasis(views=0.25))
    assert pair_weights(events, quiet, NOW_MS) == plain | {("t1", "j1"): 1.0}


def test_impressions_say_nothing() -> None:
    assert len(table_from_events([event(EventType.IMPRESSION)])) == 0


def test_hostile_values_stay_finite() -> None:
    events = [event(value=1e308, seq=1), event(value=1e308, event_id="again", seq=2)]
    assert pair_weights(events, TIMELESS, None) == {("t1", "j1"): LARGEST_WEIGHT}
    assert np.isfinite(affinity(table_from_events(events), None, None).data).all()


def test_a_weight_that_decayed_below_float32_counts_nowhere() -> None:
    assert pair_weights([event(occurred_at_ms=0)], MONTHLY, NOW_MS) == {}


def test_batches_make_the_same_table_as_one_call() -> None:
    events = [event(talent_id=f"t{n % 3}", job_id=f"j{n % 5}", seq=n) for n in range(1, 20)]
    builder = EventTableBuilder()
    for start in range(0, len(events), 4):
        builder.add(events[start : start + 4])
    batched, whole = builder.build(), table_from_events(events)
    assert (batched.talent_ids, batched.job_ids) == (whole.talent_ids, whole.job_ids)
    assert np.array_equal(batched.pair, whole.pair)


def test_no_events_make_an_empty_table_and_matrix() -> None:
    table = table_from_events([])
    assert (len(table), table.newest_ms, affinity(table, 90.0, NOW_MS).shape) == (0, None, (0, 0))
    assert pair_weights([], MONTHLY, NOW_MS) == {}


def test_what_had_happened_by_a_moment_includes_what_has_no_time() -> None:
    table = table_from_events([event(occurred_at_ms=at) for at in (None, NOW_MS, NOW_MS + 1)])
    assert len(table.until(NOW_MS)) == 2
