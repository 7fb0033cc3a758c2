from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender import evaluation
from recommender.evaluation import (
    Outcome,
    ServedRow,
    build_trial,
    evaluate,
    intervals,
    leads,
    lists_served,
    measure,
    top_lists,
)
from recommender.events import Event, EventType
from recommender.interactions import table_from_events
from recommender.splits import Split, split_events
from tests.factories import NOW_MS, event


class Fixed:
    """A scorer that scores jobs by a table."""

    def __init__(self, table: npt.ArrayLike) -> None:
        self.table = np.array(table, dtype=np.float32)

    def scores(self, talents: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        return self.table[talents].copy()


def split_of(before: list[Event], after: list[Event]) -> Split:
    table = table_from_events([*before, *after])
    late = np.arange(len(table)) >= len(before)
    return Split(table.take(~late), table.take(late), NOW_MS)


def views(*pairs: str, kind: EventType = EventType.VIEW) -> list[Event]:
    """`views("t1 j2")`: one event per pair."""
    return [event(kind, *pair.split()) for pair in pairs]


def test_relevant_is_a_positive_pair_that_is_new_and_known() -> None:
    before = views("t1 j1", "t2 j2", "t2 j3", "t3 j4", "t1 j5")
    after = [
        *views("t1 j2", "t1 j5", "t1 jnew", "tnew j1"),  # j5 was seen, jnew and tnew are unknown
        *views("t1 j3", "t2 j1", kind=EventType.DISMISS),
    ]
    split = split_of(before, after)
    trial = build_trial(split)
    assert [split.train.talent_ids[t] for t in trial.talents] == ["t1"]
    assert [split.train.job_ids[j] for j in trial.relevance[0].indices] == ["j2"]
    assert (trial.population, trial.left_out) == (1, 1)  # tnew has something to find and no history
    assert trial.candidates.sum() == 5


def test_a_job_dismissed_before_the_cut_is_never_a_question_nor_recommended() -> None:
    before = [*views("t1 j1", "t2 j2", "t2 j3"), *views("t1 j2", kind=EventType.DISMISS)]
    split = split_of(before, views("t1 j2", "t1 j3"))
    trial = build_trial(split)
    assert trial.relevant.tolist() == [1]
    lists = top_lists(Fixed(np.ones((2, 3))), trial, 3)
    assert [split.train.job_ids[j] for j in lists[0] if j >= 0] == ["j3"]


def test_lists_are_best_first_without_the_seen_ties_to_the_lower_row_and_padded() -> None:
    split = split_of(views("t1 j1", "t2 j2", "t2 j3", "t2 j4"), views("t1 j3"))
    trial = build_trial(split)
    lists = top_lists(Fixed([[9, 1, 5, 5], [0, 0, 0, 0]]), trial, 6)
    assert lists.tolist() == [[2, 3, 1, -1, -1, -1]]


def test_batches_change_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    events = [
        event(talent_id=f"t{t}", job_id=f"j{j}", occurred_at_ms=None) for t in range(30) for j in range(t % 7 + 2)
    ]
    trial = build_trial(split_events(table_from_events(events)))
    scorer = Fixed(rng.random((30, 8)))
    whole = top_lists(scorer, trial, 5)
    monkeypatch.setattr(evaluation, "_BATCH_CELLS", 20)
    assert np.array_equal(whole, top_lists(scorer, trial, 5))


@given(jobs=st.integers(1, 700), places=st.integers(1, 30), distinct=st.integers(1, 1000), seed=st.integers(0, 99))
def test_the_best_are_found_however_wide_the_rows(jobs: int, places: int, distinct: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = min(places, jobs)
    scores = rng.integers(0, distinct, (3, jobs)).astype(np.float32)
    scores[rng.random((3, jobs)) < 0.3] = -np.inf
    best = evaluation.best_columns(scores, places)
    found = np.sort(np.take_along_axis(scores, best, axis=1), axis=1)
    assert np.array_equal(found, np.sort(scores, axis=1)[:, jobs - places :])


def test_the_beginning_of_a_long_list_is_the_short_list_ties_and_all() -> None:
    split = split_of(views("t1 j0", *(f"t2 j{n}" for n in range(1, 400))), views("t1 j7"))
    trial = build_trial(split)
    scorer = Fixed(np.random.default_rng(0).integers(0, 4, (2, 400)))
    long, short = top_lists(scorer, trial, 150), top_lists(scorer, trial, 7)
    assert long[:, :7].tolist() == short.tolist()
    order = sorted(range(1, 400), key=lambda job: (-scorer.table[0, job], job))
    assert long[0].tolist() == order[:150]


def test_a_perfect_order_measures_one_and_every_metric_is_there() -> None:
    split = split_of(views("t1 j1", "t2 j2", "t2 j3"), views("t1 j3"))
    trial = build_trial(split)
    measured = measure(top_lists(Fixed([[0, 1, 2], [0, 0, 0]]), trial, 2), trial, (1, 2)).metrics
    assert measured == {
        "recall@1": 1.0,
        "ndcg@1": 1.0,
        "map@1": 1.0,
        "coverage@1": pytest.approx(1 / 3),
        "gini@1": pytest.approx(2 / 3),
        "novelty@1": 1.0,
        "new@1": 1.0,
        "recall@2": 1.0,
        "ndcg@2": 1.0,
        "map@2": 1.0,
        "coverage@2": pytest.approx(2 / 3),
        "gini@2": pytest.approx(1 / 3),
        "novelty@2": 1.0,
        "new@2": 1.0,
    }


def test_nothing_to_ask_measures_zeros() -> None:
    trial = build_trial(split_of(views("t1 j1"), []))
    assert set(measure(top_lists(Fixed([[1]]), trial, 1), trial, (1,)).metrics.values()) == {0.0}


def test_above_the_limit_a_sample_is_asked_and_the_population_told() -> None:
    before = [*views(*(f"t{t} j{t}" for t in range(40)))]
    split = split_of(before, views(*(f"t{t} j{(t + 1) % 40}" for t in range(40))))
    first, again, other = (build_trial(split, max_talents=10, seed=seed) for seed in (1, 1, 2))
    assert (len(first.talents), first.population) == (10, 40)
    assert first.talents.tolist() == again.talents.tolist() != other.talents.tolist()


def test_algorithms_are_built_when_their_turn_comes() -> None:
    trial = build_trial(split_of(views("t1 j1", "t2 j2"), views("t1 j2")))
    built: list[str] = []

    def build(name: str) -> Fixed:
        built.append(name)
        return Fixed(np.ones((2, 2)))

    turns = evaluate({"a": lambda: build("a"), "b": lambda: build("b")}, trial, (1,))
    assert next(turns)[0] == "a"
    assert built == ["a"]


def test_served_lists_are_scored_as_ours_are() -> None:
    split = split_of(views("t1 j1", "t2 j2", "t2 j3"), views("t1 j3"))
    trial = build_trial(split)
    rows = [
        ServedRow("t1", "j2", 4),
        ServedRow("t1", "j1", 1),  # seen: passed over
        ServedRow("t1", "elsewhere", 2),  # unknown: a miss that keeps its place
        ServedRow("t1", "j3", 3),
        ServedRow("t1", "j3", 5),  # a repeat
        ServedRow("t9", "j3", 1),  # nobody asked
    ]
    lists = lists_served(rows, split, trial, 4)
    names = [[split.train.job_ids[j] if 0 <= j < 3 else None for j in row] for row in lists]
    assert names == [[None, "j3", "j2", None]]
    assert measure(lists, trial, (2,)).metrics["map@2"] == 0.5


def test_a_talent_without_a_served_list_scores_nothing() -> None:
    split = split_of(views("t1 j1", "t2 j2", "t2 j3"), views("t1 j3", "t2 j1"))
    trial = build_trial(split)
    lists = lists_served([ServedRow("t1", "j3", 1)], split, trial, 5)
    assert measure(lists, trial, (5,)).metrics["recall@5"] == 0.5


def outcome(values: list[float]) -> Outcome:
    by_talent = {name: np.array(values) for name in ("recall@5", "ndcg@5")}
    nothing = np.full((len(values), 1), -1, dtype=np.int64)
    return Outcome({name: float(np.mean(values)) for name in by_talent}, by_talent, nothing)


def test_a_lead_is_over_the_best_of_the_others_and_pairs_the_talents() -> None:
    rng = np.random.default_rng(0)
    luck = rng.random(400)  # some talents are easy for everyone: unpaired, a lead of .02 would drown in this
    found = {
        "weak": outcome((luck - 0.3).tolist()),
        "strong": outcome((luck + 0.01 * rng.standard_normal(400)).tolist()),
        "served": outcome((luck + 0.02).tolist()),
    }
    recall, ndcg = leads(found, "served", (5,), seed=1)
    assert (recall.metric, ndcg.metric, recall.best) == ("recall@5", "ndcg@5", "strong")
    assert recall.difference == pytest.approx(0.02, abs=0.002)
    assert recall.low < recall.difference < recall.high
    assert recall.high - recall.low < 0.004
    assert recall.verdict == "better"
    assert leads(found, "weak", (5,))[0].verdict == "worse"
    assert leads({"a": found["weak"], "served": found["weak"]}, "served", (5,))[0].verdict == "level"
    assert leads(found, "served", (5,), seed=1)[0] == recall


def test_an_interval_holds_the_mean_and_narrows_with_the_talents_asked() -> None:
    rng = np.random.default_rng(3)
    few, many = (intervals(outcome(rng.random(size).tolist()))["recall@5"] for size in (30, 3000))
    assert few[0] < 0.5 < few[1]
    assert many[0] < 0.5 < many[1]
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * np.sqrt(1 / 12 / 3000), rel=0.1)
