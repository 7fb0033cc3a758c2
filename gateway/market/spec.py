"""What a demo market is made from: its size, its span of time and its seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from recommender.errors import BadInputError

DAY_MS = 86_400_000
# A talent has at most one session a day, and a session leaves about ten events.
MOST_EVENTS_PER_TALENT_DAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSpec:
    """The same spec gives the same market, byte for byte.

    talents, jobs, events: how many; days: the span of the log, which ends at end_ms (epoch milliseconds, UTC).
    Raises: BadInputError for a size that cannot be built.
    """

    end_ms: int
    talents: int = 5_000
    jobs: int = 3_000
    events: int = 250_000
    days: int = 90
    seed: int = 7

    def __post_init__(self) -> None:
        for name, least in (("talents", 20), ("jobs", 20), ("events", 0), ("days", 7), ("seed", 0)):
            if getattr(self, name) < least:
                raise BadInputError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if self.end_ms < self.days * DAY_MS:
            raise BadInputError(f"end_ms must lie {self.days} days or more after 1970; got {self.end_ms}")
        most = self.talents * self.days * MOST_EVENTS_PER_TALENT_DAY
        if self.events > most:
            raise BadInputError(
                f"{self.talents} talents leave at most {most} events in {self.days} days; got events = {self.events}"
            )

    @property
    def start_ms(self) -> int:
        """When the log begins."""
        return self.end_ms - self.days * DAY_MS

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that tell this market from others; part of every event id."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
