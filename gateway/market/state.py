"""What the simulation carries from day to day."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gateway.market.pairs import PairSet
from gateway.market.people import People
from gateway.market.places import COUNTRIES
from gateway.market.postings import Clients, Postings
from gateway.market.spec import DAY_MS, MarketSpec
from gateway.market.taste import Taste
from gateway.market.trades import Bools, Floats, Ints, Times, Trades

HOUR_MS = 3_600_000
# Share of activity by local hour: offices for clients, evenings too for talents.
OFFICE_HOURS = np.array([0, 0, 0, 0, 0, 0, 1, 3, 7, 10, 11, 10, 7, 9, 10, 10, 9, 6, 3, 1, 1, 1, 0, 0], dtype=np.float64)
ALL_DAY = np.array([2, 1, 1, 1, 1, 1, 2, 4, 6, 7, 7, 7, 7, 6, 6, 6, 6, 6, 7, 8, 9, 8, 6, 4], dtype=np.float64)
UTC_OFFSETS = np.array([country.utc_offset_hours for country in COUNTRIES])


@dataclass(eq=False)
class State:
    """The market on one day. Popularity decays; pairs in `settled` are shown to neither side again."""

    spec: MarketSpec
    trades: Trades
    people: People
    postings: Postings
    clients: Clients
    taste: Taste
    rng: np.random.Generator
    ends_ms: Times  # (J,) moves forward when a job is filled
    vacancies: Ints  # (J,) left
    filled: Bools  # (J,)
    busy: Bools  # (T,) hired and no longer looking
    job_popularity: Floats
    talent_popularity: Floats
    free_ms: Times  # (T,) when the last session was over
    settled: PairSet = field(default_factory=PairSet)
    applied: PairSet = field(default_factory=PairSet)
    saved: PairSet = field(default_factory=PairSet)
    shortlisted: PairSet = field(default_factory=PairSet)

    def moments(self, day_ms: int, country: Ints, hours: Floats) -> Times:
        """A time in the 24 hours from day_ms for each row, by the clock of its country."""
        local = self.rng.choice(24, len(country), p=hours / hours.sum()) + self.rng.random(len(country))
        utc_ms = ((local - UTC_OFFSETS[country]) % 24.0) * HOUR_MS
        return np.asarray((day_ms + (utc_ms - day_ms % DAY_MS) % DAY_MS).astype(np.int64))

    def open_jobs(self, day_ms: int) -> Ints:
        """Jobs that somebody may meet in the 24 hours from day_ms."""
        postings = self.postings
        meets = (postings.posted_ms < day_ms + DAY_MS) & (self.ends_ms > day_ms) & ~postings.draft
        return np.flatnonzero(meets).astype(np.int32)

    def is_open(self, job: Ints, at_ms: Times, margin_ms: int) -> Bools:
        """Whether jobs are posted at a time and stay so for the margin; any shape."""
        return np.asarray((self.postings.posted_ms[job] <= at_ms) & (self.ends_ms[job] > at_ms + margin_ms))
