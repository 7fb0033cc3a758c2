"""The second way to the best of a list: an index of near vectors nominates, the float64 score decides as ever.

The index knows what a score by interest has for every item: the factors' product, and one more column for the bias.
What it has for some items alone, their neighbours, is at hand anyway: those items are nominated with the others.
Why and when: docs/decisions/0012-retrieval-plans.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from recommender.errors import BadInputError
from recommender.model import Ordinals, Side
from recommender.ports import VectorRows
from recommender.retrieval import After, IdOrder, best, ordinals_from_bitmap
from recommender.scoring import Scores, Terms, best_scored, score

LEAST: Final = 1_000  # nominees of a list: what re-ranking takes, twice
MOST: Final = 5_000  # a page that lies deeper is scanned for: the index would have to look at half of what it may
LEFT_ALONE_MS: Final = 1_000  # an index that failed
SAMPLES: Final = 100  # subjects whose lists an index is measured by
MEASURED_DEPTH: Final = 500  # what re-ranking takes


def count_for(depth: int) -> int | None:
    """How many to nominate where the best `depth` are wanted: twice as many; None when that is too deep."""
    wanted = max(LEAST, 2 * depth)
    return wanted if wanted <= MOST else None


def vector_of(terms: Terms, tables: Mapping[str, Side]) -> npt.NDArray[np.float64]:
    """What to look for: the vector of each product, one behind the other, and 1 for the bias. Shape (width + 1,).

    tables: whose rows the index has by name of the term, in its order; what says nothing is zeros.
    Raises BadInputError for a score that is no product with those rows as they are.
    """
    vectors = {term.name: term.vector for term in terms.dense if term.scale is None}
    if not terms.dense or len(vectors) != len(terms.dense) or not vectors.keys() <= tables.keys():
        raise BadInputError("only a score by interest can be nominated for")
    parts = [vectors.get(name, np.zeros(side.factors.shape[1])) for name, side in tables.items()]
    return np.concatenate([*parts, [1.0]])


def best_of_nominees(
    terms: Terms,
    candidates: BitMap,
    nominees: Ordinals,
    with_row: BitMap,
    k: int,
    ids: IdOrder,
    after: After | None = None,
) -> tuple[Ordinals, Scores] | None:
    """The best k of the nominees behind `after`, in order; None when a search of all candidates has to say.

    That is when there are fewer than k, and when what has no row in the model, which scores 0, may be among the best.
    Whatever has a sparse value is nominated, too, since the index knows nothing of it: those values only ever add, so
    an item without one that belongs to the best is among the best of the dense alone.
    """
    pool = BitMap.union(BitMap(nominees), *(BitMap(term.ordinals) for term in terms.sparse)) & candidates
    ordinals, scores = best(terms, ordinals_from_bitmap(pool), k, ids, after)
    if len(ordinals) < k or (scores[-1] <= 0 and not candidates.issubset(with_row)):
        return None
    return ordinals, scores


def joined(sides: Sequence[Side], scales: Sequence[float] | None = None) -> Side:
    """Rows of several sides beside each other, zeros where one has none; times the scale of each. One stays itself."""
    if len(sides) == 1 and scales is None:
        return sides[0]
    ordinals = np.unique(np.concatenate([side.ordinals for side in sides]))
    parts = []
    for side, scale in zip(sides, scales or [1.0] * len(sides), strict=True):
        rows = side.rows(ordinals)
        part = np.zeros((len(ordinals), side.factors.shape[1]), np.float32)
        part[rows >= 0] = np.float32(scale) * side.factors[rows[rows >= 0]]
        parts.append(part)
    return Side(ordinals, np.hstack(parts), np.zeros(len(ordinals), np.float32))


def rows_for(side: Side, bias: Sequence[Scores], others: Side) -> VectorRows:
    """The rows of an index of one side. bias: the biases of a score by interest. others: the side that asks."""
    total = np.zeros(len(side.ordinals))
    for values in bias:
        total += values
    active = np.flatnonzero(others.norms > 0)
    chosen = (
        active[np.linspace(0, len(active) - 1, min(SAMPLES, len(active))).astype(np.intp)] if len(active) else active
    )
    samples = np.column_stack([others.factors[chosen].astype(np.float64), np.ones(len(chosen))])
    return VectorRows(side, total, samples)


def longest_of(rows: VectorRows) -> float:
    """Length of the longest row with its bias."""
    return float(np.sqrt(rows.side.norms**2 + rows.bias**2).max(initial=0.0)) or 1.0


def unit_rows(rows: VectorRows, at: npt.NDArray[np.integer], longest: float) -> npt.NDArray[np.float32]:
    """Some rows as vectors of length 1 whose products with `unit_query` order as those of the rows themselves do.

    Shape (rows, width + 2): factors and bias over the longest length, and what is then lacking to 1. Graphs of near
    vectors are made for angles: in one of the rows as they are short rows are hard to reach.
    Source: Bachrach et al., Speeding up the Xbox recommender system, RecSys 2014.
    """
    scaled = np.column_stack([rows.side.factors[at].astype(np.float64), rows.bias[at]]) / longest
    lacking = np.sqrt(np.maximum(0.0, 1.0 - np.einsum("ij,ij->i", scaled, scaled)))
    whole = np.column_stack([scaled, lacking])
    unit: npt.NDArray[np.float32] = (whole / np.linalg.norm(whole, axis=1, keepdims=True)).astype(np.float32)
    return unit


def unit_query(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The vector, of length 1, with nothing where the rows have what they lack."""
    unit: npt.NDArray[np.float32] = (np.append(vector, 0.0) / np.linalg.norm(vector)).astype(np.float32)
    return unit


def recall_of(terms: Terms, candidates: Ordinals, nominees: Ordinals) -> float:
    """Share of the true best of the candidates among the nominees; 1 when there is nothing to find.

    Equal scores are as good as each other.
    """
    depth = min(MEASURED_DEPTH, len(candidates))
    if not depth:
        return 1.0
    scores = best_scored(terms, candidates, depth)[1]
    worst = np.partition(scores, len(scores) - depth)[len(scores) - depth]
    return min(1.0, float(np.count_nonzero(score(terms, nominees) >= worst)) / depth)
