"""What a log is like: the figures that hyper-parameters and metrics are read beside."""

from __future__ import annotations

from typing import Any

import numpy as np

from recommender.events import EventType
from recommender.interactions import DAY_MS, UNKNOWN_TIME, EventTable

_TYPES = tuple(EventType)


def log_facts(table: EventTable) -> dict[str, Any]:
    """Counts of events (by type), of pairs, and of the talents and jobs that are in any; how full the matrix is.

    days: from the first to the last event that has a time, None when none has. pairs_per_talent: 10 %, 50 % and 90 % of
    the talents have at most so many.
    """
    pairs = np.unique(table.pair)
    per_talent = np.unique(pairs // max(len(table.job_ids), 1), return_counts=True)[1]
    jobs = len(np.unique(table.job))
    known = table.at_ms[table.at_ms != UNKNOWN_TIME]
    kinds = np.bincount(table.kind, minlength=len(_TYPES)).tolist()
    return {
        "events": len(table),
        "by_type": {kind.value: count for kind, count in zip(_TYPES, kinds, strict=True) if count},
        "pairs": len(pairs),
        "talents": len(per_talent),
        "jobs": jobs,
        "density": len(pairs) / max(len(per_talent) * jobs, 1),
        "pairs_per_talent": np.quantile(per_talent, [0.1, 0.5, 0.9]).tolist() if len(per_talent) else [],
        "without_a_time": int(len(table) - len(known)),
        "days": (int(known.max()) - int(known.min())) / DAY_MS if len(known) else None,
    }
