from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.interactions import table_from_events
from recommender.splits import split_events
from tests.factories import NOW_MS, event


@given(st.lists(st.integers(0, 30), min_size=2, max_size=60).filter(lambda times: len(set(times)) > 1))
def test_nothing_of_the_future_trains_and_no_event_is_lost(times: list[int]) -> None:
    split = split_events(table_from_events([event(occurred_at_ms=NOW_MS + at) for at in times]))
    assert split.cut_ms is not None
    assert (split.train.at_ms <= split.cut_ms).all()
    assert (split.test.at_ms > split.cut_ms).all()
    assert len(split.train) > 0
    assert len(split.test) > 0
    assert len(split.train) + len(split.test) == len(times)


def test_a_fifth_of_the_events_is_tested_on() -> None:
    split = split_events(table_from_events([event(occurred_at_ms=NOW_MS + at) for at in range(100)]))
    assert (len(split.train), len(split.test)) == (81, 19)  # the moment of the cut itself trains


def test_events_of_one_moment_stay_together() -> None:
    times = [0] * 2 + [1] * 8
    split = split_events(table_from_events([event(occurred_at_ms=NOW_MS + at) for at in times]))
    assert (len(split.train), len(split.test)) == (2, 8)


def test_events_without_a_time_train_when_others_have_one() -> None:
    events = [event(occurred_at_ms=None) for _ in range(5)] + [event(occurred_at_ms=NOW_MS + at) for at in range(10)]
    split = split_events(table_from_events(events))
    assert (split.train.at_ms < 0).sum() == 5


def test_without_times_each_talent_gives_about_a_fifth_of_its_pairs() -> None:
    events = [
        event(talent_id=f"t{t}", job_id=f"j{j}", occurred_at_ms=None)
        for t in range(50)
        for j in range(10)
        for _ in "ab"
    ]
    split = split_events(table_from_events(events))
    assert split.cut_ms is None
    assert np.bincount(split.test.talent).tolist() == [4] * 50  # two pairs, each of two events
    assert not set(split.train.pair.tolist()) & set(split.test.pair.tolist())


def test_a_talent_of_one_pair_keeps_it_and_one_of_two_is_asked_now_and_then() -> None:
    events = [
        event(talent_id=f"t{t}", job_id=f"j{j}", occurred_at_ms=None) for t in range(200) for j in range(1 + t % 2)
    ]
    table = table_from_events(events)
    split = split_events(table)
    asked = {table.talent_ids[talent] for talent in split.test.talent.tolist()}
    assert all(int(talent_id[1:]) % 2 for talent_id in asked)
    assert 25 <= len(asked) <= 55
    assert set(np.bincount(split.train.talent, minlength=200).tolist()) == {1, 2}


def test_a_single_moment_is_split_as_if_there_were_no_times() -> None:
    events = [event(talent_id=f"t{t}", job_id=f"j{j}") for t in range(10) for j in range(10)]
    split = split_events(table_from_events(events))
    assert split.cut_ms is None
    assert len(split.test) == 20


def test_a_random_split_follows_its_seed() -> None:
    table = table_from_events([event(job_id=f"j{j}", occurred_at_ms=None) for j in range(50)])
    first, again, other = (split_events(table, seed=seed) for seed in (1, 1, 2))
    assert first.test.job.tolist() == again.test.job.tolist()
    assert first.test.job.tolist() != other.test.job.tolist()


def test_an_empty_table_splits_into_empty_parts() -> None:
    split = split_events(table_from_events([]))
    assert (len(split.train), len(split.test)) == (0, 0)
