"""Asks a dependency for as long as it is worth it: within the request's deadline, and not at all while it is down."""

from __future__ import annotations

import asyncio
import contextvars
import math
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from gateway.resilience.breaker import Breaker
from gateway.resilience.loop_lag import LoopLag
from recommender.degradation import CURRENT, Degradation, DegradedReason, degrade
from recommender.errors import UnavailableError

Answer = TypeVar("Answer")

RESERVE_S: Final = 0.05  # of a deadline, for the answer without what was asked for
PROBE_EVERY_S: Final = 0.5
PROBE_S: Final = 1.0  # for one probe: it may have to wake up what was down
LAGGING_S: Final = 0.1  # by so much the loop is late before a failure says more about us than about the dependency
FAIR_S: Final = 0.1  # who was given so long and has not answered has failed
GRACE_S: Final = 0.02  # for an answer that has come in while the loop was busy

_log = structlog.get_logger("tandem.resilience")


class TooLateError(UnavailableError):
    """The request's time is over before the dependency has answered."""


class Guard:
    """Before one dependency. Used on one event loop.

    `counts` by outcome only ever grow: answered, failed, late (at the request's deadline), excused (failed while this
    process itself was late), left alone (the breaker was open), opened, probed.
    probe: a question whose answer shows that the dependency is well again.
    """

    def __init__(
        self,
        part: str,
        reason: DegradedReason,
        probe: Callable[[], Awaitable[object]],
        *,
        lag: LoopLag | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.part, self.reason = part, reason
        self.breaker = breaker or Breaker()
        self.counts: Counter[str] = Counter()
        self._probe = probe
        self._lag = lag or LoopLag()
        self._probing: asyncio.Task[None] | None = None

    async def read(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to what a request waits for. Raises UnavailableError, TooLateError.

        A dependency that has failed a request is not asked by it again.
        """
        current = CURRENT.get()
        self._check(current)
        if current is None:
            return await self._judged(ask, None)
        begun_s = time.monotonic()
        given_s = current.until_s - RESERVE_S - begun_s
        if given_s <= 0:
            raise self._too_late(current)
        timer = _Timer(given_s)
        try:
            return await self._judged(ask, current)
        except asyncio.CancelledError:
            if not timer.has_expired or timer.task.uncancel():
                raise
            if given_s > FAIR_S:
                self._fail()
            raise self._too_late(current) from None
        finally:
            timer.stop()
            current.waited_s += time.monotonic() - begun_s

    async def write(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The same of what changes something: it takes the time that it takes, and its failures are its own affair,
        such as of a server without memory, which can still be read."""
        self._check(CURRENT.get())
        return await ask()

    def degrade(self, error: UnavailableError) -> None:
        """Note why an answer does without this dependency; raises the error where nobody would be told."""
        if not degrade(DegradedReason.DEADLINE if isinstance(error, TooLateError) else self.reason):
            raise error

    def _check(self, current: Degradation | None) -> None:
        if not self.breaker.is_closed:
            self.counts["left alone"] += 1
            raise UnavailableError(self.part, "it is left alone until it answers again")
        if current is not None and self.part in current.lost:
            is_late = current.lost[self.part]
            raise (TooLateError if is_late else UnavailableError)(self.part, "it has failed this request before")

    def _too_late(self, current: Degradation) -> TooLateError:
        self.counts["late"] += 1
        current.lost[self.part] = True
        return TooLateError(self.part, "the request's time is over")

    async def close(self) -> None:
        """End the probing."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    async def _judged(self, ask: Callable[[], Awaitable[Answer]], current: Degradation | None) -> Answer:
        try:
            answer = await ask()
        except UnavailableError:
            if current is not None:
                current.lost[self.part] = False
            self._fail()
            raise
        self.counts["answered"] += 1
        self.breaker.succeed()
        return answer

    def _fail(self) -> None:
        if self._lag.worst_s > LAGGING_S:
            self.counts["excused"] += 1
            return
        self.counts["failed"] += 1
        if self.breaker.fail():
            self.counts["opened"] += 1
            _log.warning("left alone until it answers again", part=self.part)
            # In a context of its own: no request waits for it, and its deadline is nobody's.
            self._probing = contextvars.Context().run(asyncio.create_task, self._follow())

    async def _follow(self) -> None:
        while not self.breaker.is_closed:
            await asyncio.sleep(PROBE_EVERY_S * (0.75 + secrets.randbelow(500) / 1_000))
            self.breaker.begin_probe()
            self.counts["probed"] += 1
            succeeded = False
            try:
                async with asyncio.timeout(PROBE_S):
                    await self._probe()
                succeeded = True
            except (UnavailableError, TimeoutError):
                pass
            except Exception as error:  # noqa: BLE001 — whatever it answers, it has to be found again
                _log.error("probe failed", part=self.part, error=type(error).__name__)
            finally:
                self.breaker.end_probe(succeeded=succeeded)
        _log.info("answers again", part=self.part)


class _Timer:
    """Cancels the task that made it after a time, as asyncio.timeout does, but waits for what only the loop is late
    with."""

    def __init__(self, after_s: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 — it is made in a coroutine
        self.task = task
        self.has_expired = False
        self._loop = asyncio.get_running_loop()
        self._due_s = time.monotonic() + after_s
        self._handle = None if after_s == math.inf else self._loop.call_later(after_s, self._expire)

    def _expire(self) -> None:
        if time.monotonic() - self._due_s > GRACE_S:
            self._due_s = time.monotonic() + GRACE_S
            self._handle = self._loop.call_later(GRACE_S, self._expire)
            return
        self.has_expired = True
        self.task.cancel()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
