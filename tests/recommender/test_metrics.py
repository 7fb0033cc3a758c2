from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from ranx import Qrels, Run, evaluate

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
