"""Histories that were read a moment ago, for as long as the file says that they are still the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from recommender.documents import Kind
from recommender.events import Event

MOST_EVENTS: Final = 100_000  # of some 300 bytes each
LONGEST: Final = 2_000  # events of one history: a longer one would drive out many

# What a history cannot change without changing, too: the seq of its newest event, which no other event ever gets, and
# how many there are, which an erasure takes from.
Mark = tuple[int, int]


@dataclass(slots=True, eq=False)
class _Kept:
    events: list[Event]
    mark: Mark
    state: int


class RecentHistories:
    """The histories without impressions that were asked for last, with the state of the file that they are of."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[tuple[Kind, str], _Kept] = OrderedDict()
        self._events = 0

    def get(self, kind: Kind, subject_id: str, state: int) -> list[Event] | None:
        """The history of a subject, None where it is not known to be of this state of the file."""
        with self._lock:
            kept = self._kept.get((kind, subject_id))
            if kept is None or kept.state != state:
                return None
            self._kept.move_to_end((kind, subject_id))
            return list(kept.events)

    def confirm(self, kind: Kind, subject_id: str, mark: Mark, state: int) -> list[Event] | None:
        """The history of a subject, None where it is not known to be of this mark. state: from before it was read."""
        with self._lock:
            kept = self._kept.get((kind, subject_id))
            if kept is None or kept.mark != mark:
                return None
            kept.state = state
            self._kept.move_to_end((kind, subject_id))
            return list(kept.events)

    def put(self, kind: Kind, subject_id: str, events: Sequence[Event], state: int) -> None:
        """Keep a history. state: of the file before it was read."""
        if len(events) > LONGEST:
            return
        mark = (events[-1].seq if events else 0, len(events))
        with self._lock:
            self._drop((kind, subject_id))
            self._kept[kind, subject_id] = _Kept(list(events), mark, state)
            self._events += len(events) + 1
            while self._events > MOST_EVENTS:
                self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Keep none."""
        with self._lock:
            self._kept.clear()
            self._events = 0

    def _drop(self, key: tuple[Kind, str]) -> None:
        kept = self._kept.pop(key, None)
        self._events -= 0 if kept is None else len(kept.events) + 1
