"""What every learner must beat: popularity, neighbours by cosine, and RP3beta's random walk. Cheap and strong.

A scorer gives talents (rows) a score per job (columns of the training matrix), float32; -inf is "not recommended".
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.likeness import Likeness, neighbour_rows, preferences

RP3_BETA = 0.1  # how strongly popular jobs are held back; 0.3 is best on dense logs and 0 on sparse ones
SHRINKAGE = 20.0  # holds back pairs of jobs that few talents share; sparse logs want 50, dense ones 3 to 10

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
    """Cosine between jobs over who acted on them, shrunk, summed over the history.

    Source: Deshpande & Karypis, TOIS 2004.
    """
    (weights,) = neighbour_rows(affinity, [Likeness(0, 0.5, 0.5, SHRINKAGE)])
    return Neighbours(preferences(affinity), weights)


def rp3beta(affinity: sp.csr_matrix, beta: float = RP3_BETA) -> Neighbours:
    """Three steps of a random walk talent → job → talent → job, divided by the last job's popularity to the beta.

    Source: Paudel et al., TiiS 2017, with alpha = 1.
    """
    history = preferences(affinity)
    (weights,) = neighbour_rows(affinity, [Likeness(1, 1, beta)])
    lengths = np.diff(history.indptr)
    history.data /= np.repeat(np.maximum(lengths, 1), lengths).astype(np.float32)
    return Neighbours(history, weights)
