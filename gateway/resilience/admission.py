"""How many requests are worked on at once, and who comes next when there are more.

As many as are answered in TARGET_S, not counting what they wait for others: with more each would only take longer. What
waits is let in by turns, one of each caller; those for people first. A burst may wait; once somebody had to be turned
away, and for a second after it, who is expected to wait for too long is turned away at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from typing import Final

WAIT_S: Final = 0.08  # at the most
QUEUE_S: Final = 0.05  # that who comes is expected to wait: what takes longer than expected is then still in time
CALM_S: Final = 1.0  # since somebody was turned away: then what comes at once is a burst, not too much for long
TARGET_S: Final = 0.08
FEWEST: Final = 16  # at once, however long they take
BURST: Final = 32  # may wait, whatever their time is expected to be
BATCH_SHARE: Final = 0.5  # of the places, for what nobody waits for
CALLER_SHARE: Final = 0.9  # of the places, for one caller
EVERY_S: Final = 0.05
LATE_S: Final = 0.02  # by so much the loop is late before what was waited for may have been the loop itself
SMOOTHING: Final = 0.1  # the weight of the newest of what is averaged
FORGETTING: Final = 0.02  # of a rate that was reached before: what ends while nobody waits is less than what could

Caller = Hashable
_Place = asyncio.Future[bool]


class Admission:
    """Of one process; used on one event loop. most: requests at once at the most.

    `counts` by outcome only ever grow: admitted, waited (before it was admitted), shed, displaced (shed for a caller
    who had less waiting), each also apart for batch (`batch shed`).
    """

    def __init__(self, most: int) -> None:
        self.limit = float(min(most, FEWEST))
        self.running = 0
        self.counts: Counter[str] = Counter()
        self._most = most
        self._running_of: Counter[Caller] = Counter()
        self._waiting: tuple[OrderedDict[Caller, deque[_Place]], ...] = (OrderedDict(), OrderedDict())
        self._own_s = self._elsewhere_s = 0.0  # on average, of those that ended
        self._late_s = 0.0  # on average, the looks
        self._rate = 0.0  # that can end in a second
        self._ended = 0  # since the last look
        self._most_running = 0  # at once, since then
        self._shed_at_s = -math.inf

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(places) for of_class in self._waiting for places in of_class.values())

    def enter(self, caller: Caller, *, is_batch: bool) -> bool:
        """Take a place, where one is free and nobody else's turn."""
        if any(self._waiting) or not self._is_free(caller, is_batch):
            return False
        self._admit(caller)
        return True

    def refuses(self, caller: Caller, *, is_batch: bool) -> bool:
        """Turn away who would neither get a place nor one to wait at, without more ado."""
        refused = self._is_crowded and not self._is_free(caller, is_batch) and self._victim(caller, is_batch) is None
        if refused:
            self._count("shed", is_batch)
        return refused

    async def wait(self, caller: Caller, *, is_batch: bool) -> bool:
        """Wait for a place; False for who is turned away."""
        own = self._waiting[is_batch]
        if self._is_crowded and not self._displace(caller, is_batch):
            self._count("shed", is_batch)
            return False
        loop = asyncio.get_running_loop()
        place: _Place = loop.create_future()
        own.setdefault(caller, deque()).append(place)
        self._let_in()
        timer = loop.call_later(WAIT_S, _turn_away, place)
        try:
            admitted = await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self.leave(caller)
            raise
        finally:
            timer.cancel()
            self._forget(own, caller, place)
        self._count("waited" if admitted else "shed", is_batch)
        return admitted

    def leave(self, caller: Caller, took_s: float = 0.0, elsewhere_s: float = 0.0) -> None:
        """Give a place back. took_s: how long it was had, of that elsewhere_s waiting for dependencies."""
        self.running -= 1
        self._running_of[caller] -= 1
        if not self._running_of[caller]:
            del self._running_of[caller]
        self._ended += 1
        self._own_s += SMOOTHING * (max(0.0, took_s - elsewhere_s) - self._own_s)
        self._elsewhere_s += SMOOTHING * (elsewhere_s - self._elsewhere_s)
        if any(self._waiting):
            self._let_in()

    async def follow(self) -> None:
        """Keep the limit to what this process keeps up with, for ever."""
        begun_s = time.monotonic()
        while True:
            await asyncio.sleep(EVERY_S)
            now_s = time.monotonic()
            self.adapt(now_s - begun_s)
            begun_s = now_s

    def adapt(self, since_s: float) -> None:
        """Look at what has ended since the last look, so many seconds ago. Little's law says how many places answers
        of TARGET_S take; while they are quicker, and places are used, there may be more. Answers that wait for a loop
        that is late wait for no dependency."""
        ended = self._ended / since_s
        self._rate += (SMOOTHING if ended > self._rate else FORGETTING) * (ended - self._rate)
        self._ended = 0
        self._late_s += SMOOTHING * (max(0.0, since_s - EVERY_S) - self._late_s)
        is_late = self._late_s > LATE_S
        enough = self._rate * (TARGET_S if is_late else TARGET_S + self._elsewhere_s)
        if is_late or self._own_s > TARGET_S:
            self.limit = self._within(min(self.limit, enough))
        elif self._most_running > self.limit / 2:
            self.limit = self._within(min(1.2 * self.limit, 2 * enough))
        else:
            self.limit = self._within(min(self.limit, 2 * enough))
        self._most_running = self.running
        self._let_in()

    def _within(self, wanted: float) -> float:
        return min(float(self._most), max(FEWEST, wanted))

    @property
    def _is_calm(self) -> bool:
        return time.monotonic() - self._shed_at_s > CALM_S

    @property
    def _is_crowded(self) -> bool:
        """Whether who comes now would wait for too long."""
        return self.waiting >= max(BURST if self._is_calm else 1, self._rate * QUEUE_S)

    def _is_free(self, caller: Caller, is_batch: bool) -> bool:
        places = int(self.limit * BATCH_SHARE) if is_batch else int(self.limit)
        own = max(1, int(self.limit * CALLER_SHARE))
        return self.running < max(1, places) and self._running_of[caller] < own

    def _admit(self, caller: Caller) -> None:
        self.running += 1
        self._most_running = max(self._most_running, self.running)
        self._running_of[caller] += 1
        self.counts["admitted"] += 1

    def _let_in(self) -> None:
        """By turns, as many as there are places for."""
        for is_batch, of_class in enumerate(self._waiting):
            for caller in list(of_class):
                if not self._is_free(caller, bool(is_batch)):
                    continue
                places = of_class[caller]
                while places:
                    place = places.popleft()
                    if not place.done():
                        place.set_result(True)
                        self._admit(caller)
                        break
                of_class.move_to_end(caller)
                if not places:
                    del of_class[caller]

    def _victim(self, caller: Caller, is_batch: bool) -> tuple[int, Caller] | None:
        """The class and caller with most waiting, batch first, if that is more than this caller has."""
        for victim_class in range(len(self._waiting) - 1, int(is_batch) - 1, -1):
            of_class = self._waiting[victim_class]
            if of_class:
                other = max(of_class, key=lambda one: len(of_class[one]))
                if victim_class > is_batch or len(of_class[other]) > len(of_class.get(caller, ())) + 1:
                    return victim_class, other
        return None

    def _displace(self, caller: Caller, is_batch: bool) -> bool:
        """Turn away the last of the victim's; whether there is one."""
        found = self._victim(caller, is_batch)
        if found is None:
            return False
        victim_class, other = found
        of_class = self._waiting[victim_class]
        place = of_class[other].pop()
        if not of_class[other]:
            del of_class[other]
        if not place.done():
            place.set_result(False)
            self._count("displaced", bool(victim_class))
        return True

    def _forget(self, of_class: OrderedDict[Caller, deque[_Place]], caller: Caller, place: _Place) -> None:
        places = of_class.get(caller)
        if places is not None and place in places:
            places.remove(place)
            if not places:
                del of_class[caller]

    def _count(self, outcome: str, is_batch: bool) -> None:
        self.counts[f"batch {outcome}" if is_batch else outcome] += 1
        if outcome != "waited":
            self._shed_at_s = time.monotonic()


def _turn_away(place: _Place) -> None:
    if not place.done():
        place.set_result(False)
