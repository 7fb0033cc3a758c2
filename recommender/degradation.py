"""What could not help with an answer, told to who asked: a poorer answer is given only where somebody is told of it."""

from __future__ import annotations

import enum
import math
from contextvars import ContextVar
from dataclasses import dataclass, field


class DegradedReason(enum.Enum):
    """Which part of an answer is poorer than usual."""

    CATALOGUE = "CATALOGUE"
    CACHE = "CACHE"
    EVENT_LOG = "EVENT_LOG"
    MODEL = "MODEL"
    DEADLINE = "DEADLINE"


@dataclass(slots=True, eq=False)
class Degradation:
    """Of one answer in the making. reasons: so far.

    until_s: when the answer is to be there, in seconds of a monotonic clock; what is asked meanwhile waits no longer.
    waited_s: for parts, added up. lost: parts that have failed it and are not asked again; true: its time was over.
    """

    until_s: float = math.inf
    waited_s: float = 0.0
    reasons: set[DegradedReason] = field(default_factory=set)
    lost: dict[str, bool] = field(default_factory=dict)


# Of the request that runs; tasks that it begins inherit it. None outside of requests: there nothing degrades, it fails.
CURRENT: ContextVar[Degradation | None] = ContextVar("degradation", default=None)


def degrade(reason: DegradedReason) -> bool:
    """Note a reason. False where nobody would be told, so that the caller has to fail instead."""
    current = CURRENT.get()
    if current is None:
        return False
    current.reasons.add(reason)
    return True


def degraded() -> frozenset[DegradedReason]:
    """The reasons noted so far."""
    current = CURRENT.get()
    return frozenset() if current is None else frozenset(current.reasons)
