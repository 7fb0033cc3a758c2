"""The one float64 score: named terms that sum, the same for an item whatever else is scored with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recommender.model import Ordinals, Side

Scores = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]

CHUNK_ROWS: Final = 4096  # 64 factors in float64 are 2 MB then: stays in the second-level cache
FLOAT32_UNIT: Final = 2.0**-24  # unit roundoff of float32
FLOAT64_UNIT: Final = 2.0**-53
FLOAT32_TINY: Final = 2.0**-120  # above what underflow can lose in one product of scaled vectors


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """An inner product with every row of a side, times `scale` of the row (None: 1). Items without a row get 0.

    Shapes: vector (width,), scale (rows,). side: whose rows; None for the list's own.
    """

    name: str
    vector: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64] | None = None
    side: Side | None = None


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


def approximate(terms: Terms, ordinals: Ordinals) -> tuple[Scores, float]:
    """A fast score of each item, and a bound on how far any of them is from `score`.

    The dense terms are float32 matrix products over v̂ = v/‖v‖, scaled back by ‖v‖. For any order of summation a
    product of n terms in precision u is within γₙ·Σ|xᵢ||yᵢ| ≤ γₙ·‖x‖·‖y‖ of the true one, γₙ = nu/(1 − nu) (Higham,
    Accuracy and Stability of Numerical Algorithms, 2002, §3.1); rounding v̂ to float32 and scaling cost three more
    units. So |approximate − exact| ≤ γₙ₊₄·‖v‖·max(scale·‖row‖), and twice (n + 4)·u is above γₙ₊₄ by enough to swallow
    what happens in float64 as well. Without dense terms both are the same sums: the bound is 0. Beside other terms the
    float64 sums themselves round, each to within u·|sum|, and those terms may be much larger than the products.
    """
    own_rows = terms.side.rows(ordinals)
    total = np.zeros(len(ordinals))
    margin = 0.0
    for term in terms.dense:
        side, rows = (terms.side, own_rows) if term.side is None else (term.side, term.side.rows(ordinals))
        length = float(np.sqrt(np.sum(term.vector * term.vector)))
        if length == 0.0 or not len(side.ordinals):
            continue
        part = length * _by_row_float32(side, (term.vector / length).astype(np.float32), rows)
        reach = side.norms if term.scale is None else side.norms * term.scale
        if term.scale is not None:
            part *= _by_row(term.scale, rows)
        total += part
        largest = 1.0 if term.scale is None else float(term.scale.max())
        margin += length * float32_margin(len(term.vector), float(reach.max()), largest)
    for sparse in terms.sparse:
        total += _sparse_at(sparse, ordinals)
    for bias in terms.bias:
        total += _by_row(bias.values, own_rows)
    others = max(len(terms.dense) - 1, 0) + len(terms.sparse) + len(terms.bias)
    if margin > 0.0 and others and len(total):
        margin += 4 * (others + 1) * FLOAT64_UNIT * max(float(total.max()), -float(total.min()), 0.0)
    return total, margin


def float32_margin(width: int, reach: float, scale: float = 1.0) -> float:
    """How far a float32 product of a unit vector with a row of at most that length is from the true one, at most.

    reach: largest scale × ‖row‖; scale: the largest scale. See `approximate` for the proof.
    """
    return reach * 2 * (width + 4) * FLOAT32_UNIT + scale * width * FLOAT32_TINY


def _dense_exact(term: Dense, side: Side, rows: Rows) -> Scores:
    """Row by row in float64: NumPy sums each contiguous row by itself, in an order that depends on its width alone.

    BLAS does not: its kernels sum differently by shape, and two of them disagree about near ties.
    """
    values = np.zeros(len(rows))
    known = np.flatnonzero(rows >= 0)
    for start in range(0, len(known), CHUNK_ROWS):
        chunk = known[start : start + CHUNK_ROWS]
        wide = np.ascontiguousarray(side.factors[rows[chunk]]).astype(np.float64)
        wide *= term.vector
        values[chunk] = wide.sum(axis=1)
    if term.scale is not None:
        values[known] *= term.scale[rows[known]]
    return values


def _by_row_float32(side: Side, vector: npt.NDArray[np.float32], rows: Rows) -> Scores:
    """One product over all rows when most are wanted, else over the gathered ones; 0 for items without a row."""
    # A gathered row costs two to four streamed ones (19 to 37 ns against 9 ns, 64 factors, 156,000 rows, one thread).
    if 3 * len(rows) >= len(side.ordinals):
        return _by_row((side.factors @ vector).astype(np.float64), rows)
    values = np.zeros(len(rows))
    known = np.flatnonzero(rows >= 0)
    for start in range(0, len(known), CHUNK_ROWS):
        chunk = known[start : start + CHUNK_ROWS]
        values[chunk] = side.factors[rows[chunk]] @ vector
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
