from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from ranx import Qrels, Run, evaluate

from recommender import metrics
from recommender.metrics import average_precision, coverage, exposure, gini, hits_of, ndcg, recall


# ranx mixes signed and unsigned integers, and numba says so.
@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaTypeSafetyWarning")
def test_metrics_agree_with_ranx_to_a_millionth() -> None:
    rng = np.random.default_rng(5)
    talents, jobs, places = 40, 60, 30
    lists = np.array([rng.permutation(jobs)[:places] for _ in range(talents)])
    dense = rng.random((talents, jobs)) < 0.1
    dense[np.arange(talents), rng.integers(0, jobs, talents)] = True
    relevance = sp.csr_matrix(dense.astype(np.float32))
    qrels = Qrels({f"q{t}": {f"d{j}": 1 for j in np.flatnonzero(dense[t])} for t in range(talents)})
    run = Run({f"q{t}": {f"d{j}": 1.0 - place / 100 for place, j in enumerate(lists[t])} for t in range(talents)})
    hits, relevant = hits_of(lists, relevance), dense.sum(axis=1)
    names = ["recall@5", "ndcg@5", "map@5", "recall@20", "ndcg@20", "map@20"]
    theirs = evaluate(qrels, run, names)
    for name, score in (("recall", recall), ("ndcg", ndcg), ("map", average_precision)):
        for k in (5, 20):
            assert score(hits, relevant, k).mean() == pytest.approx(theirs[f"{name}@{k}"], abs=1e-6)


def test_one_hit_at_rank_two_of_two_relevant() -> None:
    hits, relevant = np.array([[False, True, False]]), np.array([2])
    assert recall(hits, relevant, 3).tolist() == [0.5]
    assert average_precision(hits, relevant, 3).tolist() == [0.25]
    assert ndcg(hits, relevant, 3)[0] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert recall(hits, relevant, 1).tolist() == [0.0]


def test_a_list_shorter_than_k_is_measured_as_it_is() -> None:
    hits, relevant = np.array([[True]]), np.array([2])
    assert ndcg(hits, relevant, 10)[0] == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert average_precision(hits, relevant, 10).tolist() == [0.5]


def test_padding_and_jobs_outside_the_matrix_are_no_hits() -> None:
    relevance = sp.csr_matrix(np.array([[0, 0, 1.0], [1.0, 0, 0]]))
    lists = np.array([[-1, 3, 2], [3, -1, 0]])  # 3 would be the first column of the next row
    assert hits_of(lists, relevance).tolist() == [[False, False, True], [False, False, True]]


def test_nothing_relevant_hits_nothing() -> None:
    assert not hits_of(np.array([[0, 1]]), sp.csr_matrix((1, 3))).any()


def test_exposure_counts_first_places_only() -> None:
    counts = exposure(np.array([[0, 1, 2], [0, -1, 9]]), 2, 4)
    assert counts.tolist() == [2, 1, 0, 0]
    assert coverage(counts) == 0.5


def test_gini_of_equal_exposure_is_zero_and_of_a_monopoly_nearly_one() -> None:
    assert gini(np.array([3, 3, 3, 3])) == 0.0
    assert gini(np.array([0, 0, 0, 8])) == 0.75
    assert gini(np.array([0, 0])) == 0.0


def test_gini_equals_the_mean_absolute_difference_of_pairs() -> None:
    counts = np.array([5, 0, 2, 9, 1])
    expected = np.abs(counts[:, None] - counts[None, :]).mean() / (2 * counts.mean())
    assert gini(counts) == pytest.approx(expected)


def test_the_interval_of_a_rate_is_wilsons() -> None:
    """The figures are those of R's `prop.test(1, 10, correct = FALSE)` and the like."""
    assert metrics.wilson_interval(1, 10) == pytest.approx((0.0179, 0.4042), abs=1e-4)
    assert metrics.wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert metrics.wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert metrics.wilson_interval(0, 0) is metrics.wilson_interval(3, 2) is None


def test_lorenz_is_the_diagonal_for_equals_and_its_area_is_ginis() -> None:
    assert metrics.lorenz(np.full(10, 7)) == pytest.approx(np.linspace(0, 1, 21))
    counts = np.random.default_rng(0).integers(0, 50, 400)
    curve = metrics.lorenz(counts, points=401)
    assert 1 - 2 * np.trapezoid(curve, dx=1 / 400) == pytest.approx(metrics.gini(counts))
    assert metrics.lorenz(np.zeros(3, dtype=np.int64)).tolist() == [0.0] * 21


def test_novelty_and_new_jobs_pass_over_what_is_not_shown_or_unknown() -> None:
    lists = np.array([[0, 2, -1], [1, 7, -1]])
    assert metrics.novelty(lists, 3, np.array([1.0, 2.0, 6.0])) == 3.0
    assert metrics.novelty(lists, 1, np.array([1.0, 2.0, 6.0])) == 1.5
    assert metrics.novelty(np.full((2, 2), -1), 2, np.ones(3)) == 0.0
    assert metrics.share_shown(lists, 3, np.array([True, False, True])) == 0.5


def test_a_list_with_nothing_described_has_no_diversity() -> None:
    traits = sp.csr_matrix(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert metrics.diversity(np.array([[0, 1, 2]]), 3, traits) == pytest.approx(1.0)
    assert metrics.diversity(np.array([[0, 2, -1]]), 3, traits) is None
    assert metrics.diversity(np.array([[0, 2, -1], [0, 1, -1]]), 3, traits) == pytest.approx(1.0)
