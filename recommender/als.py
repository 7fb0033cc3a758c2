"""Implicit alternating least squares: factors of both sides, and the exact solve of one subject against fixed factors.

Objective: Σ c (p − x·y)² + λ (Σ‖x‖² + Σ‖y‖²) over all pairs, with p = 1 and c = 1 + alpha·w where the weight w is
positive, p = 0 and c = 1 + alpha·|w| where it is negative, p = 0 and c = 1 where nothing is known.
Source: Hu, Koren & Volinsky, ICDM 2008.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dposv

from recommender.compiled import CORES, one_blas_thread
from recommender.conjugate_gradients import OnIteration, alternate
from recommender.model import Factors, Hyperparameters, Side

FEW_PAIRS = 100_000  # below, one thread is faster
SMALL = 0.01  # initial factors are drawn from between 0 and this
WARM_SHARE = 3  # a fit from an earlier model's factors takes one in so many of the iterations


@dataclass(frozen=True, eq=False)
class Start:
    """Factors of an earlier fit for the rows of a matrix.

    Shapes: talents (rows, width), jobs (columns, width); known_talents and known_jobs: masks of the rows that have any.
    """

    talents: Factors
    jobs: Factors
    known_talents: npt.NDArray[np.bool_]
    known_jobs: npt.NDArray[np.bool_]


def confidence(affinity: sp.csr_matrix, alpha: float) -> sp.csr_matrix:
    """sign(w) × (1 + alpha·|w|), float32: a negative value means preference 0."""
    matrix = affinity.astype(np.float32, copy=True)
    matrix.eliminate_zeros()
    matrix.data = np.sign(matrix.data) * (1 + np.float32(alpha) * np.abs(matrix.data))
    return matrix


def fit(
    affinity: sp.csr_matrix,
    hyper: Hyperparameters,
    on_iteration: OnIteration | None = None,
    start: Start | None = None,
) -> tuple[Factors, Factors]:
    """Factors of talents and jobs, float32, rows as in `affinity` (talents × jobs, signed weights).

    Deterministic for a seed and a start, whatever the number of threads. The talents' rows are the exact solve of their
    whole history against the jobs' rows.
    """
    jobs = fit_jobs(affinity, hyper, on_iteration, start)
    return fold_in_many(side_of(jobs), affinity, hyper).astype(np.float32), jobs


def fit_jobs(
    affinity: sp.csr_matrix,
    hyper: Hyperparameters,
    on_iteration: OnIteration | None = None,
    start: Start | None = None,
) -> Factors:
    """The jobs' factors alone, float32; talents are folded in against them.

    start: go on from there for one in WARM_SHARE of the iterations; rows that it does not know begin by chance.
    """
    chance, (rows, columns) = np.random.default_rng(hyper.seed), affinity.shape
    talents, jobs = (chance.random((of, hyper.factors), dtype=np.float32) * SMALL for of in (rows, columns))
    iterations = hyper.iterations
    if start is not None:
        talents[start.known_talents], jobs[start.known_jobs] = (
            start.talents[start.known_talents],
            start.jobs[start.known_jobs],
        )
        iterations = -(-iterations // WARM_SHARE)
    weighed = confidence(affinity, hyper.alpha)
    with one_blas_thread():  # the same order of sums everywhere
        threads = 1 if affinity.nnz < FEW_PAIRS else CORES
        alternate(weighed, talents, jobs, hyper.regularization, iterations, threads, on_iteration)
    return jobs


def side_of(factors: Factors) -> Side:
    """Bare factors as a side to fold in against: ordinals count from 0 and nothing is popular."""
    rows = len(factors)
    return Side(np.arange(rows, dtype=np.uint32), factors, np.zeros(rows, dtype=np.float32))


def fold_in(
    side: Side, rows: npt.NDArray[np.integer], weights: npt.NDArray[np.floating], hyper: Hyperparameters
) -> npt.NDArray[np.float64]:
    """Factors (width,) of one subject from its signed weights on rows of the other side; zeros when it has none.

    Shapes: rows and weights of equal length, rows distinct; a negative row (unseen by the model) is passed over.
    The full normal equations in float64: (G + Σ (c−1) y yᵀ + λI) x = Σ c·p·y with G the Gram matrix of `side`.
    """
    seen = (np.asarray(rows) >= 0) & (np.asarray(weights) != 0)
    columns, values = np.asarray(rows)[seen], np.asarray(weights, dtype=np.float64)[seen]
    matrix = sp.csr_matrix((values, columns, [0, len(columns)]), shape=(1, len(side.factors)))
    folded: npt.NDArray[np.float64] = fold_in_many(side, matrix, hyper)[0]
    return folded


def fold_in_many(
    side: Side, weights: sp.csr_matrix, hyper: Hyperparameters, lent: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Factors (subjects × width) of many subjects; `weights` is subjects × rows of the other side, signed.

    Each is solved by itself, so that it is the same in every company; the cost follows the number of events.
    lent: subjects × width, what is thought of each before any event, zeros for nothing. It is a prior on the factors,
    worth as much as hyper.prior preferred items: beside n of them, prior / (prior + n) · (G + λI) · lent is added on
    the right of the equations, so that the answer without events is lent itself.
    """
    factors = side.factors
    width = factors.shape[1]
    shared = side.gram + hyper.regularization * np.eye(width)
    solved = np.zeros((weights.shape[0], width))
    starts = weights.indptr
    fading = np.zeros(len(solved))
    if lent is not None and hyper.prior > 0:
        solved[:] = lent  # of those without events
        preferred = np.diff(weights.maximum(0).indptr) if weights.nnz else np.zeros(len(solved))
        fading = hyper.prior / (hyper.prior + preferred)
    # Systems this small only suffer from threads: at 128 factors two take 6.5 times as long as one.
    with one_blas_thread():
        for row in np.flatnonzero(np.diff(starts)).tolist():
            known = slice(starts[row], starts[row + 1])
            given = fading[row] * (shared @ lent[row]) if lent is not None and fading[row] else None
            solved[row] = _solve(
                shared, factors[weights.indices[known]], hyper.alpha, weights.data[known].astype(np.float64), given
            )
    return solved


def _solve(
    shared: npt.NDArray[np.float64],
    near: Factors,
    alpha: float,
    weights: npt.NDArray[np.float64],
    given: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.float64]:
    """The normal equations of one subject. near: rows of what it acted on."""
    wide = near.astype(np.float64)
    excess = alpha * np.abs(weights)  # c − 1
    side = np.where(weights > 0, 1 + excess, 0.0) @ wide  # Σ c·p·y
    if given is not None:
        side += given
    wide *= np.sqrt(excess)[:, None]
    matrix = dsyrk(1.0, wide.T, beta=1.0, c=shared.T)  # the upper triangle; LAPACK's order is Fortran's
    _, answer, failed = dposv(matrix, side, overwrite_a=True)
    if failed:
        raise np.linalg.LinAlgError("the normal equations of a history are singular: regularise")
    return np.asarray(answer, dtype=np.float64)
