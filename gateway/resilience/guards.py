"""The guards of one process, and what requests are held to."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from gateway.resilience.admission import Admission
from gateway.resilience.guard import Guard
from gateway.resilience.loop_lag import LoopLag
from gateway.resilience.rate_limit import RateLimit
from recommender.degradation import CURRENT, Degradation


@dataclass(frozen=True, slots=True)
class Guards:
    """Built once per process. guards: of the dependencies that may hang, which no embedded store does.

    deadline_s: of a request. admission: where there is a limit of requests at once. rate_limit: where there is one of
    what is spent.
    """

    deadline_s: float = math.inf
    lag: LoopLag = field(default_factory=LoopLag)
    guards: tuple[Guard, ...] = ()
    admission: Admission | None = None
    rate_limit: RateLimit | None = None

    def until_s(self, most_s: float = math.inf) -> float:
        """When an answer that is begun now is to be there. most_s: what its caller allows it."""
        return time.monotonic() + min(self.deadline_s, most_s)

    def begin(self, most_s: float = math.inf) -> None:
        """Hold everything that this task goes on to ask to that."""
        CURRENT.set(Degradation(self.until_s(most_s)))
