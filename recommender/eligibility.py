"""Which pairs may be recommended: what stands between two parties, and what keeps a document out of every list."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

from recommender.documents import Document, JobStatus, Kind, Talent
from recommender.events import RULES, Event, EventType, in_force
from recommender.query import Blocker


class Exclude(enum.Enum):
    """Which pairs a list leaves out. RULES: those the event table hides. SEEN: all with an event. NONE: no pair."""

    RULES = "rules"
    SEEN = "seen"
    NONE = "none"


# What a hiding event is called to the person who asks why. A rejected, declined or dismissed pair was turned down; in
# an applied, invited, offered or hired one the two have already met.
_TURNED_DOWN = frozenset({EventType.DISMISS, EventType.REJECT, EventType.DECLINE})


def hides(event_type: EventType, item_kind: Kind) -> bool:
    """Whether an event in force keeps the item out of the subject's list."""
    rule = RULES[event_type]
    return rule.hides_job_from_talent if item_kind is Kind.JOB else rule.hides_talent_from_job


def excluded_ids(history: Sequence[Event], item_kind: Kind, exclude: Exclude = Exclude.RULES) -> set[str]:
    """Ids of the items that the subject's list leaves out, given the subject's whole history.

    An impression is no acquaintance: it excludes nothing, under SEEN neither.
    """
    if exclude is Exclude.NONE:
        return set()
    if exclude is Exclude.SEEN:
        return {event.id_of(item_kind) for event in history if event.type is not EventType.IMPRESSION}
    # Only pairs with a hiding event need their undo events looked at: most of a history is views.
    suspects = {event.id_of(item_kind) for event in history if hides(event.type, item_kind)}
    if not suspects:
        return set()
    pairs = [event for event in history if event.id_of(item_kind) in suspects]
    return {event.id_of(item_kind) for event in in_force(pairs) if hides(event.type, item_kind)}


def types_in_force(pair: Iterable[Event]) -> list[EventType]:
    """Types of the pair's events in force, in order of first happening, each once, without IMPRESSION."""
    standing = (event.type for event in in_force(pair))
    return [kind for kind in dict.fromkeys(standing) if kind is not EventType.IMPRESSION]


def pair_blocker(pair: Iterable[Event], item_kind: Kind) -> Blocker | None:
    """What stands between the two: DISMISSED before ALREADY_APPLIED; None when nothing does."""
    hiding = [event.type for event in in_force(pair) if hides(event.type, item_kind)]
    if not hiding:
        return None
    return Blocker.DISMISSED if any(kind in _TURNED_DOWN for kind in hiding) else Blocker.ALREADY_APPLIED


def document_blocker(item: Document, as_of_ms: int) -> Blocker | None:
    """What keeps a document out of every list: a job that is not OPEN or has expired, a talent who is unavailable."""
    if isinstance(item, Talent):
        return None if item.is_available else Blocker.UNAVAILABLE
    if item.status is not JobStatus.OPEN:
        return Blocker.CLOSED
    return Blocker.EXPIRED if item.expires_at_ms is not None and item.expires_at_ms <= as_of_ms else None
