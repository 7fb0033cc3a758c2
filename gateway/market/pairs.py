"""Sets of (talent, job) pairs that arrays can be asked against, and pools that candidates are drawn from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gateway.market.trades import Bools, Floats, Ints

Keys = npt.NDArray[np.int64]


class PairSet:
    """A set of pairs as sorted keys: a question costs a binary search, a change one copy."""

    def __init__(self) -> None:
        self._keys: Keys = np.empty(0, dtype=np.int64)

    @staticmethod
    def keys(talent: Ints, job: Ints) -> Keys:
        """One number per pair."""
        return talent.astype(np.int64) << 32 | job.astype(np.int64)

    def contains(self, talent: Ints, job: Ints) -> Bools:
        """Whether each pair is in the set; any shape."""
        keys = self.keys(talent, job)
        if not len(self._keys):
            return np.zeros(keys.shape, dtype=np.bool_)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.asarray(self._keys[place] == keys)

    def add(self, talent: Ints, job: Ints) -> None:
        """Put pairs in."""
        new = np.setdiff1d(self.keys(talent, job), self._keys)
        self._keys = np.insert(self._keys, np.searchsorted(self._keys, new), new)

    def discard(self, talent: Ints, job: Ints) -> None:
        """Take pairs out."""
        place = np.searchsorted(self._keys, self.keys(talent, job)[self.contains(talent, job)])
        self._keys = np.delete(self._keys, place)


class Pools:
    """Items grouped by category, drawn in proportion to weight, from one category or from all."""

    def __init__(self, items: Ints, category: Ints, weight: Floats, categories: int) -> None:
        order = np.argsort(category, kind="stable")
        self._items = items[order]
        self._edges = np.concatenate([[0.0], np.cumsum(weight[order])])
        bounds = np.searchsorted(category[order], np.arange(categories + 1))
        self._low, self._high = self._edges[bounds[:-1]], self._edges[bounds[1:]]

    def __len__(self) -> int:
        return len(self._items)

    def draw(self, category: Ints, count: int, rng: np.random.Generator) -> Ints:
        """`count` items for each row from its category (any category when that one is empty), repeats included."""
        low, high = self._low[category], self._high[category]
        empty = high <= low
        low, high = np.where(empty, 0.0, low), np.where(empty, self._edges[-1], high)
        return self._at(low[:, None] + (high - low)[:, None] * rng.random((len(category), count)))

    def draw_any(self, rows: int, count: int, rng: np.random.Generator) -> Ints:
        """`count` items for each row from all categories."""
        return self._at(self._edges[-1] * rng.random((rows, count)))

    def _at(self, points: Floats) -> Ints:
        place = np.searchsorted(self._edges, points, side="right") - 1
        return np.asarray(self._items[np.clip(place, 0, len(self._items) - 1)])


def mark_repeats(rows: Ints) -> Bools:
    """Where a row's value has stood before in the same row. Shape (n, m) in and out."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    again = np.zeros(rows.shape, dtype=np.bool_)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    marked = np.empty_like(again)
    np.put_along_axis(marked, order, again, axis=1)
    return marked


def pick(weight: Floats, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """`count` places, each at most once, in proportion to weight; fewer when fewer have any. Ascending."""
    able = np.flatnonzero(weight > 0)
    if count >= len(able):
        return able
    keys = np.log(weight[able]) + rng.gumbel(0.0, 1.0, len(able))
    return np.sort(able[np.argpartition(-keys, count)[:count]])
