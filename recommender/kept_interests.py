"""Interests that were folded in a moment ago: a filter changes none, so a subject's next list need not solve again."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from recommender.documents import Kind
from recommender.events import Event
from recommender.interest import Interest
from recommender.versions import LoadedModel

MOST_EVENTS: Final = 100_000  # whose objects the event log holds as well
ITSELF: Final = 7  # events that an interest, of some 2 KB, counts for: else those of nobody known would fill the memory
LONGEST: Final = 5_000  # events of one history: a longer one would drive out many


@dataclass(frozen=True, slots=True)
class RestsOn:
    """All that an interest is solved from: the same gives the same, bit for bit.

    subject: its kind and id, None where nobody knows who it is. known: the ordinal that each item of the history has
    now. ordinal: of the subject itself, where the model knows it by content. said: features of one that it does not.
    """

    loaded: LoadedModel
    item_kind: Kind
    subject: tuple[Kind, str] | None
    mutual_weight: float
    history: tuple[Event, ...]
    known: tuple[int | None, ...]
    ordinal: int | None
    said: tuple[str, ...]


class KeptInterests:
    """The interests of the subjects that were asked about last, by the model that serves: the newest for each kind of
    list. Used on one event loop."""

    def __init__(self) -> None:
        self._loaded: LoadedModel | None = None
        self._kept: OrderedDict[tuple[tuple[Kind, str], Kind], tuple[RestsOn, Interest]] = OrderedDict()
        self._events = 0

    def get(self, wanted: RestsOn) -> Interest | None:
        """The interest that rests on this."""
        if wanted.subject is None:
            return None
        key = (wanted.subject, wanted.item_kind)
        kept = self._kept.get(key)
        if kept is None or kept[0] != wanted:
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def put(self, rests_on: RestsOn, interest: Interest) -> None:
        """Keep an interest in the place of the subject's earlier one. Those of another model are kept no longer."""
        if rests_on.subject is None or len(rests_on.history) > LONGEST:
            return
        if rests_on.loaded is not self._loaded:
            self._loaded, self._events = rests_on.loaded, 0
            self._kept.clear()
        key = (rests_on.subject, rests_on.item_kind)
        self._drop(key)
        self._kept[key] = rests_on, interest
        self._events += len(rests_on.history) + ITSELF
        while self._events > MOST_EVENTS:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[tuple[Kind, str], Kind]) -> None:
        gone = self._kept.pop(key, None)
        self._events -= 0 if gone is None else len(gone[0].history) + ITSELF
