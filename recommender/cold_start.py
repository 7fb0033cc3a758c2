"""Rows for items that nobody acted on yet: what is alike in content lends them its factors and its place beside others.

The map from content to factors is a kernel regression: the mean of the factors of the most alike items, weighted by
squared cosines (Nadaraya, Theory of Probability & Its Applications, 1964). It learns nothing that would have to be kept
but the items themselves, and was better than a ridge on every log measured: docs/decisions/0018-cold-start.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.features import DescribedItems
from recommender.model import Descriptions, Factors, Neighbours, Side
from recommender.sparse_rows import largest_products

ALIKE: Final = 50  # items that a description leads to; 30 and 100 differ by 2 % of NDCG@10 among cold items

Known = npt.NDArray[np.intp]


def alike(targets: sp.csr_matrix, holders: sp.csr_matrix, itself: Known | None = None) -> sp.csr_matrix:
    """targets × known: of each row the `ALIKE` largest cosines above 0, float32.

    targets: rows of one feature space. holders: features × known, the known rows transposed. itself: for each target
    the known row that it is, -1 for none: left out.
    """
    without = np.full(targets.shape[0], -1) if itself is None else itself
    (found,) = largest_products(targets, holders, ALIKE, without)
    return found


def lent_factors(likeness: sp.csr_matrix, factors: Factors) -> Factors:
    """targets × width: the mean of the known items' factors by squared cosine; zeros for what is like nothing."""
    weights = likeness.astype(np.float64)
    weights.data **= 2
    sums = np.asarray(weights.sum(axis=1)).ravel()
    weights.data /= np.repeat(np.maximum(sums, 1e-30), np.diff(weights.indptr))
    lent: Factors = (weights @ factors.astype(np.float64)).astype(np.float32)
    return lent


def content_rows(likeness: sp.csr_matrix, itself: Known) -> sp.csr_matrix:
    """known × known: from each known item to those that lead to it, of the targets that are known themselves."""
    own = np.flatnonzero(itself >= 0)
    found = likeness[own].tocoo()
    size = likeness.shape[1]
    return sp.csr_matrix((found.data, (found.col, itself[own][found.row])), shape=(size, size))


def widened(side: Side, items: DescribedItems, likeness: sp.csr_matrix, strength: float, share: float) -> Side:
    """The side with a row for every described item that is like one of its own, and neighbours by content.

    likeness: of `items` to the side's rows. strength: what a cosine of 1 adds to a neighbour sum, for items without
    events. share: how much of that is added for the side's own; 0 leaves their neighbours exactly as they were.
    """
    itself = places_in(side.ordinals, items.ordinals)
    cold = np.flatnonzero((itself < 0) & (np.diff(likeness.indptr) > 0))
    ordinals = np.concatenate([side.ordinals, items.ordinals[cold]])
    order = np.argsort(ordinals, kind="stable")
    row_of = np.empty(len(order), dtype=np.int64)  # where each of the side's own rows, and then of the new ones, goes
    row_of[order] = np.arange(len(order))
    lent = lent_factors(likeness, side.factors)
    target = np.full(len(items.ordinals), -1, dtype=np.int64)
    target[cold] = row_of[len(side.ordinals) :]
    if share > 0:
        target[itself >= 0] = row_of[itself[itself >= 0]]
    by_content = likeness.tocoo()
    kept = target[by_content.row] >= 0
    factor = np.where(itself[by_content.row[kept]] >= 0, strength * share, strength)
    old = side.neighbours
    owners = np.repeat(np.arange(len(old.starts) - 1), np.diff(old.starts))
    merged = sp.csr_matrix(
        (
            np.concatenate([old.strengths, (by_content.data[kept] * factor).astype(np.float32)]),
            (
                np.concatenate([row_of[owners], row_of[by_content.col[kept]]]),
                np.concatenate([row_of[old.columns], target[by_content.row[kept]]]),
            ),
        ),
        shape=(len(order), len(order)),
    )
    merged.eliminate_zeros()
    own_rows = items.at(ordinals[order])
    learnt = order < len(side.ordinals)
    of_rows = np.zeros((len(order), side.factors.shape[1]), dtype=np.float32)
    is_row = np.concatenate([np.flatnonzero(itself >= 0), cold])
    of_rows[row_of[np.concatenate([itself[itself >= 0], len(side.ordinals) + np.arange(len(cold))])]] = lent[is_row]
    own_rows = (sp.diags(learnt.astype(np.float32)) @ own_rows).tocsr()
    own_rows.eliminate_zeros()
    return replace(
        side,
        ordinals=ordinals[order],
        factors=np.concatenate([side.factors, lent[cold]])[order],
        popularity=np.concatenate([side.popularity, np.zeros(len(cold), np.float32)])[order],
        neighbours=Neighbours.of(merged),
        learnt=learnt,
        lent=of_rows,
        descriptions=Descriptions(
            items.space,
            own_rows.indptr.astype(np.int64),
            own_rows.indices.astype(np.int32),
            own_rows.data.astype(np.float32),
            strength,
            int(items.ordinals[-1]),
        ),
    )


def places_in(ascending: npt.NDArray[np.uint32], wanted: npt.NDArray[np.uint32]) -> Known:
    """Where each wanted number stands, -1 for one that is not there."""
    if not len(ascending):
        return np.full(len(wanted), -1, dtype=np.intp)
    places = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    found: Known = np.where(ascending[places] == wanted, places, -1)
    return found
