"""Builders that default everything, so that a test states only what it is about."""

from __future__ import annotations

from typing import Any

from recommender.documents import Job, Talent
from recommender.events import Event, EventType, actor_of

DAY_MS = 86_400_000
NOW_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z


def talent(ordinal: int = 1, **fields: Any) -> Talent:
    """A bare available talent `t<ordinal>`."""
    return Talent(**{"ordinal": ordinal, "talent_id": f"t{ordinal}", **fields})


def job(ordinal: int = 1, **fields: Any) -> Job:
    """A bare open job `j<ordinal>`."""
    return Job(**{"ordinal": ordinal, "job_id": f"j{ordinal}", **fields})


def event(kind: EventType = EventType.VIEW, talent_id: str = "t1", job_id: str = "j1", **fields: Any) -> Event:
    """An event of the default actor at NOW_MS; its id is made of its parts."""
    at = fields.get("occurred_at_ms", NOW_MS)
    defaults: dict[str, Any] = {
        "event_id": f"{kind.value}:{talent_id}:{job_id}:{at}",
        "actor": actor_of(kind),
        "type": kind,
        "talent_id": talent_id,
        "job_id": job_id,
        "occurred_at_ms": NOW_MS,
    }
    return Event(**{**defaults, **fields})
