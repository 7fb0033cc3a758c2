from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_info, threadpool_limits

from recommender import als
from recommender.als import Start, confidence, fit, fit_jobs, fold_in, fold_in_many, side_of
from recommender.compiled import one_blas_thread
from recommender.conjugate_gradients import alternate
from recommender.model import Hyperparameters

HYPER = Hyperparameters(factors=8, regularization=3.0, alpha=5.0, iterations=5)


@pytest.fixture(autouse=True)
def _one_blas_thread() -> Iterator[None]:
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def random_affinity(talents: int = 40, jobs: int = 30, seed: int = 0) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    matrix = sp.random(talents, jobs, density=0.2, random_state=rng, format="csr", dtype=np.float32)
    matrix.data = (matrix.data * 4 + 0.1).astype(np.float32) * np.where(rng.random(matrix.nnz) < 0.2, -1, 1)
    return matrix.astype(np.float32)


def full_solve(factors: npt.NDArray[np.float32], weights: npt.NDArray[np.float64], hyper: Hyperparameters) -> object:
    """The normal equations as the objective states them, over every job."""
    wide = factors.astype(np.float64)
    c = 1 + hyper.alpha * np.abs(weights)
    p = (weights > 0).astype(np.float64)
    return np.linalg.solve(wide.T @ np.diag(c) @ wide + hyper.regularization * np.eye(wide.shape[1]), wide.T @ (c * p))


def test_confidence_keeps_the_sign_and_adds_one() -> None:
    matrix = sp.csr_matrix(np.array([[2.0, -0.5, 0.0]], dtype=np.float32))
    assert confidence(matrix, 3.0).toarray().tolist() == [[7.0, -2.5, 0.0]]


@given(seed=st.integers(0, 10**6), length=st.integers(0, 30))
def test_a_fold_in_equals_the_full_solve_over_every_job(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(30, 8)).astype(np.float32)
    rows = rng.permutation(30)[:length]
    weights = rng.normal(size=length) * 3
    dense = np.zeros(30)
    dense[rows] = weights
    found = fold_in(side_of(factors), rows, weights, HYPER)
    assert np.linalg.norm(found - full_solve(factors, dense, HYPER)) <= 1e-9 * max(np.linalg.norm(found), 1)


def test_many_fold_ins_equal_single_ones_whatever_their_lengths() -> None:
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(400, 8)).astype(np.float32)
    lengths = [0, 1, 1, 2, 3, 7, 8, 40, 399, 0, 400]
    rows = [np.sort(rng.permutation(400)[:length]) for length in lengths]
    weights = [rng.normal(size=length) for length in lengths]
    matrix = sp.csr_matrix((np.concatenate(weights), np.concatenate(rows), np.cumsum([0, *lengths])), shape=(11, 400))
    many = fold_in_many(side_of(factors), matrix, HYPER)
    single = [fold_in(side_of(factors), r, w, HYPER) for r, w in zip(rows, weights, strict=True)]
    np.testing.assert_allclose(many, single, rtol=1e-9, atol=1e-12)


def test_a_fold_in_agrees_with_the_solve_of_implicit_negatives_included() -> None:
    affinity = random_affinity()
    model = AlternatingLeastSquares(factors=8, regularization=3.0, alpha=1.0, use_cg=False, random_state=1)
    model.fit(confidence(affinity, HYPER.alpha), show_progress=False)
    theirs = model.recalculate_user(np.arange(40), confidence(affinity, HYPER.alpha))
    ours = fold_in_many(side_of(model.item_factors), affinity, HYPER)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_unseen_rows_and_zero_weights_are_passed_over() -> None:
    side = side_of(np.random.default_rng(2).normal(size=(5, 8)).astype(np.float32))
    found = fold_in(side, np.array([-1, 3, 4]), np.array([9.0, 2.0, 0.0]), HYPER)
    np.testing.assert_array_equal(found, fold_in(side, np.array([3]), np.array([2.0]), HYPER))


def test_no_history_folds_to_zeros() -> None:
    side = side_of(np.ones((3, 8), dtype=np.float32))
    assert fold_in(side, np.array([], dtype=int), np.array([]), HYPER).tolist() == [0.0] * 8


def test_the_talents_of_a_fit_are_the_exact_solve_against_its_jobs() -> None:
    affinity = random_affinity()
    talents, jobs = fit(affinity, HYPER)
    for row in range(40):
        expected = full_solve(jobs, affinity[row].toarray().ravel().astype(np.float64), HYPER)
        np.testing.assert_allclose(talents[row], expected, rtol=1e-4, atol=1e-6)


def test_a_fit_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    affinity = random_affinity()
    first, again = fit(affinity, HYPER), fit(affinity, HYPER)
    other = fit(affinity, Hyperparameters(factors=8, regularization=3.0, alpha=5.0, iterations=5, seed=7))
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()
    assert first[1].tobytes() != other[1].tobytes()


def loss(affinity: sp.csr_matrix, talents: npt.NDArray[np.float32], jobs: npt.NDArray[np.float32]) -> float:
    """The objective over every pair."""
    weights = affinity.toarray().astype(np.float64)
    errors = (1 + HYPER.alpha * np.abs(weights)) * ((weights > 0) - talents.astype(np.float64) @ jobs.T) ** 2
    lengths = np.sum(talents.astype(np.float64) ** 2) + np.sum(jobs.astype(np.float64) ** 2)
    return float(errors.sum() + HYPER.regularization * lengths)


@pytest.mark.parametrize("width", [1, 3, 8, 33])
def test_the_steps_are_those_of_implicit_and_the_objective_comes_within_a_thousandth(width: int) -> None:
    """From the second iteration on, rounding decides which of many equal turns the factors take."""
    affinity = random_affinity(300, 200)
    affinity.data[affinity.indptr[7] : affinity.indptr[8]] = 0  # a talent without a history
    affinity.eliminate_zeros()
    rng = np.random.default_rng(HYPER.seed)
    talents, jobs = (rng.random((rows, width), dtype=np.float32) * 0.01 for rows in affinity.shape)
    reference = AlternatingLeastSquares(factors=width, regularization=3.0, alpha=1.0, iterations=1, random_state=42)
    reference.user_factors, reference.item_factors = talents.copy(), jobs.copy()
    weighed = confidence(affinity, HYPER.alpha)
    alternate(weighed, talents, jobs, HYPER.regularization, 1)
    reference.fit(weighed, show_progress=False)
    np.testing.assert_allclose(talents, reference.user_factors, atol=1e-6)
    alternate(weighed, talents, jobs, HYPER.regularization, 14)
    reference.iterations = 14
    reference.fit(weighed, show_progress=False)
    expected = loss(affinity, reference.user_factors, reference.item_factors)
    assert loss(affinity, talents, jobs) == pytest.approx(expected, rel=1e-3)
    assert not talents[7].any()


def test_factors_are_the_same_to_the_last_bit_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    affinity = random_affinity(500, 400)
    alone = fit(affinity, HYPER)
    monkeypatch.setattr(als, "FEW_PAIRS", 0)
    for threads in (2, 3):
        monkeypatch.setattr(als, "CORES", threads)
        assert [part.tobytes() for part in fit(affinity, HYPER)] == [part.tobytes() for part in alone]


def test_one_thread_is_all_that_either_linear_algebra_uses() -> None:
    with threadpool_limits(limits=2, user_api="blas"), one_blas_thread():
        assert {of["num_threads"] for of in threadpool_info() if of["user_api"] == "blas"} == {1}


def test_a_fit_from_an_earlier_one_is_as_good_in_a_third_of_the_iterations() -> None:
    affinity = random_affinity(300, 200)
    hyper = replace(HYPER, iterations=15)
    talents, jobs = fit(affinity, hyper)
    known_talents, known_jobs = np.arange(300) < 290, np.arange(200) < 190
    told: list[int] = []
    start = Start(talents, jobs, known_talents, known_jobs)
    again = fit(affinity, hyper, lambda done, of: told.append(of), start)
    assert told == [5] * 5
    assert loss(affinity, *again) <= loss(affinity, talents, jobs) * 1.001
    assert fit_jobs(affinity, hyper, start=start).tobytes() == again[1].tobytes()


def test_progress_is_told_after_every_iteration() -> None:
    told: list[tuple[int, int]] = []
    fit(random_affinity(), HYPER, lambda done, of: told.append((done, of)))
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_a_dislike_lowers_what_is_like_it() -> None:
    # Jobs 0–2 are liked together, and so are 3–5; a talent who likes job 0 and dislikes job 3 must prefer 1 to 4.
    affinity = sp.csr_matrix(np.kron(np.eye(2), np.ones((6, 3))).astype(np.float32))
    _, jobs = fit(affinity, Hyperparameters(factors=4, regularization=0.5, alpha=5.0))
    scores = jobs @ fold_in(side_of(jobs), np.array([0, 3]), np.array([1.0, -1.0]), HYPER_SMALL)
    neutral = jobs @ fold_in(side_of(jobs), np.array([0]), np.array([1.0]), HYPER_SMALL)
    assert scores[1] > 0.5 > scores[4]
    assert scores[4] <= neutral[4] + 1e-6


HYPER_SMALL = Hyperparameters(factors=4, regularization=0.5, alpha=5.0)
