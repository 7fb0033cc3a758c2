"""An event log on a server that may fail: histories then are those that were read last, and are said to be."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

import structlog

from gateway.resilience.guard import Guard
from gateway.resilience.loop_lag import LoopLag
from gateway.resilience.together import Together
from recommender.degradation import DegradedReason
from recommender.documents import Kind
from recommender.errors import TandemError, UnavailableError
from recommender.events import RULES, UNDONE_BY, Event
from recommender.ports import Appended, EventLog, LogState, SubjectKey

EVENTS_KEPT: Final = 200_000  # some 300 bytes each
READS: Final = 2  # of histories at once: what comes meanwhile is asked for together

_Asked = tuple[SubjectKey, bool, int]  # whose, and with all impressions, else with how many
FOLLOW_EVERY_S: Final = 1.0
FOLLOW_TRIES: Final = 3
SHARE: Final = 0.1  # of the time, for reading up on a log that has gone far on since the model was learnt

# What keeps a pair out of a list, and what lifts that.
_KEEPING = {one for one, rule in RULES.items() if rule.hides_job_from_talent or rule.hides_talent_from_job}
_TELLING = _KEEPING | {UNDONE_BY[one] for one in _KEEPING if one in UNDONE_BY}

_log = structlog.get_logger("tandem.resilience")


class ServerLog(EventLog, Protocol):
    """An event log that keeps some events in memory."""

    def forget_kept(self, kind: Kind, ids: Sequence[str]) -> None:
        """Drop what is kept of subjects that are gone."""
        ...


class GuardedEventLog:
    """`recommender.ports.EventLog` before one that may fail.

    A reader who would be told (see degradation) gets the history that was read last, and what was found since to keep
    items out of the subject's lists (see `follow`). It is no more than that for a subject that was not read lately,
    of whom the model knows what it was trained on. Whoever writes gets the failure.
    followed: how far `follow` has come.
    """

    def __init__(self, log: ServerLog, lag: LoopLag | None = None) -> None:
        self._log = log
        self.guard = Guard("event log", DegradedReason.EVENT_LOG, log.state, lag=lag)
        self._histories = Together(self._read, at_once=READS)
        self._kept: OrderedDict[tuple[SubjectKey, bool | int], list[Event]] = OrderedDict()
        self._kept_events = 0
        self._telling: OrderedDict[SubjectKey, dict[str, Event]] = OrderedDict()
        self._telling_events = 0
        self.followed = 0

    async def follow(self, after_seq: int) -> None:
        """Take note, for ever, of what anybody records that keeps items out of lists, or lets them in again.

        after_seq: how far the model knows the log. What lies between is read in a small part of the time.
        """
        self.followed = after_seq
        tries = 0
        while True:
            try:
                if self.guard.breaker.is_closed:
                    begun_s = time.monotonic()
                    async for events in self._log.scan(self.followed):
                        self._take(events)
                        self.followed = events[-1].seq
                        await asyncio.sleep((time.monotonic() - begun_s) * (1 / SHARE - 1))
                        begun_s = time.monotonic()
                tries = 0
            except TandemError as error:
                _log.warning("events not followed", reason=str(error))
                tries += 1
                if tries >= FOLLOW_TRIES:  # what lies back may be in an archive that is not here
                    with suppress(TandemError):
                        self.followed = max(self.followed, (await self._log.state()).last_seq)
            except Exception as error:  # noqa: BLE001 — this task must outlive whatever a store can do
                _log.error("events not followed", error=type(error).__name__)
            await asyncio.sleep(FOLLOW_EVERY_S)

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.type in _TELLING:
                for subject in (SubjectKey(kind, event.id_of(kind)) for kind in Kind):
                    of_subject = self._telling.setdefault(subject, {})
                    self._telling_events += event.event_id not in of_subject
                    of_subject[event.event_id] = event
                    self._telling.move_to_end(subject)
        while self._telling_events > 2 * EVENTS_KEPT:  # each is there for both parties
            _, gone = self._telling.popitem(last=False)
            self._telling_events -= len(gone)

    def _known(self, subject: SubjectKey, impressions: bool | int) -> list[Event]:
        kept = self._kept.get((subject, impressions), [])
        telling = self._telling.get(subject, {})
        known = {event.event_id for event in kept} if telling else set()
        return [*kept, *(event for event in telling.values() if event.event_id not in known)]

    async def history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool | int = False
    ) -> list[list[Event]]:
        """See EventLog."""
        try:
            if until_seq is None:
                asked = [(subject, impressions is True, int(impressions)) for subject in subjects]
                found = await self.guard.read(lambda: self._histories.get(asked))
            else:
                found = await self.guard.read(lambda: self._log.history(subjects, until_seq, impressions=impressions))
        except UnavailableError as error:
            self.guard.degrade(error)
            kept = [self._known(subject, impressions) for subject in subjects]
            return [[event for event in events if until_seq is None or event.seq <= until_seq] for events in kept]
        if until_seq is None:
            for subject, events in zip(subjects, found, strict=True):
                self._keep((subject, impressions), events)
        return found

    async def _read(self, asked: Sequence[_Asked]) -> dict[_Asked, list[Event]]:
        """Whole histories, in one call for each number of impressions; in this process that is one."""
        found: dict[_Asked, list[Event]] = {}
        for all_, number in dict.fromkeys(one[1:] for one in asked):
            some = [one for one in asked if one[1:] == (all_, number)]
            read = await self._log.history([one[0] for one in some], impressions=all_ or number)
            found |= dict(zip(some, read, strict=True))
        return found

    def _keep(self, key: tuple[SubjectKey, bool | int], events: list[Event]) -> None:
        """Each counts as one event more, so that those of nobody are bounded, too."""
        before = self._kept.pop(key, None)
        self._kept_events += len(events) + 1 - (0 if before is None else len(before) + 1)
        self._kept[key] = events
        while self._kept_events > EVENTS_KEPT:
            _, gone = self._kept.popitem(last=False)
            self._kept_events -= len(gone) + 1

    def forget_kept(self, kind: Kind, ids: Sequence[str]) -> None:
        """Drop the histories of subjects that are gone, and of others with them."""
        self._log.forget_kept(kind, ids)
        gone = set(ids)
        for key, events in list(self._kept.items()):
            subject = key[0]
            if (subject.kind is kind and subject.id in gone) or any(event.id_of(kind) in gone for event in events):
                self._kept_events -= len(self._kept.pop(key)) + 1
        for subject, telling in list(self._telling.items()):
            others = (event.id_of(kind) for event in telling.values())
            if (subject.kind is kind and subject.id in gone) or any(other in gone for other in others):
                self._telling_events -= len(self._telling.pop(subject))

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """See EventLog."""
        found = await self.guard.write(lambda: self._log.append(events))
        # Before `follow` comes to them; by then they get their places.
        self._take(
            replace(event, seq=self.followed + 1)
            for event, became in zip(events, found, strict=True)
            if became is Appended.ACCEPTED
        )
        return found

    async def versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        """See EventLog."""
        return await self.guard.read(lambda: self._log.versions(subjects))

    def scan(self, after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        """See EventLog."""
        return self._log.scan(after_seq, until_seq)

    async def state(self) -> LogState:
        """See EventLog."""
        return await self.guard.read(self._log.state)

    async def forget(self, subject: SubjectKey) -> int:
        """See EventLog. What is kept here of it, and of others with it, is forgotten first."""
        self._kept.clear()
        self._telling.clear()
        self._kept_events = self._telling_events = 0
        return await self.guard.write(lambda: self._log.forget(subject))
