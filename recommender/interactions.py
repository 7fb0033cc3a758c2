"""Events become signed weights per pair: what is in force, how strongly it speaks and how old it is.

Matrices for training and one subject's history at serving time go through the same arithmetic, so their numbers agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.documents import Side
from recommender.events import AS_LISTED, RULES, Emphasis, Event, EventType
from recommender.hidden_pairs import HiddenPairs
from recommender.model import Hyperparameters, Ordinals

DAY_MS = 86_400_000
UNKNOWN_TIME = -(2**63)  # sorts before every known time, as Event.order does
LARGEST_WEIGHT = 1e9  # of one pair; keeps sums of hostile values finite in float32

_TYPES = tuple(EventType)
_CODE = {event_type: code for code, event_type in enumerate(_TYPES)}
_ACTOR_CODE = {Side.TALENT: 0, Side.CLIENT: 1}
_WEIGHT = np.array([RULES[event_type].weight for event_type in _TYPES])
_IS_VIEW = np.array([event_type is EventType.VIEW for event_type in _TYPES])
_HIDES = np.array(
    [RULES[event_type].hides_job_from_talent or RULES[event_type].hides_talent_from_job for event_type in _TYPES]
)
_IS_UNDO = np.array([RULES[event_type].undoes is not None for event_type in _TYPES])
# Undo events share the group of what they undo, so that one pass over a group decides what stands.
_GROUP = np.array([_CODE[RULES[event_type].undoes or event_type] for event_type in _TYPES], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class EventTable:
    """Events as columns of equal length. `talent` and `job` index the id lists; IMPRESSIONs are left out.

    kind: position in EventType. actor: 0 talent, 1 client. at_ms: UNKNOWN_TIME where unknown. value: 1 where absent.
    """

    talent_ids: Sequence[str]
    job_ids: Sequence[str]
    talent: npt.NDArray[np.int32]
    job: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    actor: npt.NDArray[np.int8]
    at_ms: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    seq: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.talent)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> EventTable:
        """The events at a mask or at positions; the id lists stay."""
        columns = ("talent", "job", "kind", "actor", "at_ms", "value", "seq")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def until(self, as_of_ms: int) -> EventTable:
        """The events that had happened by then; those without a time always had."""
        return self.take(self.at_ms <= as_of_ms)

    def transposed(self) -> EventTable:
        """The same events with talents and jobs in each other's place: what learns of jobs learns of talents then."""
        return replace(self, talent_ids=self.job_ids, job_ids=self.talent_ids, talent=self.job, job=self.talent)

    @property
    def newest_ms(self) -> int | None:
        """Time of the newest event, None when none has a time."""
        newest = int(self.at_ms.max()) if len(self) else UNKNOWN_TIME
        return None if newest == UNKNOWN_TIME else newest

    @property
    def pair(self) -> npt.NDArray[np.int64]:
        """One number per event that names its pair: talent × number of jobs + job."""
        return self.talent.astype(np.int64) * max(len(self.job_ids), 1) + self.job


class EventTableBuilder:
    """Gathers batches of events into columns, so that a log is read without holding its objects."""

    def __init__(self) -> None:
        self._talents: dict[str, int] = {}
        self._jobs: dict[str, int] = {}
        self._columns: list[tuple[npt.NDArray[np.generic], ...]] = []

    def add(self, events: Iterable[Event]) -> None:
        """Take in one batch."""
        talents, jobs = self._talents, self._jobs
        rows = [
            (
                talents.setdefault(event.talent_id, len(talents)),
                jobs.setdefault(event.job_id, len(jobs)),
                _CODE[event.type],
                _ACTOR_CODE[event.actor],
                UNKNOWN_TIME if event.occurred_at_ms is None else event.occurred_at_ms,
                1.0 if event.value is None else event.value,
                event.seq,
            )
            for event in events
            if event.type is not EventType.IMPRESSION
        ]
        if not rows:
            return
        types = (np.int32, np.int32, np.int8, np.int8, np.int64, np.float64, np.int64)
        self._columns.append(
            tuple(np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), types, strict=True))
        )

    def build(self) -> EventTable:
        """The table of everything added so far."""
        types = (np.int32, np.int32, np.int8, np.int8, np.int64, np.float64, np.int64)
        parts = list(zip(*self._columns, strict=True)) or [(np.empty(0, dtype),) for dtype in types]
        columns = [np.concatenate(part).astype(dtype, copy=False) for part, dtype in zip(parts, types, strict=True)]
        return EventTable(tuple(self._talents), tuple(self._jobs), *columns)


def table_from_events(events: Iterable[Event]) -> EventTable:
    """The columns of a few events."""
    builder = EventTableBuilder()
    builder.add(events)
    return builder.build()


def standing(table: EventTable) -> npt.NDArray[np.intp]:
    """Positions of the events in force, undo events left out, grouped by pair.

    The same rule as `events.in_force`: an undo lifts every earlier event of the type it undoes, actor and pair.
    """
    if not len(table):
        return np.empty(0, dtype=np.intp)
    group = (table.pair * len(_TYPES) + _GROUP[table.kind]) * 2 + table.actor
    order: npt.NDArray[np.intp] = np.lexsort((table.seq, table.at_ms, group))
    undo = _IS_UNDO[table.kind[order]]
    if not undo.any():
        return order
    group = group[order]
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    places = np.arange(len(order))
    last_undo = np.maximum.reduceat(np.where(undo, places, -1), starts)
    after_undo = places > np.repeat(last_undo, np.diff(np.r_[starts, len(order)]))
    standing_rows: npt.NDArray[np.intp] = order[after_undo & ~undo]
    return standing_rows


def hidden_pairs(table: EventTable, talent_ordinals: Ordinals, job_ordinals: Ordinals) -> HiddenPairs:
    """What is in force of the events that keep a pair out of a list, by the ordinals of the table's ids."""
    rows = standing(table)
    rows = rows[_HIDES[table.kind[rows].astype(np.intp)]]
    what = (table.kind[rows] * len(_ACTOR_CODE) + table.actor[rows]).astype(np.uint8)
    return HiddenPairs.of(talent_ordinals[table.talent[rows]], job_ordinals[table.job[rows]], what)


def event_weights(
    table: EventTable, half_life_days: float | None, as_of_ms: int | None, emphasis: Emphasis = AS_LISTED
) -> npt.NDArray[np.float64]:
    """What each event says if it is in force: weight of its type × value, emphasised, × decay by age from `as_of_ms`.

    An event without a time, or newer than `as_of_ms`, does not decay; nothing does without a half-life or an as-of.
    """
    of_type = np.where(_IS_VIEW, emphasis.views * _WEIGHT, _WEIGHT)
    weights: npt.NDArray[np.float64] = of_type[table.kind.astype(np.intp)] * np.minimum(table.value, LARGEST_WEIGHT)
    if emphasis.power != 1.0:
        weights = np.sign(weights) * np.abs(weights) ** emphasis.power
    if half_life_days is not None and as_of_ms is not None:
        known = table.at_ms != UNKNOWN_TIME
        age_ms = np.where(known, as_of_ms - np.where(known, table.at_ms, as_of_ms), 0)
        weights = weights * np.exp2(-np.maximum(age_ms, 0) / (half_life_days * DAY_MS))
    return weights


def _weight_by_pair(
    table: EventTable, half_life_days: float | None, as_of_ms: int | None, emphasis: Emphasis
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Pairs (ascending) and their summed weights; pairs that say nothing are left out."""
    rows = standing(table)
    weights = event_weights(table, half_life_days, as_of_ms, emphasis)[rows]
    pairs = table.pair[rows]
    is_first = np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]  # they ascend already
    pairs = pairs[is_first]
    sums = np.bincount(np.cumsum(is_first) - 1, weights, minlength=len(pairs))
    sums = np.clip(sums, -LARGEST_WEIGHT, LARGEST_WEIGHT)
    kept = sums.astype(np.float32) != 0  # what a float32 matrix cannot hold counts nowhere
    return pairs[kept], sums[kept]


def affinity(
    table: EventTable, half_life_days: float | None, as_of_ms: int | None, emphasis: Emphasis = AS_LISTED
) -> sp.csr_matrix:
    """Signed weights, float32, talents × jobs of the table's id lists. No explicit zeros.

    Positive: the talent prefers the job, with confidence 1 + alpha × weight. Negative: they do not, with confidence
    1 + alpha × |weight|. Everything in force counts, of both sides.
    """
    pairs, sums = _weight_by_pair(table, half_life_days, as_of_ms, emphasis)
    jobs = max(len(table.job_ids), 1)
    rows, columns = np.divmod(pairs, jobs)
    shape = (len(table.talent_ids), len(table.job_ids))
    return sp.csr_matrix((sums.astype(np.float32), (rows, columns)), shape=shape)


def pair_weights(events: Sequence[Event], hyper: Hyperparameters, as_of_ms: int | None) -> dict[tuple[str, str], float]:
    """Signed weight by (talent_id, job_id) of what the events say together; pairs that say nothing are left out.

    The numbers are those of `affinity` in float64. Give whole histories of any number of subjects in one call.
    """
    table = table_from_events(events)
    pairs, sums = _weight_by_pair(table, hyper.half_life_days, as_of_ms, hyper.emphasis)
    talents, jobs = np.divmod(pairs, max(len(table.job_ids), 1))
    return {
        (table.talent_ids[talent], table.job_ids[job]): weight
        for talent, job, weight in zip(talents.tolist(), jobs.tolist(), sums.tolist(), strict=True)
    }
