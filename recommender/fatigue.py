"""Fatigue: what somebody was shown again and again without doing anything about it sinks in the next list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recommender.documents import Kind, Side
from recommender.events import Event, EventType
from recommender.scoring import Scores

DAY_MS: Final = 86_400_000
# The newest impressions of a talent or job, by whomever: a job that fifty thousand talents were shown has as many, and
# reading them takes SQLite 0.7 s, reading these 4 ms.
MOST_COUNTED: Final = 1_000
HALF_TIRED: Final = 3  # impressions of today that take half of what fatigue can take at most


@dataclass(frozen=True, slots=True)
class Fatigue:
    """most: the share of its standing that an item can lose, in (0, 1]. An impression counts half every half-life."""

    most: float
    half_life_days: float

    def discounts(self, item_ids: Sequence[str], unanswered: Mapping[str, float]) -> Scores:
        """What each item's standing is multiplied by: 1 − most · n / (n + 3) for n unanswered impressions.

        Bounded: above 1 − most however often an item was shown. unanswered: see `count_unanswered`.
        """
        counts = np.array([unanswered.get(item_id, 0.0) for item_id in item_ids])
        discounts: Scores = 1.0 - self.most * counts / (counts + HALF_TIRED)
        return discounts

    def count_unanswered(
        self, impressions: Iterable[Event], history: Iterable[Event], item_kind: Kind, as_of_ms: int
    ) -> dict[str, float]:
        """Impressions of each item since its subject last did something about it, each 2^(−age / half-life).

        history: the events of the subject but for impressions. Only what the list's own side was shown and did counts:
        a client's impressions of a talent say nothing of what the talent has seen. An impression without a time, or of
        a time after `as_of_ms`, is left out: so that a list which is paged stays as it was begun.
        """
        side = Side.TALENT if item_kind is Kind.JOB else Side.CLIENT
        answered: dict[str, tuple[int, int]] = {}
        for event in history:
            if event.actor is side:
                item_id = event.id_of(item_kind)
                answered[item_id] = max(event.order, answered.get(item_id, event.order))
        counts: dict[str, float] = defaultdict(float)
        for event in impressions:
            at_ms, item_id = event.occurred_at_ms, event.id_of(item_kind)
            if event.type is not EventType.IMPRESSION or event.actor is not side or at_ms is None or at_ms > as_of_ms:
                continue
            if item_id not in answered or answered[item_id] < event.order:
                counts[item_id] += 2.0 ** (-(as_of_ms - at_ms) / (self.half_life_days * DAY_MS))
        return dict(counts)
