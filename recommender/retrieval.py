"""The exact best of any set of candidates: fast products nominate with a margin, float64 scores decide, ids break ties.

Why exact and by which arithmetic: docs/decisions/0005-exact-retrieval.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from recommender.model import Ordinals
from recommender.scoring import Scores, Terms, approximate, best_scored, score
from recommender.shared_pass import nominate_each


class IdOrder(Protocol):
    """Whose ids are compared: a mirror of the catalogue."""

    def id_order(self, ordinals: Ordinals) -> npt.NDArray[np.uint64]:
        """A key per ordinal that sorts as the ids' UTF-8 bytes do."""
        ...

    def ids_of(self, ordinals: Ordinals) -> list[str]:
        """Ids of the ordinals."""
        ...


@dataclass(frozen=True, slots=True)
class After:
    """The place behind which a page begins, in the order score descending, id ascending."""

    score: float
    id: str


def ordinals_from_bitmap(bitmap: BitMap) -> Ordinals:
    """Members of a bitmap, ascending."""
    return np.asarray(bitmap.to_array(), dtype=np.uint32)


def settle(
    ordinals: Ordinals, scores: Scores, k: int, ids: IdOrder, after: After | None = None
) -> tuple[Ordinals, Scores]:
    """The best k behind `after`, in order: score descending, then id bytes ascending."""
    if after is not None:
        behind = scores < after.score
        tied = np.flatnonzero(scores == after.score)
        if len(tied):
            bound = after.id.encode()
            behind[tied] = [document_id.encode() > bound for document_id in ids.ids_of(ordinals[tied])]
        ordinals, scores = ordinals[behind], scores[behind]
    if k <= 0:
        return ordinals[:0], scores[:0]
    order = (-scores).argsort()
    ordinals, scores = ordinals.take(order), scores.take(order)
    if not (scores[1 : k + 1] == scores[:-1][:k]).any():
        return ordinals[:k], scores[:k]
    if len(ordinals) > k:
        whole = int(np.searchsorted(-scores, -scores[k - 1], side="right"))  # with all that score as the last
        ordinals, scores = ordinals[:whole], scores[:whole]
    order = np.lexsort((ids.id_order(ordinals), -scores))[:k]
    return ordinals[order], scores[order]


def best(
    terms: Terms, candidates: Ordinals, k: int, ids: IdOrder, after: After | None = None
) -> tuple[Ordinals, Scores]:
    """The best k of the candidates behind `after`, and their scores: what sorting all of them would give.

    Each item has a rough score r and a bound e with |r − exact| ≤ e. Items with r + e < after.score surely come behind
    it. Let t be the k-th largest r − e of those: k items behind it score t or more, so the k-th best score is at least
    t, and every item that reaches it has r + e ≥ t. Likewise nothing behind after.score has r − e above it. While the
    candidates go by, the k-th largest so far is below the final t, so what it rules out stays out.
    """
    if k <= 0 or not len(candidates):
        return candidates[:0], np.empty(0)
    ordinals, scores, is_settled = best_scored(terms, candidates, k, None if after is None else after.score)
    if after is None and is_settled:
        return ordinals[:k], scores[:k]
    return settle(ordinals, scores, k, ids, after)


def best_of_each(
    lists: Sequence[tuple[Terms, int]], candidates: Ordinals, ids: IdOrder
) -> list[tuple[Ordinals, Scores]]:
    """The best k of the same candidates by the terms of each list, see `best`: the rows are read once for all lists."""
    found = nominate_each(lists, candidates)
    return [
        best(terms, candidates if nominees is None else nominees, k, ids)
        for (terms, k), nominees in zip(lists, found, strict=True)
    ]


def rank_of(terms: Terms, candidates: Ordinals, ordinal: int, ids: IdOrder) -> int:
    """Place of one candidate among all of them, from 1. Only near ties of it are scored exactly."""
    target = np.array([ordinal], dtype=np.uint32)
    own = float(score(terms, target)[0])
    rough, errors = approximate(terms, candidates)
    above = int(np.count_nonzero(rough - errors > own))
    near = candidates[(rough - errors <= own) & (rough + errors >= own)]
    scores = score(terms, near)
    above += int(np.count_nonzero(scores > own))
    tied = near[scores == own]
    keys = ids.id_order(tied)
    return above + int(np.count_nonzero(keys < keys[tied == ordinal])) + 1
