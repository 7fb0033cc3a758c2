"""Implicit alternating least squares: factors of both sides, and the exact solve of one subject against fixed factors.

Objective: Σ c (p − x·y)² + λ (Σ‖x‖² + Σ‖y‖²) over all pairs, with p = 1 and c = 1 + alpha·w where the weight w is
positive, p = 0 and c = 1 + alpha·|w| where it is negative, p = 0 and c = 1 where nothing is known.
Source: Hu, Koren & Volinsky, ICDM 2008; solved by conjugate gradients (Takács et al., RecSys 2011) in `implicit`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import ThreadpoolController

from recommender.model import Factors, Hyperparameters, Side

OnIteration = Callable[[int, int], None]  # (iterations done, of how many)

# Found once: looking for BLAS libraries takes half a millisecond, setting their threads a few microseconds.
_BLAS = ThreadpoolController()
FEW_PAIRS = 100_000  # below, one thread is faster
_SOLVE_CELLS = 4_000_000  # float64 cells of one batch of fold-ins: 32 MB for the gathered factors, as much for matrices


def confidence(affinity: sp.csr_matrix, alpha: float) -> sp.csr_matrix:
    """sign(w) × (1 + alpha·|w|), float32: the form `implicit` reads, where a negative value means preference 0."""
    matrix = affinity.astype(np.float32, copy=True)
    matrix.eliminate_zeros()
    matrix.data = np.sign(matrix.data) * (1 + np.float32(alpha) * np.abs(matrix.data))
    return matrix


def fit(
    affinity: sp.csr_matrix, hyper: Hyperparameters, on_iteration: OnIteration | None = None
) -> tuple[Factors, Factors]:
    """Factors of talents and jobs, float32, rows as in `affinity` (talents × jobs, signed weights).

    Deterministic for a seed. The talents' rows are the exact solve of their whole history against the jobs' rows.
    """
    jobs = fit_jobs(affinity, hyper, on_iteration)
    return fold_in_many(side_of(jobs), affinity, hyper).astype(np.float32), jobs


def fit_jobs(affinity: sp.csr_matrix, hyper: Hyperparameters, on_iteration: OnIteration | None = None) -> Factors:
    """The jobs' factors alone, float32; talents are folded in against them."""
    with _BLAS.limit(limits=1, user_api="blas"):  # implicit threads over rows; BLAS threads inside would fight
        model = AlternatingLeastSquares(
            factors=hyper.factors,
            regularization=hyper.regularization,
            alpha=1.0,  # the confidences come ready
            iterations=hyper.iterations,
            use_cg=True,  # Cholesky takes 3 to 5 times the CPU at 64 factors for the same recall@20
            random_state=hyper.seed,
            # Threads meet 30 times: over 3,000 pairs two take ten times the CPU of one, over 300,000 a sixth more.
            num_threads=1 if affinity.nnz < FEW_PAIRS else 0,
        )
        model.fit(
            confidence(affinity, hyper.alpha),
            show_progress=False,
            callback=(lambda done, _seconds, _loss: on_iteration(done + 1, hyper.iterations)) if on_iteration else None,
        )
    return np.ascontiguousarray(model.item_factors, dtype=np.float32)


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

    Subjects of like length are solved together, so that the cost follows the number of events.
    lent: subjects × width, what is thought of each before any event, zeros for nothing. It is a prior on the factors,
    worth as much as hyper.prior preferred items: beside n of them, prior / (prior + n) · (G + λI) · lent is added on
    the right of the equations, so that the answer without events is lent itself.
    """
    factors = side.factors
    width = factors.shape[1]
    shared = side.gram + hyper.regularization * np.eye(width)
    solved = np.zeros((weights.shape[0], width))
    lengths = np.diff(weights.indptr)
    order = np.argsort(lengths, kind="stable")
    start = int(np.searchsorted(lengths[order], 1))
    given = None
    if lent is not None and hyper.prior > 0:
        solved[order[:start]] = lent[order[:start]]
        preferred = np.diff(weights.maximum(0).indptr) if weights.nnz else np.zeros(len(lengths))
        fading = hyper.prior / (hyper.prior + preferred)
        given = fading[:, None] * np.matmul(lent[:, None, :], shared)[:, 0]  # one by one: the same in every batch
    # Systems this small only suffer from threads: at 128 factors two take 6.5 times as long as one.
    with _BLAS.limit(limits=1, user_api="blas"):
        while start < len(order):
            # Padding to the longest of a batch stays below double, and the batch within its cells.
            shortest = int(lengths[order[start]])
            fits = max(1, _SOLVE_CELLS // (max(2 * shortest, width) * width))
            stop = min(start + fits, int(np.searchsorted(lengths[order], 2 * shortest, side="right")))
            batch = order[start:stop]
            solved[batch] = _solve(shared, factors, weights, batch, hyper.alpha, given)
            start = stop
    return solved


def _solve(
    shared: npt.NDArray[np.float64],
    factors: Factors,
    weights: sp.csr_matrix,
    batch: npt.NDArray[np.intp],
    alpha: float,
    given: npt.NDArray[np.float64] | None,
) -> npt.NDArray[np.float64]:
    """The normal equations of one batch of rows, each padded to the longest with confidence 1 and preference 0."""
    starts = weights.indptr[batch].astype(np.int64)
    lengths = weights.indptr[batch + 1].astype(np.int64) - starts
    places = np.arange(int(lengths.max()))
    inside = places < lengths[:, None]
    where = np.where(inside, starts[:, None] + places, starts[:, None])
    values = np.where(inside, weights.data[where].astype(np.float64), 0.0)
    gathered = factors[weights.indices[where]].astype(np.float64)
    excess = alpha * np.abs(values)  # c − 1
    matrices = shared + np.matmul((gathered * excess[:, :, None]).transpose(0, 2, 1), gathered)
    preferred = np.where(values > 0, 1 + excess, 0.0)  # c·p
    sides = np.matmul(preferred[:, None, :], gathered)[:, 0]
    if given is not None:
        sides += given[batch]
    answer: npt.NDArray[np.float64] = np.linalg.solve(matrices, sides[:, :, None])[:, :, 0]
    return answer
