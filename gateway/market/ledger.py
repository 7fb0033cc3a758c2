"""The event columns as they grow: one batch a day, cut to the day's quota by forgetting impressions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gateway.market.trades import Bools, Ints, Times
from recommender.documents import Side
from recommender.events import EventType

TYPES = tuple(EventType)
SIDES = tuple(Side)
CODE = {kind: np.int8(place) for place, kind in enumerate(TYPES)}
SIDE_CODE = {side: np.int8(place) for place, side in enumerate(SIDES)}


@dataclass(frozen=True, eq=False)
class EventColumns:
    """Events as aligned columns: 18 bytes each. type indexes TYPES, actor indexes SIDES."""

    talent: Ints
    job: Ints
    type: npt.NDArray[np.int8]
    actor: npt.NDArray[np.int8]
    at_ms: Times

    def __len__(self) -> int:
        return len(self.talent)

    def take(self, rows: npt.NDArray[np.int64] | Bools) -> EventColumns:
        """Some rows, in the order given."""
        return EventColumns(self.talent[rows], self.job[rows], self.type[rows], self.actor[rows], self.at_ms[rows])


@dataclass
class Batch:
    """What happens in one day, in no order."""

    parts: list[EventColumns] = field(default_factory=list)

    def add(self, kind: EventType, actor: Side, talent: Ints, job: Ints, at_ms: Times) -> None:
        """Events of one type and actor."""
        size = len(talent)
        self.parts.append(EventColumns(talent, job, np.full(size, CODE[kind]), np.full(size, SIDE_CODE[actor]), at_ms))

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)


def join(parts: list[EventColumns]) -> EventColumns:
    """All parts one after another."""
    if not parts:
        none = np.empty(0, dtype=np.int32)
        return EventColumns(none, none, none.astype(np.int8), none.astype(np.int8), none.astype(np.int64))
    return EventColumns(
        np.concatenate([part.talent for part in parts]),
        np.concatenate([part.job for part in parts]),
        np.concatenate([part.type for part in parts]),
        np.concatenate([part.actor for part in parts]),
        np.concatenate([part.at_ms for part in parts]),
    )


def cut(batch: EventColumns, quota: int, rng: np.random.Generator) -> EventColumns:
    """At most `quota` events as far as impressions allow: they go first, as in a log that samples them.

    A VIEW without its IMPRESSION is what a visit by search or mail looks like, so the log stays plausible.
    """
    surplus = len(batch) - max(quota, 0)
    impressions = np.flatnonzero(batch.type == CODE[EventType.IMPRESSION])
    if surplus <= 0:
        return batch
    keep = np.ones(len(batch), dtype=np.bool_)
    keep[rng.choice(impressions, min(surplus, len(impressions)), replace=False)] = False
    return batch.take(keep)
