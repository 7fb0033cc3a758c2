"""The one float64 score: named terms that sum, the same for an item whatever else is scored with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from recommender import kernels
from recommender.coarse import Coarse, fixed
from recommender.model import Ordinals, Side
from recommender.tables import Table, table_of

Scores = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]

# Up to so many candidates scoring all of them in float64 is as quick as nominating first.
FEW: Final = 1024
FLOAT32_UNIT: Final = 2.0**-24  # unit roundoff of float32
FLOAT32_TINY: Final = 2.0**-120  # above what underflow can lose in one product of scaled vectors

_NO_ORDINALS, _NO_VALUES, _NO_BIAS = fixed(np.empty(0, np.uint32)), fixed(np.empty(0)), fixed(np.empty((0, 0)))
_NO_ENDS: npt.NDArray[np.int64] = np.empty(0, np.int64)


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


@dataclass(frozen=True, eq=False)
class Bias:
    """A value per row of the side, 0 for items without a row."""

    name: str
    values: Scores

    @cached_property
    def by_row(self) -> Scores:
        """Shape (1, rows): as kernels take biases, of which most lists have one."""
        return fixed(self.values.astype(np.float64, copy=False).reshape(1, -1))


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


def best_scored(terms: Terms, ordinals: Ordinals, k: int, after: float | None = None) -> tuple[Ordinals, Scores, bool]:
    """The best k behind a score and some more, ties at both ends among them; their scores, which descend; whether no
    two of the first k, nor the one behind them, score the same. Ordinals ascend."""
    _held, parts = sums(terms)
    behind = np.inf if after is None else after
    found: tuple[Ordinals, Scores, bool] = kernels.best(fixed(ordinals), parts, k, behind, FEW)
    return found


def approximate(terms: Terms, ordinals: Ordinals) -> tuple[Scores, Scores]:
    """A fast score of each item, and a bound on how far each is from `score`. Ordinals ascend.

    Each dense term goes by the coarse rows of its side, with the bound of `coarse.coarse_query`; the others are added
    as they are. The float64 sums of both ways round, each to within a few units of each part's size, which
    `kernels.FLOAT64_SLACK` of each part covers.
    """
    _held, parts = sums(terms)
    values, errors = np.empty(len(ordinals)), np.empty(len(ordinals))
    kernels.rough_scores(fixed(ordinals), parts, values, errors)
    return values, errors


def sums(terms: Terms) -> tuple[list[Table], tuple[npt.NDArray[np.generic], ...]]:
    """The parts of a score as kernels take them, and what must be held on to meanwhile.

    They are a record of each dense term and one of the list's own side, all vectors side by side, biases by row, and of
    the sparse terms where each ends, their ordinals, and their values.
    """
    held, vectors = [], []
    for term in terms.dense:
        side = terms.side if term.side is None else term.side
        if not len(side.ordinals):
            continue
        if len(term.vector) != side.factors.shape[1]:
            raise ValueError(f"a vector of {len(term.vector)} for rows of {side.factors.shape[1]}")
        held.append(_table(term, side))
        vectors.append(term.vector)
    held.append(terms.side.table)
    tables = np.frombuffer(b"".join([table.record for table in held]), kernels.TABLE)
    bias, ends, ordinals, values = _NO_BIAS, _NO_ENDS, _NO_ORDINALS, _NO_VALUES
    if terms.bias and len(terms.side.ordinals):
        several = [term.by_row for term in terms.bias]
        bias = several[0] if len(several) == 1 else fixed(np.concatenate(several))
        if bias.shape[1] != len(terms.side.ordinals):
            raise ValueError(f"a bias of {bias.shape[1]} for {len(terms.side.ordinals)} rows")
    if len(terms.sparse) == 1:
        sparse = terms.sparse[0]
        ends, ordinals, values = np.array([len(sparse.ordinals)]), fixed(sparse.ordinals), fixed(sparse.values)
    elif terms.sparse:
        ends = np.cumsum([len(sparse.ordinals) for sparse in terms.sparse])
        ordinals = fixed(np.concatenate([sparse.ordinals for sparse in terms.sparse]))
        values = fixed(np.concatenate([sparse.values for sparse in terms.sparse]))
    together = np.concatenate(vectors) if vectors else np.empty(0)
    return held, (tables, together, bias, ends, ordinals, values)


def _table(term: Dense, side: Side) -> Table:
    if term.scale is None:
        return side.table
    if len(term.scale) != len(side.ordinals):
        raise ValueError(f"{len(term.scale)} scales for {len(side.ordinals)} rows")
    coarse = side.coarse.scaled(term.scale, side.norms) if term.coarse is None else term.coarse
    return table_of(side.row_of, side.factors, coarse, term.scale)


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
    if len(side.ordinals):
        kernels.exact_products(rows, fixed(side.factors), fixed(term.vector), values)
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
