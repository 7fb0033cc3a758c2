from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recommender import likeness
from recommender.baselines import SHRINKAGE, Popularity, item_knn, rp3beta
from recommender.likeness import Likeness, neighbour_rows


def random_history(talents: int = 30, jobs: int = 20, seed: int = 0) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    dense = (rng.random((talents, jobs)) < 0.25) * rng.integers(1, 6, (talents, jobs))
    return sp.csr_matrix(dense.astype(np.float32))


def dense_scores(preferences: np.ndarray, weights: np.ndarray) -> np.ndarray:
    np.fill_diagonal(weights, 0)
    scores = preferences @ weights
    return np.where(scores == 0, -np.inf, scores)


def test_popularity_sums_positive_weights_for_everyone_alike() -> None:
    affinity = sp.csr_matrix(np.array([[1, -4, 0], [2, 3, 0]], dtype=np.float32))
    assert Popularity(affinity).scores(np.array([0, 1])).tolist() == [[3, 3, 0], [3, 3, 0]]


def test_item_knn_is_the_shrunk_cosine() -> None:
    history = random_history()
    preferences = (history.toarray() > 0).astype(float)
    norms = np.sqrt(preferences.sum(axis=0))
    expected = dense_scores(preferences, (preferences.T @ preferences) / (np.outer(norms, norms) + SHRINKAGE))
    np.testing.assert_allclose(item_knn(history).scores(np.arange(30)), expected, rtol=1e-5)


def test_rp3beta_is_the_walk_held_back_by_popularity() -> None:
    history = random_history()
    preferences = (history.toarray() > 0).astype(float)
    of_talent = preferences / np.maximum(preferences.sum(axis=1, keepdims=True), 1)
    of_job = preferences.T / np.maximum(preferences.sum(axis=0)[:, None], 1)
    expected = dense_scores(of_talent, of_job @ of_talent / np.maximum(preferences.sum(axis=0), 1) ** 0.4)
    np.testing.assert_allclose(rp3beta(history, beta=0.4).scores(np.arange(30)), expected, rtol=1e-5)


def test_likenesses_asked_for_together_are_those_asked_for_alone() -> None:
    asked = [Likeness(1, 0.5, 0.2), Likeness(0.5, 0.5, 0.5, 5), Likeness(1, 1, 0)]
    for likeness_, rows in zip(asked, neighbour_rows(random_history(), asked), strict=True):
        (alone,) = neighbour_rows(random_history(), [likeness_])
        assert (rows != alone).nnz == 0
    history = (random_history().toarray() > 0).astype(float)
    popularity, lengths = history.sum(axis=0), np.maximum(history.sum(axis=1, keepdims=True), 1)
    expected = history.T @ (history / lengths**0.5) / (np.outer(popularity**0.5, popularity**0.5) + 5)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(neighbour_rows(random_history(), asked)[1].toarray(), expected, rtol=1e-5)


def test_only_the_nearest_neighbours_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "NEIGHBOURS", 1)
    # Jobs 0 and 1 share two talents, 0 and 2 one.
    history = sp.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]], dtype=np.float32))
    scores = item_knn(history).scores(np.array([2]))
    assert np.isfinite(scores).tolist() == [[False, True, False]]


def test_dislikes_are_no_neighbourhood() -> None:
    history = sp.csr_matrix(np.array([[1, -1, 0], [1, 0, 0]], dtype=np.float32))
    assert np.isneginf(item_knn(history).scores(np.array([0, 1]))).all()


def test_a_history_beyond_the_limit_is_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "LONGEST_HISTORY", 4)
    history = sp.csr_matrix(np.ones((2, 10), dtype=np.float32))
    thinned = likeness._shortened(history)
    assert np.diff(thinned.indptr).tolist() == [4, 4]
    assert thinned.indices[:4].tolist() == [2, 4, 7, 9]


@pytest.mark.parametrize("build", [item_knn, rp3beta])
def test_a_log_of_one_job_or_no_events_breaks_nothing(build: object) -> None:
    assert np.isneginf(build(sp.csr_matrix(np.ones((3, 1), dtype=np.float32))).scores(np.arange(3))).all()  # type: ignore[operator]
    assert np.isneginf(build(sp.csr_matrix((3, 4), dtype=np.float32)).scores(np.arange(3))).all()  # type: ignore[operator]
