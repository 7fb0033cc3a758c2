"""Which documents have a term of ours, and how much that says about each: the same numbers for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from gateway.adapters.documents import Stored
from recommender.columns import bitmap_of, ordinals_in
from recommender.text import terms

# Relevance of a term is the sum of the weights of the fields that have it.
FIELD_WEIGHTS = {"title": 3, "skills": 2, "description": 1}
HEAVIEST = sum(FIELD_WEIGHTS.values())


def relevance_by_term(stored: Stored) -> dict[str, int]:
    """The distinct terms of a document's text, each with its relevance in this document."""
    relevance: dict[str, int] = {}
    for name, weight in FIELD_WEIGHTS.items():
        value = stored.get(name)
        if value:
            # A line break keeps words of two skills apart; tokens never reach across one.
            for term in terms(value if isinstance(value, str) else "\n".join(value)):
                relevance[term] = relevance.get(term, 0) + weight
    return relevance


@dataclass(frozen=True, slots=True)
class TermPostings:
    """The documents with one term: all of them, and by how relevant the term is in them. Never changed once made."""

    documents: BitMap
    by_relevance: tuple[tuple[int, BitMap], ...]


class TextMatch:
    """Documents that have every one of some terms, and their relevance. None of its bitmaps may be changed."""

    def __init__(self, postings: Sequence[TermPostings]) -> None:
        self._postings = postings
        first, *others = sorted((posting.documents for posting in postings), key=len)
        self.documents: BitMap = BitMap.intersection(first, *others)

    def relevance(self, ordinals: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
        """RELEVANCE of documents that match: the sum over terms of the weights of the fields that have the term."""
        values = np.zeros(len(ordinals))
        asked = bitmap_of(ordinals)
        for posting in self._postings:
            for weight, documents in posting.by_relevance:
                values[np.searchsorted(ordinals, ordinals_in(documents & asked))] += weight
        return values
