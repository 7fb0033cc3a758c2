"""The one float64 score: named terms that sum, the same for an item whatever else is scored with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from recommender import kernels
from recommender.coarse import Coarse, coarse_query, fixed
from recommender.model import Ordinals, Side

Scores = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]

CHUNK_ROWS: Final = 4096  # 64 factors in float64 are 2 MB then: stays in the second-level cache
FLOAT32_UNIT: Final = 2.0**-24  # unit roundoff of float32
FLOAT32_TINY: Final = 2.0**-120  # above what underflow can lose in one product of scaled vectors

_NO_CODES, _NO_SCALES = fixed(np.empty((0, 0), np.int8)), fixed(np.empty(0, np.float32))
_NO_QUERY = fixed(np.empty(0, np.int16))
_NO_ORDINALS, _NO_VALUES = np.empty(0, np.uint32), np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """An inner product with every row of a side, times `scale` of the row (None: 1). Items without a row get 0.

    Shapes: vector (width,), scale (rows,). side: whose rows; None for the list's own. coarse: coarse rows with the
    scale in them, where they are at hand.
    """

    name: str
    vector: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64] | None = None
    side: Side | None = None
    coarse: Coarse | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sparse:
    """A value for some items, 0 for the others. `ordinals` ascend without repeats."""

    name: str
    ordinals: Ordinals
    values: Scores


@dataclass(frozen=True, slots=True, eq=False)
class Bias:
    """A value per row of the side, 0 for items without a row."""

    name: str
    values: Scores


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """What a list is ranked by. A second side is one more dense term, neighbour rows a sparse one, prices a bias."""

    side: Side
    dense: tuple[Dense, ...] = ()
    sparse: tuple[Sparse, ...] = ()
    bias: tuple[Bias, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms in the order in which they are summed."""
        dense, sparse, bias = self.dense, self.sparse, self.bias
        return (*(term.name for term in dense), *(term.name for term in sparse), *(term.name for term in bias))


def contributions(terms: Terms, ordinals: Ordinals) -> list[Scores]:
    """Each term's value for each item, in the order of `terms.names`; their sum in that order is the score."""
    rows = terms.side.rows(ordinals)
    return [
        *(
            _dense_exact(term, terms.side, rows)
            if term.side is None
            else _dense_exact(term, term.side, term.side.rows(ordinals))
            for term in terms.dense
        ),
        *(_sparse_at(term, ordinals) for term in terms.sparse),
        *(_by_row(term.values, rows) for term in terms.bias),
    ]


def score(terms: Terms, ordinals: Ordinals) -> Scores:
    """The score of each item, in float64, bit for bit the same in every batch and order."""
    total = np.zeros(len(ordinals))
    for part in contributions(terms, ordinals):
        total += part
    return total


@dataclass(frozen=True, slots=True, eq=False)
class Approximation:
    """A score's sum over coarse rows, as kernels take it. floor: what each error is increased by."""

    tables: tuple[object, ...]
    bias_rows: Rows
    bias: Scores
    sparse: Ordinals
    added: Scores
    floor: float


def approximation(terms: Terms) -> Approximation:
    """What the fast sum of a score is made of.

    Each dense term goes by the coarse rows of its side, with the bound of `coarse.coarse_query`; the others are added
    as they are. The float64 sums of both ways round, each to within a few units of each part's size, which
    `kernels.FLOAT64_SLACK` of each part covers.
    """
    tables, floor = [], 0.0
    for term in terms.dense:
        side = terms.side if term.side is None else term.side
        if not len(side.ordinals) or not term.vector.any():
            continue
        coarse = term.coarse
        if coarse is None:
            coarse = side.coarse if term.scale is None else side.coarse.scaled(term.scale, side.norms)
        query = coarse_query(term.vector, coarse)
        tables.append(
            (side, fixed(coarse.codes), fixed(coarse.scales), fixed(query.codes), query.step, query.coarseness)
        )
        floor += query.floor
    if not tables:  # one table without rows: kernels are compiled for each number of them, from one on
        tables.append((terms.side, _NO_CODES, _NO_SCALES, _NO_QUERY, 0.0, 0.0))
    sides, codes, scales, queries, steps, coarseness = zip(*tables, strict=True)
    row_ofs = [side.row_of for side in (*sides, terms.side)]
    again = [False] + [this is before for before, this in pairwise(row_ofs)]  # rows that are known already
    bias = _NO_VALUES if not terms.bias or not len(terms.side.ordinals) else terms.bias[0].values
    if len(bias):
        for more in terms.bias[1:]:
            bias = bias + more.values
    sparse, added = _one_sparse(terms.sparse)
    return Approximation(
        (
            tuple(map(fixed, row_ofs[:-1])),
            np.array(again),
            codes,
            scales,
            queries,
            np.array(steps),
            np.array(coarseness),
        ),
        fixed(row_ofs[-1]),
        fixed(bias),
        fixed(sparse),
        fixed(added),
        floor,
    )


def approximate(terms: Terms, ordinals: Ordinals) -> tuple[Scores, Scores]:
    """A fast score of each item, and a bound on how far each is from `score`. Ordinals ascend."""
    of = approximation(terms)
    values, errors = np.empty(len(ordinals)), np.empty(len(ordinals))
    kernels.rough_scores(fixed(ordinals), of.tables, of.bias_rows, of.bias, of.sparse, of.added, values, errors)
    errors += of.floor
    return values, errors


def nominate(terms: Terms, ordinals: Ordinals, k: int, after: float | None = None) -> npt.NDArray[np.int64]:
    """Places of the items that may be among the best k behind a score; see retrieval.shortlist. Ordinals ascend."""
    of = approximation(terms)
    behind = np.inf if after is None else after
    found: npt.NDArray[np.int64] = kernels.nominate(
        fixed(ordinals), of.tables, of.bias_rows, of.bias, of.sparse, of.added, of.floor, k, behind
    )
    return found


def _one_sparse(terms: Sequence[Sparse]) -> tuple[Ordinals, Scores]:
    """The sum of sparse terms as one."""
    if not terms:
        return _NO_ORDINALS, _NO_VALUES
    if len(terms) == 1:
        return terms[0].ordinals, terms[0].values
    ordinals, place = np.unique(np.concatenate([term.ordinals for term in terms]), return_inverse=True)
    values = np.zeros(len(ordinals))
    np.add.at(values, place, np.concatenate([term.values for term in terms]))
    return ordinals, values


def float32_margin(width: int, reach: float, scale: float = 1.0) -> float:
    """How far a float32 product of a unit vector with a row of at most that length is from the true one, at most.

    reach: largest scale × ‖row‖; scale: the largest scale. For any order of summation a product of n terms in precision
    u is within γₙ·Σ|xᵢ||yᵢ| ≤ γₙ·‖x‖·‖y‖ of the true one, γₙ = nu/(1 − nu) (Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, §3.1); rounding the vector to float32 and scaling cost three more units. So it is at most
    γₙ₊₄·‖row‖, and twice (n + 4)·u is above γₙ₊₄ by enough to swallow what happens in float64 as well.
    """
    return reach * 2 * (width + 4) * FLOAT32_UNIT + scale * width * FLOAT32_TINY


def _dense_exact(term: Dense, side: Side, rows: Rows) -> Scores:
    """Row by row in float64, each summed by itself in an order that depends on its width alone.

    BLAS does not: its kernels sum differently by shape, and two of them disagree about near ties.
    """
    values = np.zeros(len(rows))
    if len(term.vector) <= kernels.WIDEST:
        kernels.exact_products(rows, fixed(side.factors), fixed(term.vector), values)
    else:
        known = np.flatnonzero(rows >= 0)
        for start in range(0, len(known), CHUNK_ROWS):
            chunk = known[start : start + CHUNK_ROWS]
            wide = side.factors[rows[chunk]].astype(np.float64)
            wide *= term.vector
            values[chunk] = wide.sum(axis=1)
    if term.scale is not None:
        values *= _by_row(term.scale, rows)
    return values


def _by_row(values: Scores, rows: Rows) -> Scores:
    """Each item's value by its row, 0 without one."""
    if not len(values):
        return np.zeros(len(rows))
    found = values[rows]  # a row of -1 reads the last value, which is then cleared
    found[rows < 0] = 0.0
    return found


def _sparse_at(term: Sparse, ordinals: Ordinals) -> Scores:
    """Each item's value of a sparse term."""
    if not len(term.ordinals):
        return np.zeros(len(ordinals))
    last = int(term.ordinals[-1])
    if len(ordinals) * 16 > last:  # many items: one table beats as many binary searches
        table = np.zeros(last + 2)  # the last entry stands for everything beyond
        table[term.ordinals] = term.values
        return table[np.minimum(ordinals, last + 1)]
    at = np.minimum(np.searchsorted(term.ordinals, ordinals), len(term.ordinals) - 1)
    return np.where(term.ordinals[at] == ordinals, term.values[at], 0.0)
