"""What a caller may spend in a minute: the cost of operations, by role. Exact where gateways count in one server."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from recommender.errors import TandemError, UnavailableError

MINUTE_S: Final = 60.0
CALLERS_KEPT: Final = 100_000  # of whom this process counts; some 150 bytes each


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to a caller. limit: cost in a minute. wait_s: until the same cost is there; 0 when it was spent now.

    full_s: until the limit is there again.
    """

    limit: int
    remaining: int
    wait_s: float
    full_s: float


class ThrottledError(TandemError):
    """A caller has spent what there is. The text says when to ask again."""

    def __init__(self, cost: int, allowance: Allowance) -> None:
        if cost > allowance.limit:
            text = f"this operation may cost {cost}, and a minute has {allowance.limit}: ask for less at once"
        else:
            text = f"this operation may cost {cost} and {allowance.remaining} is left: ask again in {wait(allowance)} s"
        super().__init__(text)
        self.allowance = allowance


def wait(allowance: Allowance) -> int:
    """Whole seconds until it is worth asking again."""
    return max(1, -int(-allowance.wait_s // 1))


class Buckets(Protocol):
    """Counts that gateways share."""

    async def spend(self, key: str, cost: int, limit: int) -> tuple[int, int, int]:
        """Spend a cost of `limit` a minute, or nothing: what remains, and the milliseconds until the cost is there (0:
        it was spent) and until all is. Raises UnavailableError."""
        ...


class LocalBuckets:
    """Counts of one process, by the same rule: GCRA, by when a caller will have nothing spent any more."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._clear_at_s: OrderedDict[str, float] = OrderedDict()

    def spend(self, key: str, cost: int, limit: int) -> Allowance:
        """Spend a cost, or nothing."""
        now_s, unit_s = self._clock_s(), MINUTE_S / limit
        clear_s = max(0.0, self._clear_at_s.get(key, now_s) - now_s)
        over_s = clear_s + cost * unit_s - MINUTE_S
        if over_s > 1e-9:
            return Allowance(limit, _units(MINUTE_S - clear_s, unit_s), over_s, clear_s)
        clear_s += cost * unit_s
        self._clear_at_s[key] = now_s + clear_s
        self._clear_at_s.move_to_end(key)
        if len(self._clear_at_s) > CALLERS_KEPT:
            self._clear_at_s.popitem(last=False)
        return Allowance(limit, _units(MINUTE_S - clear_s, unit_s), 0.0, clear_s)


class RateLimit:
    """By role, how much each of its callers may spend in a minute; who has no subject is one caller.

    sharers: processes that share a limit where they cannot count together: each then gives its part of it.
    """

    def __init__(self, limits: Mapping[str, int], shared: Buckets | None, *, sharers: int) -> None:
        self.throttled = 0
        self._limits = limits
        self._shared = shared
        self._sharers = sharers
        self._local = LocalBuckets()

    async def spend(self, roles: Sequence[str], subject: str | None, cost: int) -> Allowance | None:
        """Spend the cost of an operation. None: nothing limits the caller. Raises ThrottledError."""
        limit, role = max(((self._limits[one], one) for one in roles if one in self._limits), default=(0, ""))
        if not limit:
            return None
        key = hashlib.sha256(f"{role} {subject or ''}".encode()).hexdigest()[:32]
        allowance = await self._spend(key, max(1, cost), limit)
        if allowance.wait_s:
            self.throttled += 1
            raise ThrottledError(cost, allowance)
        return allowance

    async def _spend(self, key: str, cost: int, limit: int) -> Allowance:
        if self._shared is not None:
            try:
                remaining, wait_ms, full_ms = await self._shared.spend(key, cost, limit)
            except UnavailableError:
                pass
            else:
                return Allowance(limit, remaining, wait_ms / 1_000, full_ms / 1_000)
        return self._local.spend(key, cost, max(1, limit // self._sharers))


def _units(left_s: float, unit_s: float) -> int:
    return max(0, int(left_s / unit_s + 1e-6))
