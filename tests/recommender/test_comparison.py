"""One direction of a comparison: segments, what lists are like beside being right, and that nothing leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recommender.choice import choose_recipe
from recommender.comparison import SegmentRow, compare_one_way, describe, measure_segment, segments_of
from recommender.documents import Kind
from recommender.evaluation import Trial, build_trial, top_lists
from recommender.events import EventType
from recommender.interactions import table_from_events
from recommender.recipe import Recipe
from recommender.splits import split_events
from recommender.training import contenders_both_ways
from tests.factories import NOW_MS, event, job
from tests.recommender.test_evaluation import Fixed, split_of, views
from tests.recommender.test_training import taste_events

SMALL = Recipe(factors=4, strength=10.0, shrinkage=1.0, half_life_days=30.0)


def small_trial() -> Trial:
    """t1 has done one thing, t2 five, t3 twenty; each finds one of j0 (acted on by all three) and j30 (by one)."""
    before = views("t1 j31", *(f"t2 j{n}" for n in range(1, 6)), *(f"t3 j{n}" for n in range(1, 21)))
    before += views("t4 j0", "t5 j0", "t6 j0", "t7 j30")
    return build_trial(split_of(before, views("t1 j0", "t2 j0", "t2 j30", "t3 j30")))


def test_talents_are_new_light_or_heavy_by_what_they_had_done() -> None:
    found = {(row.by, row.name): row.talents.tolist() for row in segments_of(small_trial())}
    assert found["history", "new"] == [True, False, False]
    assert found["history", "light"] == [False, True, False]
    assert found["history", "heavy"] == [False, False, True]
    assert [name for by, name in found if by == "length"] == ["1", "4–7", "16–31"]


def test_a_segment_counts_what_is_relevant_in_it_alone() -> None:
    trial = small_trial()
    j0 = int(trial.relevance[0].indices[0])
    ours = np.full((3, 2), -1, dtype=np.int64)
    ours[:, 0] = j0  # everybody is shown j0 alone
    nothing = np.full((3, 2), -1, dtype=np.int64)
    head, tail = (
        measure_segment(segment, trial, {"served": ours, "popularity": nothing}, 2)
        for segment in segments_of(trial)
        if segment.by == "popularity"
    )
    assert (head.name, head.talents, head.pairs, head.means["served"]["recall@2"]) == ("head", 2, 2, 1.0)
    assert (tail.name, tail.talents, tail.pairs, tail.means["served"]["recall@2"]) == ("tail", 2, 2, 0.0)
    (lead,) = [lead for lead in head.leads if lead.metric == "recall@2"]
    assert (lead.best, lead.difference, lead.verdict) == ("popularity", 1.0, "better")


def test_segments_of_history_make_up_the_whole() -> None:
    split = split_events(table_from_events(taste_events()))
    trial = build_trial(split)
    algorithms = contenders_both_ways(split, SMALL)[Kind.JOB]
    direction = compare_one_way(algorithms, trial, (10,))
    for by in ("history", "length"):
        rows = [row for row in direction.segments if row.by == by]
        assert sum(row.talents for row in rows) == len(trial.talents)
        for name in ("served", "popularity"):
            whole = sum(row.talents * row.means[name]["ndcg@10"] for row in rows) / len(trial.talents)
            assert whole == pytest.approx(direction.metrics[name]["ndcg@10"])
    assert all(low <= row.means[name][m] <= high for row in direction.segments for name, m, low, high in ends(row))


def ends(row: SegmentRow) -> list[tuple[str, str, float, float]]:
    return [(name, metric, *pair) for name, of in row.intervals.items() for metric, pair in of.items()]


def test_categories_are_those_with_most_to_find_and_the_rest_together() -> None:
    jobs = [f"j{n}" for n in range(20)]
    before = [*views(*(f"t{n} {job_id}" for n, job_id in enumerate(jobs)))]
    after = views(*(f"t{(n + 1) % 20} {job_id}" for n, job_id in enumerate(jobs)))
    trial = build_trial(split_of(before, after))
    categories = ["Design", "design", *(f"c{min(n, 8)}" for n in range(17)), None]
    found = {row.name: int(row.jobs.sum()) for row in segments_of(trial, categories) if row.by == "category"}
    assert list(found)[:2] == ["c8", "Design"]  # 9 jobs and 2; spelling and case are one
    assert (len(found), found["other"], found["none"]) == (8, 4, 1)
    assert sum(found.values()) == 20
    assert not [row for row in segments_of(trial, [None] * 20) if row.by == "category"]


def test_diversity_is_the_mean_distance_of_what_is_described() -> None:
    documents = [job(1, skills=("a",), category="x"), job(2, skills=("A",), category="X"), job(3, skills=("b",)), None]
    described = describe(documents)
    assert described.categories == ["x", "X", None, None]
    split = split_of(views("t1 j1", "t2 j2", "t3 j3", "t4 j4", "t5 j5"), views("t5 j1"))
    trial = build_trial(split)
    direction = compare_one_way(
        {name: lambda: Fixed(np.tile([5.0, 4, 3, 2, 1], (5, 1))) for name in ("served", "popularity")},
        trial,
        (2, 3),
        described=replace(
            described, traits=describe([*documents, None]).traits, categories=[*described.categories, None]
        ),
    )
    assert direction.metrics["served"]["diversity@2"] == pytest.approx(0.0)  # alike
    assert direction.metrics["served"]["diversity@3"] == pytest.approx(2 / 3)  # one pair alike, two apart
    assert direction.metrics["served"]["novelty@3"] == pytest.approx(np.log2(5))
    assert direction.exposure["served"][0] == 0.0
    assert direction.exposure["served"][-1] == 1.0


def test_nothing_of_the_test_period_reaches_what_is_learnt_chosen_or_cut() -> None:
    """What happened after the cut is replaced by markers: huge hires of one job, among a talent and a job new to it."""
    early = sorted(taste_events(), key=lambda one: one.occurred_at_ms or 0)
    cut_ms = split_events(table_from_events(early)).cut_ms or 0
    late = [one for one in early if (one.occurred_at_ms or 0) > cut_ms]
    late.append(replace(late[-1], talent_id="marker", job_id="marker"))
    early = early[: len(early) - len(late) + 1]
    planted = [replace(one, job_id="j0", type=EventType.HIRE, value=1e9) for one in late[:-1]]
    planted.append(replace(late[-1], type=EventType.HIRE, value=1e9))
    plain, marked = (split_events(table_from_events([*early, *after])) for after in (late, planted))
    assert marked.cut_ms == plain.cut_ms == cut_ms
    assert (len(marked.train), len(marked.test)) == (len(plain.train), len(plain.test))
    assert choose_recipe(marked.train) == choose_recipe(plain.train)
    for kind, rows in ((Kind.JOB, 120), (Kind.TALENT, 40)):
        theirs = contenders_both_ways(marked, SMALL)[kind]
        for name, build in contenders_both_ways(plain, SMALL)[kind].items():
            assert np.array_equal(build().scores(np.arange(rows)), theirs[name]().scores(np.arange(rows))), name
    for split in (marked, marked.transposed()):
        trial = build_trial(split)
        marker = list(split.train.job_ids).index("marker")
        assert not trial.candidates[marker]
        assert trial.popularity[marker] == 0
        every = Fixed(np.ones((len(split.train.talent_ids), len(split.train.job_ids))))
        assert marker not in top_lists(every, trial, 200)
        before = build_trial(plain if split is marked else plain.transposed())
        assert trial.popularity.tolist() == before.popularity.tolist()


def test_without_times_no_held_out_pair_is_learnt_from() -> None:
    events = [replace(one, occurred_at_ms=None) for one in taste_events()]
    split = split_events(table_from_events(events))
    assert split.cut_ms is None
    assert not set(split.train.pair.tolist()) & set(split.test.pair.tolist())
    swapped = replace(split, test=split.test.take(np.arange(0)))
    assert choose_recipe(split.train) == choose_recipe(swapped.train)


def test_one_who_could_not_be_asked_leaves_nothing_measured() -> None:
    split = split_of([event()], [event(job_id="j1", occurred_at_ms=NOW_MS + 1)])
    direction = compare_one_way({}, build_trial(split), (10,))
    assert (direction.metrics, direction.segments) == ({}, [])
