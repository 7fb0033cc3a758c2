"""What every learner must beat: popularity, neighbours by cosine, and RP3beta's random walk. Cheap and strong.

A scorer gives talents (rows) a score per job (columns of the training matrix), float32; -inf is "not recommended".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

NEIGHBOURS = 100  # kept per job; 400 gain at most 2.5 % of recall@20 and cost memory in proportion
RP3_BETA = 0.1  # how strongly popular jobs are held back; 0.3 is best on dense logs and 0 on sparse ones
SHRINKAGE = 20.0  # holds back pairs of jobs that few talents share; sparse logs want 50, dense ones 3 to 10
LONGEST_HISTORY = 2_000  # pairs of one talent that speak for neighbours; the cost is quadratic in them
_CHUNK_CELLS = 8_000_000  # stored entries of one block of job-by-job products, about 100 MB

Scores = npt.NDArray[np.float32]


class Scorer(Protocol):
    """Anything that can score all jobs for some talents of the training matrix."""

    def scores(self, talents: npt.NDArray[np.intp]) -> Scores:
        """talents × jobs; -inf where a job is not recommended."""
        ...


class Popularity:
    """The same order for everyone: the sum of the positive weights of each job."""

    def __init__(self, affinity: sp.csr_matrix) -> None:
        weights = affinity.maximum(0)
        self._order = np.asarray(weights.sum(axis=0), dtype=np.float32).ravel()

    def scores(self, talents: npt.NDArray[np.intp]) -> Scores:
        """talents × jobs."""
        return np.tile(self._order, (len(talents), 1))


class Neighbours:
    """The history times a sparse job-by-job matrix; jobs that no neighbour leads to are not recommended."""

    def __init__(self, history: sp.csr_matrix, weights: sp.csr_matrix) -> None:
        self._history, self._weights = history, weights

    def scores(self, talents: npt.NDArray[np.intp]) -> Scores:
        """talents × jobs."""
        scores: Scores = (self._history[talents] @ self._weights).toarray().astype(np.float32, copy=False)
        scores[scores == 0] = -np.inf
        return scores


def item_knn(affinity: sp.csr_matrix) -> Neighbours:
    """Cosine between jobs over who acted on them, shrunk, the nearest `NEIGHBOURS` of each job.

    A preference counts once whatever its weight, so that no repeated viewer rules a neighbourhood.
    Source: Deshpande & Karypis, TOIS 2004.
    """
    history = _preferences(affinity)
    norms = np.sqrt(np.bincount(history.indices, minlength=history.shape[1])).astype(np.float32)

    def cosine(product: sp.csr_matrix, first: int) -> None:
        rows = np.repeat(np.arange(first, first + product.shape[0]), np.diff(product.indptr))
        product.data /= norms[rows] * norms[product.indices] + SHRINKAGE

    shortened = _shortened(history)
    return Neighbours(history, _pruned_product(shortened.T.tocsr(), shortened, cosine))


def rp3beta(affinity: sp.csr_matrix, beta: float = RP3_BETA) -> Neighbours:
    """Three steps of a random walk talent → job → talent → job, divided by the last job's popularity to the beta.

    Source: Paudel et al., TiiS 2017, with alpha = 1.
    """
    history = _preferences(affinity)
    popularity = np.bincount(history.indices, minlength=history.shape[1]).astype(np.float32)
    penalty = np.maximum(popularity, 1) ** np.float32(-beta)

    def hold_back(product: sp.csr_matrix, first: int) -> None:
        product.data *= penalty[product.indices]

    shortened = _shortened(history)
    weights = _pruned_product(_row_normalised(shortened.T.tocsr()), _row_normalised(shortened), hold_back)
    return Neighbours(_row_normalised(history), weights)


def _preferences(affinity: sp.csr_matrix) -> sp.csr_matrix:
    """1 where the weight is positive, nothing elsewhere."""
    history = affinity.astype(np.float32, copy=True)
    history.data = (history.data > 0).astype(np.float32)
    history.eliminate_zeros()
    return history


def _shortened(history: sp.csr_matrix) -> sp.csr_matrix:
    """No row longer than LONGEST_HISTORY: of a longer one, entries at even distances."""
    lengths = np.diff(history.indptr)
    if not len(lengths) or lengths.max() <= LONGEST_HISTORY:
        return history
    place = np.arange(history.nnz) - np.repeat(history.indptr[:-1], lengths)
    limit = np.repeat(np.minimum(lengths, LONGEST_HISTORY), lengths)
    length = np.repeat(lengths, lengths)
    shortened = history.copy()
    # Of n entries, m stay: those where the multiple of m / n reaches a new whole number.
    shortened.data[(place + 1) * limit // length == place * limit // length] = 0
    shortened.eliminate_zeros()
    return shortened


def _row_normalised(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Rows that sum to 1; empty ones stay empty."""
    lengths = np.diff(matrix.indptr)
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    normal = matrix.copy()
    normal.data = normal.data / np.repeat(np.where(sums > 0, sums, 1), lengths).astype(np.float32)
    return normal


def _pruned_product(
    left: sp.csr_matrix, right: sp.csr_matrix, reweight: Callable[[sp.csr_matrix, int], None]
) -> sp.csr_matrix:
    """left @ right in blocks of rows, reweighted in place, without its diagonal, the NEIGHBOURS largest of each row."""
    # An upper bound of a row's entries: the summed lengths of what it multiplies, at most the width.
    reach = np.minimum(left.astype(bool).astype(np.float64) @ np.diff(right.indptr), right.shape[1])
    ends = np.flatnonzero(np.diff(np.floor(np.cumsum(reach) / _CHUNK_CELLS), append=np.inf)) + 1
    blocks, first = [], 0
    for end in ends.tolist():
        product = (left[first:end] @ right).tocsr()
        reweight(product, first)
        blocks.append(_largest(product, first))
        first = end
    return sp.vstack(blocks, format="csr", dtype=np.float32) if blocks else sp.csr_matrix(right.shape, dtype=np.float32)


def _largest(block: sp.csr_matrix, first: int) -> sp.csr_matrix:
    """The NEIGHBOURS largest entries of each row off the diagonal; ties go to the lower column."""
    rows = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    off = block.indices != rows + first
    rows, columns, values = rows[off], block.indices[off], block.data[off]
    order = np.lexsort((columns, -values, rows))
    sizes = np.bincount(rows, minlength=block.shape[0])
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = order[place < NEIGHBOURS]
    return sp.csr_matrix((values[kept], (rows[kept], columns[kept])), shape=block.shape, dtype=np.float32)
