"""One pass over the rows for many lists: matrix products nominate for all of them at once.

docs/decisions/0022-retrieval-speed.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recommender import kernels
from recommender.model import Ordinals, Side
from recommender.scoring import Scores, Terms, float32_margin

FEWEST: Final = 4  # lists: below, a pass over the coarse rows for each is as quick
TILE: Final = 4096  # items of one product: its rows and scores stay in the second-level cache
ROWS: Final = 64  # of a sample that are turned over at once
ROOM: Final = 256  # nominees of a list before they are thinned for the first time
LONGEST: Final = 1e30  # rows beyond it might leave the range of float32
FLOAT64_SLACK: Final = 2.0**-44  # of all parts of a score: what float64 loses in sums of a few hundred products


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Rows, and the float32 vector of each list, transposed, over the list's length; more columns are zeros."""

    side: Side
    vectors: npt.NDArray[np.float32]


def nominate_each(lists: Sequence[tuple[Terms, int]], candidates: Ordinals) -> list[Ordinals | None]:
    """For each list, given its k, candidates among which its best k surely are; None where they must be looked for
    alone. Candidates ascend.

    The worth of an item is its products and biases, known up to half a margin: see scoring.float32_margin. Let t be the
    k-th largest rough worth. Sparse values above 0 only add, so k items score t less half a margin or more; whoever has
    no sparse value and scores as much is roughly worth t less a margin. So those are nominated, and all that have a
    sparse value. An item with one below 0 is none of those that t is found by.
    """
    nobody: list[Ordinals | None] = [None] * len(lists)
    if len(lists) < FEWEST or len(candidates) < TILE:
        return nobody
    places = [place for place, (terms, k) in enumerate(lists) if k > 0 and _can_share(terms, lists[0][0])]
    if len(places) < FEWEST:
        return nobody
    shared = [lists[place] for place in places]
    tables, lengths = _tables([terms for terms, _ in shared])
    if not tables or not lengths.all():
        return nobody
    lowered = [term.ordinals[term.values < 0] for terms, _ in shared for term in terms.sparse]
    without = np.unique(np.concatenate(lowered)) if lowered else candidates[:0]
    is_wanted = np.zeros(int(candidates[-1]) + 1, np.bool_)
    is_wanted[candidates] = True
    without = without[_are_in(is_wanted, without)]
    scanned = candidates
    if len(without):
        is_scanned = is_wanted.copy()
        is_scanned[without] = False
        scanned = candidates[is_scanned[candidates]]
    found = _sifted(shared, tables, lengths, scanned)
    for place, (terms, _), nominees in zip(places, shared, found, strict=True):
        others = [term.ordinals[_are_in(is_wanted, term.ordinals)] for term in terms.sparse]
        if nominees is not None and (others or len(without)):
            nominees = np.unique(np.concatenate([nominees, without, *others]))
        nobody[place] = nominees
    return nobody


def _are_in(is_wanted: npt.NDArray[np.bool_], ordinals: Ordinals) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = np.zeros(len(ordinals), np.bool_)
    inside = ordinals < len(is_wanted)
    found[inside] = is_wanted[ordinals[inside]]
    return found


def _can_share(terms: Terms, first: Terms) -> bool:
    """Whether a list goes by the same rows and biases as another, and by nothing but products with rows as they are."""
    is_plain = all(term.scale is None for term in terms.dense) and len(terms.dense) > 0
    ours, theirs = [term.values for term in terms.bias], [term.values for term in first.bias]
    return is_plain and terms.side is first.side and [*map(id, ours)] == [*map(id, theirs)]


def _tables(lists: Sequence[Terms]) -> tuple[list[_Table], Scores]:
    """The rows that any of the lists goes by, with its vectors, and the length of all vectors of each list."""
    sides: dict[int, Side] = {}
    vectors: dict[int, npt.NDArray[np.float64]] = {}
    for place, terms in enumerate(lists):
        for term in terms.dense:
            side = terms.side if term.side is None else term.side
            if not len(side.ordinals):
                continue
            sides[id(side)] = side
            of_side = vectors.setdefault(id(side), np.zeros((len(lists), len(term.vector))))
            of_side[place] += term.vector
    lengths: Scores = np.sqrt(np.sum([np.sum(rows * rows, axis=1) for rows in vectors.values()] or [[0.0]], axis=0))
    if not lengths.all():
        return [], lengths
    tables = []
    for at, side in sides.items():
        # Columns of zeros up to the next full group: see kernels.sift.
        wide = np.zeros((vectors[at].shape[1], -(-len(lists) // kernels.GROUP) * kernels.GROUP), np.float32)
        wide[:, : len(lists)] = (vectors[at] / lengths[:, None]).T
        tables.append(_Table(side, wide))
    return tables, lengths


def _sifted(
    lists: Sequence[tuple[Terms, int]], tables: Sequence[_Table], lengths: Scores, scanned: Ordinals
) -> list[Ordinals | None]:
    """What may be among the best of each list by its products and biases; None where ties crowd in."""
    terms = lists[0][0]
    bias = sum((term.values for term in terms.bias), np.zeros(len(terms.side.ordinals)))
    largest = float(np.abs(bias).max(initial=0.0))
    reach = float(np.sqrt(sum(table.side.longest**2 for table in tables)))
    if not reach < LONGEST:
        return [None] * len(lists)
    width = sum(table.vectors.shape[0] for table in tables)
    off = lengths * float32_margin(width, reach)
    parts = (
        np.array([sum(float(np.linalg.norm(term.vector)) for term in of.dense) for of, _ in lists]) * reach + largest
    )
    margins = 2 * (off + FLOAT64_SLACK * parts)
    ks = np.array([k for _, k in lists])
    room = max(ROOM, 4 * int(ks.max()))
    places, values = np.empty((len(lists), room), np.int64), np.empty((len(lists), room))
    sizes, least = np.zeros(len(lists), np.int64), np.full(len(lists), -np.inf)
    columns = tables[0].vectors.shape[1]
    bars: npt.NDArray[np.float32] = np.full(columns, np.inf, np.float32)
    bars[: len(lists)] = -np.inf
    bars = bars.reshape(-1, kernels.GROUP)
    lost = 1e-6 * (largest + margins) / lengths
    products, more = (np.empty((TILE, columns), np.float32) for _ in range(2))
    rows_of = [table.side.rows(scanned) for table in tables]
    bias_rows_of = terms.side.rows(scanned)
    for start in range(0, len(scanned), TILE):
        tile = slice(start, start + TILE)
        bias_rows = bias_rows_of[tile]
        scores = products[: len(bias_rows)]
        for place, (table, rows) in enumerate(zip(tables, rows_of, strict=True)):
            factors = _factors(table.side, rows[tile])
            if place == 0:
                np.matmul(factors, table.vectors, out=scores)
            else:
                scores += np.matmul(factors, table.vectors, out=more[: len(factors)])
        if start == 0:
            # The first tile shows which bars are low enough; beginning without one would nominate most of it.
            sample = scores[:, : len(lists)]
            if largest > 0:
                added = np.where(bias_rows < 0, 0.0, bias[bias_rows])
                sample = sample + (added[:, None] / lengths).astype(np.float32)
            reached = _reached_by(sample, ks) * lengths
            least = reached - 1e-6 * np.abs(reached) - lost * lengths - margins
            bars.reshape(-1)[: len(lists)] = (least - 1e-6 * np.abs(least)) / lengths - lost
        grouped = scores.reshape(len(scores), *bars.shape)
        kernels.sift(grouped, start, bias_rows, bias, lengths, margins, lost, ks, places, values, sizes, least, bars)
    found: list[Ordinals | None] = []
    for place, k in enumerate(ks.tolist()):
        size = int(sizes[place])
        if size < 0:
            found.append(None)
            continue
        worth = values[place, :size]
        if size > k:
            kept = worth >= np.partition(worth, size - k)[size - k] - margins[place]
            found.append(scanned[places[place, :size][kept]])
        else:
            found.append(scanned[places[place, :size]])
    return found


def _factors(side: Side, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """The factors of each row, zeros for row -1; those that lie side by side as they lie."""
    first = int(rows[0])
    if first >= 0 and int(rows[-1]) - first == len(rows) - 1 and bool(np.all(rows >= 0)):
        return side.factors[first : first + len(rows)]
    gathered: npt.NDArray[np.float32] = side.factors[rows]
    gathered[rows < 0] = 0.0
    return gathered


def _reached_by(sample: npt.NDArray[np.float32], ks: npt.NDArray[np.intp]) -> Scores:
    """The k-th largest of each column; below everything where there are fewer. Shapes (items, lists), (lists,)."""
    found = np.full(len(ks), -np.inf)
    columns = np.empty((len(ks), len(sample)), np.float32)
    for start in range(0, len(sample), ROWS):  # few rows at a time stay in the first-level cache while they are turned
        columns[:, start : start + ROWS] = sample[start : start + ROWS].T
    for place, k in enumerate(ks.tolist()):
        if k <= columns.shape[1]:
            found[place] = np.partition(columns[place], columns.shape[1] - k)[columns.shape[1] - k]
    return found
