"""One event as the scripts take it, and the names of the keys that it goes into."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.adapters.redis.encoding import content_digest, encoded, id_digest, time_text
from recommender.documents import Kind
from recommender.events import Event, EventType

_SUBJECT = {Kind.TALENT: "t", Kind.JOB: "j"}


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as the scripts take it."""

    id_digest: bytes
    content_digest: bytes
    talent_key: str
    job_key: str
    time: str
    content: bytes


def row_of(event: Event) -> EventRow:
    """The row of an event, whatever its seq."""
    content = encoded(event)
    is_impression = event.type is EventType.IMPRESSION
    return EventRow(
        id_digest=id_digest(event.event_id),
        content_digest=content_digest(content),
        talent_key=history_key(Kind.TALENT, event.talent_id, is_impression),
        job_key=history_key(Kind.JOB, event.job_id, is_impression),
        time=time_text(event.occurred_at_ms),
        content=content,
    )


def history_key(kind: Kind, subject_id: str, is_impression: bool) -> str:
    """The key of a subject's deeds or impressions, without the prefix."""
    return f"{_SUBJECT[kind]}{'i' if is_impression else ''}:{subject_id}"
