"""What happened between a talent and a job, and which of it is in force: one table rules every event type."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recommender.documents import MAX_ID_BYTES, Kind, Side
from recommender.errors import BadInputError


class EventType(enum.Enum):
    """Everything either side can do. An undo is an event of its own: the log is append-only."""

    IMPRESSION = "IMPRESSION"
    VIEW = "VIEW"
    SAVE = "SAVE"
    UNSAVE = "UNSAVE"
    APPLY = "APPLY"
    WITHDRAW = "WITHDRAW"
    DISMISS = "DISMISS"
    UNDISMISS = "UNDISMISS"
    SHORTLIST = "SHORTLIST"
    INVITE = "INVITE"
    INTERVIEW = "INTERVIEW"
    OFFER = "OFFER"
    HIRE = "HIRE"
    REJECT = "REJECT"
    ACCEPT = "ACCEPT"
    DECLINE = "DECLINE"

    __hash__ = object.__hash__  # as of Kind


@dataclass(frozen=True, slots=True)
class EventRule:
    """What one event type means.

    actor:   the side that can do it; None means either.
    weight:  how strongly one such event speaks for the pair; negative speaks against it, 0 says nothing.
    undoes:  the type that it takes back, of the same actor and pair.
    hides_job_from_talent, hides_talent_from_job: while in force, the pair is not recommended that way round.
    """

    actor: Side | None
    weight: float = 0.0
    undoes: EventType | None = None
    hides_job_from_talent: bool = False
    hides_talent_from_job: bool = False


_T, _C = Side.TALENT, Side.CLIENT

RULES: dict[EventType, EventRule] = {
    EventType.IMPRESSION: EventRule(None),
    EventType.VIEW: EventRule(None, weight=1.0),
    EventType.SAVE: EventRule(_T, weight=3.0),
    EventType.UNSAVE: EventRule(_T, undoes=EventType.SAVE),
    EventType.APPLY: EventRule(_T, weight=5.0, hides_job_from_talent=True, hides_talent_from_job=True),
    EventType.WITHDRAW: EventRule(_T, undoes=EventType.APPLY),
    EventType.DISMISS: EventRule(None, weight=-1.0, hides_job_from_talent=True, hides_talent_from_job=True),
    EventType.UNDISMISS: EventRule(None, undoes=EventType.DISMISS),
    EventType.SHORTLIST: EventRule(_C, weight=3.0),
    EventType.INVITE: EventRule(_C, weight=3.0, hides_talent_from_job=True),
    EventType.INTERVIEW: EventRule(_C, weight=4.0),
    EventType.OFFER: EventRule(_C, weight=5.0, hides_talent_from_job=True),
    EventType.HIRE: EventRule(_C, weight=6.0, hides_job_from_talent=True, hides_talent_from_job=True),
    EventType.REJECT: EventRule(_C, hides_job_from_talent=True, hides_talent_from_job=True),
    EventType.ACCEPT: EventRule(_T, weight=6.0),
    EventType.DECLINE: EventRule(_T, weight=-1.0, hides_job_from_talent=True, hides_talent_from_job=True),
}


@dataclass(frozen=True, slots=True)
class Emphasis:
    """How much more what is strong says than what is weak. By default the weights of RULES count as they stand.

    power: of an event's weight × value, whose sign stays; below 1 an application says less beside a view. views: what
    the weight of a VIEW is multiplied by.
    """

    power: float = 1.0
    views: float = 1.0


AS_LISTED = Emphasis()

UNDONE_BY: dict[EventType, EventType] = {rule.undoes: kind for kind, rule in RULES.items() if rule.undoes}


def actor_of(event_type: EventType) -> Side:
    """The side that acts when the event does not say: the rule's, and the talent where either can."""
    return RULES[event_type].actor or Side.TALENT


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. Ids are the marketplace's own; `occurred_at_ms` is epoch milliseconds UTC or unknown.

    seq: its place in the log, from 1, given by the log when it is appended; 0 before.
    value: > 0, multiplies the weight of its type.
    """

    event_id: str
    actor: Side
    type: EventType
    talent_id: str
    job_id: str
    occurred_at_ms: int | None = None
    value: float | None = None
    recommendation_id: str | None = None
    seq: int = 0

    def id_of(self, kind: Kind) -> str:
        """The id of its talent or of its job."""
        return self.talent_id if kind is Kind.TALENT else self.job_id

    @property
    def order(self) -> tuple[int, int]:
        """Sort key of what came after what: time, then the log; events without a time come first."""
        return (self.occurred_at_ms if self.occurred_at_ms is not None else -(2**63), self.seq)


def in_force(events: Iterable[Event]) -> list[Event]:
    """The events that no later undo has lifted, oldest first, without the undo events themselves.

    An undo lifts every earlier event of the type it undoes, of the same actor and pair. Order is `Event.order`, so an
    undo that arrives late lifts only what happened before it.
    """
    standing: dict[tuple[str, str, Side, EventType], list[Event]] = {}
    for event in sorted(events, key=lambda e: e.order):
        undone = RULES[event.type].undoes
        if undone is not None:
            standing.pop((event.talent_id, event.job_id, event.actor, undone), None)
        else:
            standing.setdefault((event.talent_id, event.job_id, event.actor, event.type), []).append(event)
    return sorted((event for group in standing.values() for event in group), key=lambda e: e.order)


def check_events(events: Sequence[Event]) -> None:
    """What every event log refuses: ids, values and times that it would not give back as they came.

    Raises BadInputError that names the first such event by its index.
    """
    for index, event in enumerate(events):
        for name, text in (("event_id", event.event_id), ("talent_id", event.talent_id), ("job_id", event.job_id)):
            _check_id(index, name, text)
        if event.recommendation_id is not None:
            _check_id(index, "recommendation_id", event.recommendation_id)
        if event.value is not None and not (math.isfinite(event.value) and event.value > 0):
            raise BadInputError(f"event {index}: value must be a finite number above 0; got {event.value}")
        if event.occurred_at_ms is not None and not -(2**63) <= event.occurred_at_ms < 2**63:
            raise BadInputError(f"event {index}: occurred_at_ms must fit in 64 bits; got {event.occurred_at_ms}")


def is_event_id(text: str) -> bool:
    """Whether a log can keep the id: 1 to 256 bytes of UTF-8 without NUL."""
    if text.isascii():  # nearly always, and then bytes are characters
        return 0 < len(text) <= MAX_ID_BYTES and "\0" not in text
    try:
        return len(text.encode()) <= MAX_ID_BYTES and "\0" not in text
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _check_id(index: int, name: str, text: str) -> None:
    if not is_event_id(text):
        raise BadInputError(f"event {index}: {name} must be 1 to {MAX_ID_BYTES} bytes of UTF-8 without NUL")
