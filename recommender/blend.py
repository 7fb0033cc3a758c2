"""Factors, neighbours, content and popularity over a training matrix: side by side, and summed as serving does.

Everything speaks of jobs for talents; handed the transposed matrix and the other side's factors, of talents for jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.als import fold_in_many, side_of
from recommender.baselines import Scores
from recommender.cold_start import alike, content_rows, lent_factors
from recommender.documents import Kind
from recommender.evaluation import best_columns, hide
from recommender.likeness import neighbour_rows
from recommender.metrics import Lists
from recommender.model import Factors, Hyperparameters, Side
from recommender.recipe import Recipe

K = 20  # what is measured when choosing, and what "the best" of a talent are where signals are made comparable
PLACES = 60  # the best of each signal; a blend of signals has its first 20 among them, but for oddities
SAMPLE = 500  # talents whose best scores say how large scores are: their mean is then within some 3 %
ALONE = 0.001  # of popularity beside factors alone: decides where they say nothing, around 1e-18, and is else silent
_BLOCK_CELLS = 16_000_000  # scores of one block: 64 MB, over all signals

Talents = npt.NDArray[np.intp]
# Of talents and of jobs: features in rows of length 1, in the order of a table's ids; empty where nothing is known.
Content = Mapping[Kind, sp.csr_matrix]
Near = Mapping[Kind, sp.csr_matrix | None]  # see `near_in_content`


class _Folds:
    """The factors of talents, folded in from their whole histories when somebody first asks for them."""

    def __init__(
        self, history: sp.csr_matrix, jobs: Side, hyper: Hyperparameters, lent: npt.NDArray[np.float64] | None
    ) -> None:
        self._history, self._jobs, self._hyper, self._lent = history, jobs, hyper, lent
        self._factors = np.zeros((history.shape[0], hyper.factors), np.float32)
        self._is_known = np.zeros(history.shape[0], np.bool_)

    def of(self, talents: Talents) -> Factors:
        """talents × width."""
        missing = np.unique(talents[~self._is_known[talents]])
        lent = None if self._lent is None else self._lent[missing]
        self._factors[missing] = fold_in_many(self._jobs, self._history[missing], self._hyper, lent)
        self._is_known[missing] = True
        return self._factors[talents]

    def everybody(self) -> Factors:
        """A row per talent."""
        return self.of(np.arange(len(self._is_known)))


class FoldedIn:
    """Scores by factors and the prior: each asked talent is folded in from its whole history when its turn comes.

    lent: talents × width, what each talent's description lends it; see `als.fold_in_many`.
    """

    def __init__(
        self,
        history: sp.csr_matrix,
        jobs: Side,
        hyper: Hyperparameters,
        lent: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.history, self.jobs, self.hyper, self.lent = history, jobs, hyper, lent
        self._folds = _Folds(history, jobs, hyper, lent)

    def scores(self, talents: Talents) -> Scores:
        """talents × jobs."""
        scores: Scores = self._folds.of(talents) @ self.jobs.factors.T
        if self.hyper.popularity > 0:
            scores += popularity_of(self.history) * np.float32(self.hyper.popularity)
        return scores

    def with_popularity(self, popularity: float) -> FoldedIn:
        """The same fit under another weight of popularity."""
        return self.under(replace(self.hyper, popularity=popularity))

    def under(self, hyper: Hyperparameters) -> FoldedIn:
        """The same fit under others, which differ in nothing but the weights of what is added to its products."""
        found = copy(self)
        found.hyper = hyper
        return found

    def transposed(self) -> FoldedIn:
        """Scores of talents for jobs: jobs are folded in against all talents. Nothing is lent to jobs."""
        talents = side_of(self._folds.everybody())
        return FoldedIn(self.history.T.tocsr(), talents, self.hyper)

    def lending(self, near: Near) -> FoldedIn:
        """The same fit with what descriptions lend to talents."""
        if near[Kind.TALENT] is None:
            return self
        alone = self._folds if self.lent is None else _Folds(self.history, self.jobs, self.hyper, None)
        return FoldedIn(self.history, self.jobs, self.hyper, _lent(near[Kind.TALENT], alone.everybody()))

    def lending_both(self, near: Near) -> FoldedIn:
        """As `transposed`, with what descriptions lend to talents and jobs."""
        turned = self.lending(near).transposed()
        if near[Kind.JOB] is None:
            return turned
        return FoldedIn(turned.history, turned.jobs, turned.hyper, _lent(near[Kind.JOB], self.jobs.factors))


class Blended:
    """The served score: factors, what neighbours add and the prior of popularity.

    content: neighbours by content times their weight, as `weighed_content` gives them.
    """

    def __init__(self, factors: FoldedIn, neighbours: sp.csr_matrix, content: sp.csr_matrix | None = None) -> None:
        self._factors, self._voiced = factors, voiced(factors.history)
        self._neighbours = neighbours * np.float32(factors.hyper.neighbours)
        if content is not None:
            self._neighbours = self._neighbours + content

    def scores(self, talents: Talents) -> Scores:
        """talents × jobs."""
        scores = self._factors.scores(talents)
        added = (self._voiced[talents] @ self._neighbours).tocoo()
        scores[added.row, added.col] += added.data
        return scores


def voiced(history: sp.csr_matrix) -> sp.csr_matrix:
    """How much each acted-on job says; as `neighbours.voices`, for all talents, in float32."""
    said = history.copy()
    said.data = (said.data > 0).astype(np.float32)
    counts = np.asarray(said.sum(axis=1)).ravel()
    said.data /= np.repeat(np.sqrt(np.maximum(counts, 1)), np.diff(said.indptr)).astype(np.float32)
    said.eliminate_zeros()
    return said


def popularity_of(history: sp.csr_matrix) -> Scores:
    """Positive weight of each job, the largest 1; as `content.popularity_bias` scales it."""
    sums = np.asarray(history.maximum(0).sum(axis=0, dtype=np.float64)).ravel().astype(np.float32)
    largest = sums.max(initial=0.0)
    found: Scores = sums / largest if largest > 0 else sums
    return found


@dataclass(frozen=True, eq=False)
class Pool:
    """The best few jobs of each asked talent by each signal, and the value of every signal there.

    Shapes: columns, factors, each of neighbours, popularity and content (talents × places). Where a place is empty the
    factors say -inf. content: None where nothing is described.
    """

    columns: npt.NDArray[np.int64]
    factors: Scores
    neighbours: Sequence[Scores]
    popularity: Scores
    content: Scores | None = None

    @cached_property
    def typical(self) -> float:
        """How large the best K scores by factors are: root mean square. 1 where there are none."""
        return _typical(self.factors) or 1.0

    @cached_property
    def neighbour_scales(self) -> Sequence[float]:
        """What makes the best K sums of each kind of neighbours as large as that."""
        return [self._scale(of) for of in self.neighbours]

    @cached_property
    def _content_scale(self) -> float:
        return 0.0 if self.content is None else self._scale(self.content)

    def _scale(self, sums: Scores) -> float:
        return self.typical / (_typical(sums) or self.typical)

    def lists(self, of: int, neighbours: float, popularity: float, content: float = 0.0) -> Lists:
        """The K best jobs under relative weights (see Recipe), -1 where there are fewer."""
        scores = self.factors + np.float32(popularity_weight(self.typical, neighbours, popularity)) * self.popularity
        if neighbours > 0:
            scores += np.float32(neighbours * self.neighbour_scales[of]) * self.neighbours[of]
        if content > 0 and self.content is not None:
            scores += np.float32(content * self._content_scale) * self.content
        places = min(K, scores.shape[1])
        best = np.argpartition(scores, scores.shape[1] - places, axis=1)[:, scores.shape[1] - places :]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)
        lists = np.full((len(scores), K), -1, dtype=np.int64)
        found = np.isfinite(np.take_along_axis(scores, best, axis=1))
        lists[:, :places] = np.where(found, np.take_along_axis(self.columns, best, axis=1), -1)
        return lists


def popularity_weight(typical: float, neighbours: float, popularity: float) -> float:
    """What the most popular job gains in absolute terms; see Recipe."""
    return popularity * typical * (1 + neighbours)


def _typical(scores: Scores) -> float:
    places = min(K, scores.shape[1])
    if not places or not len(scores):
        return 0.0
    best = np.partition(scores, scores.shape[1] - places, axis=1)[:, scores.shape[1] - places :]
    found = best[np.isfinite(best)].astype(np.float64)
    return float(np.sqrt(np.mean(found * found))) if len(found) else 0.0


def build_pool(
    factors: FoldedIn,
    neighbours: Sequence[sp.csr_matrix],
    talents: Talents,
    seen: sp.csr_matrix,
    candidates: npt.NDArray[np.bool_],
    content: sp.csr_matrix | None = None,
) -> Pool:
    """Of asked talents. seen: talents × jobs that are never recommended; candidates: mask of the jobs that may be.

    content: neighbours by content, see `near_in_content`.
    """
    said, popularity = voiced(factors.history), popularity_of(factors.history)
    jobs = len(popularity)
    places = min(PLACES, jobs)
    # Popular jobs are seen more often than others: more of them are looked at.
    popular = np.argsort(-np.where(candidates, popularity, -1), kind="stable")[: 3 * places]
    sparse = [*neighbours, content] if content is not None else list(neighbours)
    size = max(1, _BLOCK_CELLS // (jobs * (1 + len(sparse)))) if jobs else 1
    parts: list[tuple[npt.NDArray[np.int64], list[Scores]]] = []
    for start in range(0, len(talents), size):
        asked = talents[start : start + size]
        signals = [factors.scores(asked), *((said[asked] @ rows).toarray() for rows in sparse)]
        for signal in signals:
            hide(signal, seen[asked], candidates)
        nominated = [best_columns(signal, places) for signal in signals]
        columns = np.sort(np.hstack([*nominated, np.tile(popular, (len(asked), 1))]), axis=1)
        values = [np.take_along_axis(signal, columns, axis=1) for signal in signals]
        values[0][:, 1:][columns[:, 1:] == columns[:, :-1]] = -np.inf
        for value in values[1:]:
            value[~np.isfinite(values[0])] = 0.0
        parts.append((columns, values))
    columns = np.concatenate([part[0] for part in parts])
    by_signal = [np.concatenate(of) for of in zip(*(part[1] for part in parts), strict=True)]
    near = by_signal[1:]
    said_of_content = near.pop() if content is not None else None
    return Pool(columns, by_signal[0], near, popularity[columns], said_of_content)


def near_both_ways(content: Content | None, history: sp.csr_matrix) -> Near:
    """As `near_in_content`, of both kinds. history: talents × jobs."""
    return {kind: near_in_content(content, kind, history if kind is Kind.JOB else history.T.tocsr()) for kind in Kind}


def near_in_content(content: Content | None, kind: Kind, history: sp.csr_matrix) -> sp.csr_matrix | None:
    """items × items: from each item of one kind to those that are like it in what they say; None where none says any.

    history: others × items. The same entries that a model keeps of what has events: see `cold_start.content_rows`.
    """
    described = None if content is None else content.get(kind)
    if described is None or not described.nnz:
        return None
    known = np.flatnonzero(np.bincount(history.indices, minlength=history.shape[1]))
    rows, itself = described[known], np.arange(len(known))
    near = content_rows(alike(rows, rows.T.tocsr(), itself), itself).tocoo()
    size = history.shape[1]
    return sp.csr_matrix((near.data, (known[near.row], known[near.col])), shape=(size, size))


def _lent(near: sp.csr_matrix, factors: Factors) -> npt.NDArray[np.float64]:
    """What items that are alike lend each item, without its own events: as `cold_start.widened` has it."""
    return lent_factors(near.T.tocsr(), factors).astype(np.float64)


def weighed_content(near: sp.csr_matrix | None, factors: FoldedIn, weight: float, seed: int) -> sp.csr_matrix | None:
    """What neighbours by content add to a neighbour sum at some weight (see Recipe); None where they add nothing."""
    if near is None or weight == 0:
        return None
    scale, _ = scale_of(near, factors.history, factors.jobs, factors.hyper, seed)
    return near * np.float32(weight * scale)


def fit_neighbours(
    history: sp.csr_matrix, jobs: Side, hyper: Hyperparameters, recipe: Recipe, seed: int
) -> tuple[sp.csr_matrix, float]:
    """The neighbour rows, scaled so that weights mean the same on every log, and what scores by factors are like.

    history: talents × jobs, the very matrix that the factors were fitted to.
    """
    (rows,) = neighbour_rows(history, [recipe.likeness])
    scale, typical = scale_of(rows, history, jobs, hyper, seed)
    rows.data *= np.float32(scale)
    rows.eliminate_zeros()
    return rows, typical


def scale_of(
    rows: sp.csr_matrix, history: sp.csr_matrix, jobs: Side, hyper: Hyperparameters, seed: int
) -> tuple[float, float]:
    """What makes a typical talent's best sums of some rows as large as its best products of factors, and those."""
    spoken = np.flatnonzero(np.diff(history.maximum(0).indptr))
    if len(spoken) > SAMPLE:
        spoken = np.sort(np.random.default_rng(seed).choice(spoken, SAMPLE, replace=False))
    if not len(spoken):
        return 1.0, 1.0
    known = np.bincount(history.indices, minlength=history.shape[1]) > 0
    pool = build_pool(FoldedIn(history, jobs, hyper), [rows], spoken, history, known)
    return pool.neighbour_scales[0], pool.typical
