"""Postings of the terms that were asked for lately, kept true while documents change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakValueDictionary

import numpy as np
from pyroaring import BitMap

from gateway.adapters.term_postings import HEAVIEST, TermPostings, TextMatch
from recommender.columns import bitmap_of

TERMS_KEPT = 512  # bitmaps of recently asked terms; one over 156,000 documents takes at most 20 kB

Relevances = Mapping[str, int]  # of one document: term → relevance; empty when it has no text or is gone


class LivePostings:
    """The documents with one term by relevance, mended as documents change."""

    def __init__(self, term: str, found: Iterable[tuple[int, int]]) -> None:
        """found: ordinal and relevance."""
        self.term = term
        table = np.array(list(found), dtype=np.uint32).reshape(-1, 2)
        self._by_relevance = [bitmap_of(table[table[:, 1] == weight, 0]) for weight in range(HEAVIEST + 1)]

    def put(self, ordinals: BitMap, changed: Iterable[tuple[int, Relevances]]) -> None:
        """Take in documents that changed; ordinals: all of theirs."""
        for documents in self._by_relevance:
            documents -= ordinals
        for ordinal, relevances in changed:
            if weight := relevances.get(self.term):
                self._by_relevance[weight].add(ordinal)

    def postings(self) -> TermPostings:
        """The postings of this moment."""
        some = [(weight, documents) for weight, documents in enumerate(self._by_relevance) if documents]
        return TermPostings(BitMap.union(BitMap(), *(documents for _, documents in some)), tuple(some))


class TextCache:
    """Live postings by term. Its owner holds a lock around every call.

    A change is written down as long as any postings are being fetched, and given to them when they arrive: so what
    comes out is of the same state as the mirror that took in the same changes.
    """

    def __init__(self) -> None:
        self._alive: WeakValueDictionary[str, LivePostings] = WeakValueDictionary()  # also those that requests hold
        self._recent: OrderedDict[str, LivePostings] = OrderedDict()
        self._fetching = 0
        self._journal: list[tuple[int, Relevances]] = []

    @property
    def is_watching(self) -> bool:
        """Whether changes need to be told."""
        return bool(self._fetching or self._alive)

    def get(self, term: str) -> LivePostings | None:
        """The postings of a term, when they are known."""
        found = self._alive.get(term)
        if found is not None:
            self._keep(found)
        return found

    def begin(self) -> int:
        """To be called before postings are fetched; gives what `finish` needs."""
        self._fetching += 1
        return len(self._journal)

    def finish(self, begun: int, fetched: Sequence[LivePostings]) -> None:
        """Take in fetched postings, and what has changed since."""
        since = self._journal[begun:]
        self.abandon()
        latest = dict(since)
        ordinals = BitMap(latest)
        for postings in fetched:
            if latest:
                postings.put(ordinals, latest.items())
            self._alive[postings.term] = postings
            self._keep(postings)

    def abandon(self) -> None:
        """The fetch that was begun has ended."""
        self._fetching -= 1
        if not self._fetching:
            self._journal.clear()

    def change(self, changed: Sequence[tuple[int, Relevances]]) -> None:
        """Documents have changed."""
        if self._fetching:
            self._journal += changed
        ordinals = BitMap([ordinal for ordinal, _ in changed])
        for postings in list(self._alive.values()):
            postings.put(ordinals, changed)

    def _keep(self, postings: LivePostings) -> None:
        self._recent[postings.term] = postings
        self._recent.move_to_end(postings.term)
        if len(self._recent) > TERMS_KEPT:
            self._recent.popitem(last=False)


def match_of(found: Sequence[LivePostings]) -> TextMatch | None:
    """The documents that have every term; None for no terms."""
    return TextMatch([one.postings() for one in found]) if found else None
