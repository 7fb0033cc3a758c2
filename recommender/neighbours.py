"""The neighbours of what was acted on: the sparse part of a score by interest, and each acted-on item's share of it.

An item's neighbours are those that the same subjects acted on. A history's neighbour sum is Σ voice(i) · row(i) over
the items i that it prefers; an event that came a second ago is in it at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recommender.interest import Interest
from recommender.model import Neighbours, Side
from recommender.scoring import Rows, Scores, Sparse


def voices(weights: Scores) -> Scores:
    """How much each acted-on item says: 1/√n for each of the n preferred, nothing for those turned down.

    Between a mean, in which one item of a long history says too little, and a sum, which outweighs the factors where
    they know most. docs/decisions/0013-blend.md has the figures.
    """
    preferred = weights > 0
    spoken: Scores = preferred / np.sqrt(max(int(np.count_nonzero(preferred)), 1))
    return spoken


def neighbour_term(interest: Interest, side: Side, weight: float) -> Sparse:
    """What the neighbours of a history add to each item's score."""
    columns, values, _ = _entries(side.neighbours, interest.rows, weight * voices(interest.weights))
    # Sums run in the order of the entries, so they don't depend on what else is computed.
    found, place = np.unique(columns, return_inverse=True)
    sums: Scores = np.bincount(place, values, minlength=len(found)).astype(np.float64, copy=False)
    return Sparse("neighbours", side.ordinals[found], sums)


def neighbour_shares(interest: Interest, side: Side, weight: float, rows: Rows) -> npt.NDArray[np.float64]:
    """How much of each item's neighbour sum comes from each acted-on item; a line sums to the item's value.

    Shapes: (items, acted-on items) for rows (items,) of the same side, -1 for an item without a row: zeros.
    """
    columns, values, owners = _entries(side.neighbours, interest.rows, weight * voices(interest.weights))
    shares = np.zeros((len(rows), len(interest.rows)))
    order = np.argsort(rows, kind="stable")
    first = np.searchsorted(rows, columns, side="left", sorter=order)
    last = np.searchsorted(rows, columns, side="right", sorter=order)
    for entry in np.flatnonzero(last > first).tolist():
        shares[order[first[entry] : last[entry]], owners[entry]] = values[entry]
    return shares


def _entries(neighbours: Neighbours, rows: Rows, scale: Scores) -> tuple[Rows, Scores, npt.NDArray[np.intp]]:
    """All stored entries of some rows in their order: columns, strengths × the row's scale, places of their rows."""
    spoken = np.flatnonzero(scale) if len(neighbours.columns) else np.empty(0, dtype=np.intp)
    starts = neighbours.starts[rows[spoken]]
    lengths = neighbours.starts[rows[spoken] + 1] - starts
    ends = np.cumsum(lengths)
    at = np.repeat(starts - (ends - lengths), lengths) + np.arange(int(ends[-1]) if len(ends) else 0)
    owners = np.repeat(spoken, lengths)
    return neighbours.columns[at], neighbours.strengths[at] * scale[owners], owners
