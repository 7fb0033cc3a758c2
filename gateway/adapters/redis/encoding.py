"""An event as bytes: a JSON array that begins with the number of its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import orjson

from recommender.documents import Side
from recommender.errors import UnavailableError
from recommender.events import Event, EventType

PART = "event log"
SCHEMA = 1

# Kept for good: what is written today is read by every later version. A new type takes the next number.
TYPE_CODES: dict[EventType, int] = {
    EventType.IMPRESSION: 0,
    EventType.VIEW: 1,
    EventType.SAVE: 2,
    EventType.UNSAVE: 3,
    EventType.APPLY: 4,
    EventType.WITHDRAW: 5,
    EventType.DISMISS: 6,
    EventType.UNDISMISS: 7,
    EventType.SHORTLIST: 8,
    EventType.INVITE: 9,
    EventType.INTERVIEW: 10,
    EventType.OFFER: 11,
    EventType.HIRE: 12,
    EventType.REJECT: 13,
    EventType.ACCEPT: 14,
    EventType.DECLINE: 15,
}
ACTOR_CODES: dict[Side, int] = {Side.TALENT: 0, Side.CLIENT: 1}
_TYPES = {code: kind for kind, code in TYPE_CODES.items()}
_ACTORS = {code: side for side, code in ACTOR_CODES.items()}


def encoded(event: Event) -> bytes:
    """The content of an event, everything but `seq`: equal contents are equal bytes."""
    fields = [
        SCHEMA,
        event.event_id,
        ACTOR_CODES[event.actor],
        TYPE_CODES[event.type],
        event.talent_id,
        event.job_id,
        event.occurred_at_ms,
    ]
    if event.value is not None or event.recommendation_id is not None:
        fields += [None if event.value is None else float(event.value), event.recommendation_id]
    return orjson.dumps(fields)


def decoded(seq: int, content: bytes) -> Event:
    """The event of a content. Raises UnavailableError for what no version up to this one has written."""
    try:
        schema, event_id, actor, kind, talent_id, job_id, occurred_at_ms, *rest = orjson.loads(content)
        if schema != SCHEMA:
            raise UnavailableError(
                PART, f"event {seq} has schema {schema} and this version reads schema {SCHEMA}; use a newer version"
            )
        value, recommendation_id = rest or (None, None)
        return Event(
            event_id, _ACTORS[actor], _TYPES[kind], talent_id, job_id, occurred_at_ms, value, recommendation_id, seq
        )
    except (ValueError, TypeError, KeyError) as error:
        raise UnavailableError(PART, f"event {seq} is not one that Tandem wrote") from error


def decoded_entry(entry: bytes) -> Event:
    """The event of an entry `<seq>:<content>` of a history."""
    seq, _, content = entry.partition(b":")
    try:
        return decoded(int(seq), content)
    except ValueError as error:
        raise UnavailableError(PART, "a history has an entry that Tandem did not write") from error


def decoded_stream(entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> list[Event]:
    """The events of entries of the stream."""
    return [decoded(int(place.partition(b"-")[0]), fields[b"e"]) for place, fields in entries]


def id_digest(event_id: str) -> bytes:
    """16 bytes that stand for an event id."""
    return blake2b(event_id.encode(), digest_size=16).digest()


def content_digest(content: bytes) -> bytes:
    """8 bytes that stand for a content, next to the id it belongs to."""
    return blake2b(content, digest_size=8).digest()


def time_text(occurred_at_ms: int | None) -> str:
    """20 digits that sort as the time does, for scripts whose numbers have but 53 bits; empty for none."""
    return "" if occurred_at_ms is None else f"{occurred_at_ms + 2**63:020d}"


def time_from_text(text: bytes | None) -> int | None:
    """The time of `time_text`."""
    return int(text) - 2**63 if text else None
