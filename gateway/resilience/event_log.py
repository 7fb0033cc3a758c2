"""An event log on a server that may fail: histories then are those that were read last, and are said to be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Final

from gateway.resilience.guard import Guard
from gateway.resilience.loop_lag import LoopLag
from recommender.degradation import DegradedReason
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.events import Event
from recommender.ports import Appended, EventLog, LogState, SubjectKey

EVENTS_KEPT: Final = 200_000  # some 300 bytes each


class GuardedEventLog:
    """`recommender.ports.EventLog` before one that may fail.

    A reader who would be told (see degradation) gets the history that was read last; it is empty for a subject that
    was not read lately, of whom the model still knows what it was trained on. Whoever writes gets the failure.
    """

    def __init__(self, log: EventLog, lag: LoopLag | None = None) -> None:
        self._log = log
        self.guard = Guard("event log", DegradedReason.EVENT_LOG, log.state, lag=lag)
        self._kept: OrderedDict[tuple[SubjectKey, bool | int], list[Event]] = OrderedDict()
        self._kept_events = 0

    async def history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool | int = False
    ) -> list[list[Event]]:
        """See EventLog."""
        try:
            found = await self.guard.read(lambda: self._log.history(subjects, until_seq, impressions=impressions))
        except UnavailableError as error:
            self.guard.degrade(error)
            kept = [self._kept.get((subject, impressions), []) for subject in subjects]
            return [[event for event in events if until_seq is None or event.seq <= until_seq] for events in kept]
        if until_seq is None:
            for subject, events in zip(subjects, found, strict=True):
                self._keep((subject, impressions), events)
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
        gone = set(ids)
        for key, events in list(self._kept.items()):
            subject = key[0]
            if (subject.kind is kind and subject.id in gone) or any(event.id_of(kind) in gone for event in events):
                self._kept_events -= len(self._kept.pop(key)) + 1

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """See EventLog."""
        return await self.guard.write(lambda: self._log.append(events))

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
        self._kept_events = 0
        return await self.guard.write(lambda: self._log.forget(subject))
