"""The order of the marketplace's ids as numbers: a key per ordinal that sorts as the ids' UTF-8 bytes do."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recommender.columns import grown

Keys = npt.NDArray[np.uint64]

TOP = 2**64 - 1
# Ids often come in ascending order, between two others or behind all: a new key stays this close to its neighbour
# and so leaves the rest of the gap to the next ones.
STEP = 2**20


class IdOrder:
    """Ids by ordinal, both ways, and their order.

    An id stays once it has come, so that whoever holds its ordinal can still name and place it. Python compares
    strings by code point, which is the order of their UTF-8 bytes.
    """

    def __init__(self) -> None:
        self._ids: list[str] = [""]  # by ordinal
        self._ordinal: dict[str, int] = {}
        self._sorted: list[str] = []
        self._unsorted: list[tuple[int, str]] = []  # come since the keys were last asked for
        self._keys: Keys = np.zeros(1, dtype=np.uint64)

    def add(self, ordinals: Sequence[int], ids: Sequence[str]) -> None:
        """Take in ids with their ordinals; known ones are left alone."""
        known = self._ordinal
        fresh = [(ordinal, text) for ordinal, text in zip(ordinals, ids, strict=True) if text not in known]
        if not fresh:
            return
        top = max(ordinal for ordinal, _ in fresh) + 1
        self._ids.extend([""] * (top - len(self._ids)))
        self._keys = grown(self._keys, top)
        for ordinal, text in fresh:
            self._ids[ordinal] = text
            known[text] = ordinal
        self._unsorted += fresh

    def _settle(self) -> None:
        """Give keys to what has come; all at once when it is much, as in a first load."""
        fresh, self._unsorted = self._unsorted, []
        if len(fresh) > max(64, len(self._sorted) // 64):
            self._sorted += [text for _, text in fresh]
            self._sorted.sort()
            self._renumber()
        else:
            for ordinal, text in fresh:
                self._insert(ordinal, text)

    def _insert(self, ordinal: int, text: str) -> None:
        place = bisect_left(self._sorted, text)
        low = self._key_at(place - 1) if place else 0
        high = self._key_at(place) if place < len(self._sorted) else TOP
        self._sorted.insert(place, text)
        away = min((high - low) // 2, STEP)
        if away == 0:
            self._renumber()
        else:
            self._keys[ordinal] = low + away if place else high - away

    def _key_at(self, place: int) -> int:
        return int(self._keys[self._ordinal[self._sorted[place]]])

    def _renumber(self) -> None:
        """Spread the keys evenly over the middle half, which leaves room before the first and behind the last."""
        count = len(self._sorted)
        step = TOP // 2 // (count + 1)
        ordinals = np.fromiter((self._ordinal[text] for text in self._sorted), np.int64, count)
        self._keys[ordinals] = np.uint64(TOP // 4) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(step)

    def ordinal(self, text: str) -> int | None:
        """The ordinal of an id; None for one that never came."""
        return self._ordinal.get(text)

    def id(self, ordinal: int) -> str:
        """The id of an ordinal that has come."""
        return self._ids[ordinal]

    def keys(self, ordinals: npt.NDArray[np.uint32]) -> Keys:
        """Sort keys of ordinals that have come. They may all change with the next `add`; their order never does."""
        self._settle()
        return self._keys[ordinals]

    def key_before(self, text: str) -> int:
        """The largest key whose id is not after `text`, known or not; 0 when every id is after it."""
        self._settle()
        place = bisect_right(self._sorted, text)
        return self._key_at(place - 1) if place else 0

    def key_from(self, text: str) -> int:
        """The smallest key whose id is not before `text`, known or not; the top when every id is before it."""
        self._settle()
        place = bisect_left(self._sorted, text)
        return self._key_at(place) if place < len(self._sorted) else TOP
