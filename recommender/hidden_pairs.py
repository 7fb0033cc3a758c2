"""Pairs that events in force kept out of lists when a model was trained: for when nobody can ask the log."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recommender.documents import Kind, Side
from recommender.events import EventType

_TYPES: Final = tuple(EventType)
_SIDES: Final = (Side.TALENT, Side.CLIENT)
MEANINGS: Final = len(_TYPES) * len(_SIDES)

Places = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class HiddenPairs:
    """Each array has one entry for each pair, type and actor; they ascend by talent, then job.

    talents, jobs: ordinals. what: twice the type's position in EventType, and one more where the client did it.
    by_job: places of the entries, ascending by job.
    """

    talents: npt.NDArray[np.uint32]
    jobs: npt.NDArray[np.uint32]
    what: npt.NDArray[np.uint8]
    by_job: Places

    @classmethod
    def of(
        cls, talents: npt.NDArray[np.uint32], jobs: npt.NDArray[np.uint32], what: npt.NDArray[np.uint8]
    ) -> HiddenPairs:
        """From entries in any order, also such as come more than once."""
        order = np.lexsort((what, jobs, talents))
        talents, jobs, what = talents[order], jobs[order], what[order]
        is_new = np.ones(len(order), np.bool_)
        is_new[1:] = (talents[1:] != talents[:-1]) | (jobs[1:] != jobs[:-1]) | (what[1:] != what[:-1])
        talents, jobs, what = talents[is_new], jobs[is_new], what[is_new]
        return cls(talents, jobs, what, np.argsort(jobs, kind="stable").astype(np.int32))

    @classmethod
    def none(cls) -> HiddenPairs:
        """None at all."""
        nothing = np.empty(0, np.uint32)
        return cls(nothing, nothing, np.empty(0, np.uint8), np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.talents)

    def of_subject(self, kind: Kind, ordinal: int) -> Iterator[tuple[int, EventType, Side]]:
        """The other party, what happened and who did it, of every pair of a subject. Reads its entries alone."""
        places: Sequence[int]
        if kind is Kind.TALENT:
            ends = np.array([ordinal, ordinal + 1], np.uint32)  # of another type, all would be converted
            places = range(*np.searchsorted(self.talents, ends).tolist())
        else:
            first, end = (bisect_left(self.by_job, job, key=self._job_at) for job in (ordinal, ordinal + 1))
            places = self.by_job[first:end].tolist()
        others = self.jobs if kind is Kind.TALENT else self.talents
        for place in places:
            yield int(others[place]), *_meant_by(int(self.what[place]))

    def _job_at(self, place: int) -> int:
        return int(self.jobs[place])

    def without(self, kind: Kind, ordinal: int) -> HiddenPairs:
        """Without those of one talent or job; itself where there are none."""
        kept = (self.talents if kind is Kind.TALENT else self.jobs) != ordinal
        if kept.all():
            return self
        return HiddenPairs.of(self.talents[kept], self.jobs[kept], self.what[kept])


def _meant_by(code: int) -> tuple[EventType, Side]:
    event_type, actor = divmod(code, len(_SIDES))
    return _TYPES[event_type], _SIDES[actor]
