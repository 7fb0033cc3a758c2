"""What a learner may see and what it is asked: by time, or by chance per talent where nothing has a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recommender.interactions import UNKNOWN_TIME, EventTable


@dataclass(frozen=True, eq=False)
class Split:
    """Two parts of one table with the same id lists. cut_ms: the last moment of `train`; None for a random split."""

    train: EventTable
    test: EventTable
    cut_ms: int | None

    def transposed(self) -> Split:
        """The same parts with talents and jobs in each other's place: what is asked is talents for jobs then."""
        return Split(self.train.transposed(), self.test.transposed(), self.cut_ms)


def split_events(table: EventTable, test_share: float = 0.2, seed: int = 0) -> Split:
    """The newest `test_share` of the events against all before them; per talent by chance when there are no times.

    By time: everything at or before the cut trains and everything after it tests, so nothing of the future reaches
    training; events of one moment stay together, and events without a time train. At random: each talent's pairs are
    divided (all events of a pair go together) and every talent keeps at least one pair to learn from.
    """
    known = np.sort(table.at_ms[table.at_ms != UNKNOWN_TIME])
    if len(known) and known[0] < known[-1]:
        cut = _cut(known, test_share)
        late = table.at_ms > cut
        return Split(table.take(~late), table.take(late), cut)
    held = _held_out_pairs(table, test_share, seed)
    return Split(table.take(~held), table.take(held), None)


def _cut(known: npt.NDArray[np.int64], test_share: float) -> int:
    """The time that leaves `test_share` of the sorted times after it, moved back when one moment reaches to the end."""
    cut = known[min(int(len(known) * (1 - test_share)), len(known) - 1)]
    if cut == known[-1]:
        cut = known[np.searchsorted(known, cut) - 1]
    return int(cut)


def _held_out_pairs(table: EventTable, test_share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Mask of the events whose pair is held out. Depends on ids' order in the table and the seed alone."""
    rng = np.random.default_rng(seed)
    pairs, inverse = np.unique(table.pair, return_inverse=True)
    talents = pairs // max(len(table.job_ids), 1)
    order = np.lexsort((rng.random(len(pairs)), talents))
    sizes = np.bincount(talents, minlength=1)
    place = np.arange(len(pairs)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # Rounded up or down by chance, so that talents of two pairs are asked too, one of them in two and a half.
    wanted = np.floor(sizes * test_share + rng.random(len(sizes)))
    chosen = place < np.repeat(np.minimum(wanted, sizes - 1), sizes)
    held = np.zeros(len(pairs), dtype=np.bool_)
    held[order] = chosen
    mask: npt.NDArray[np.bool_] = held[inverse]
    return mask
