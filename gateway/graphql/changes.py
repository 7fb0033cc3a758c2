"""Which lists are out of date: what was written to the event log by any replica, and which model serves here."""

from __future__ import annotations

import asyncio
import enum
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from recommender.documents import Kind
from recommender.errors import NoModelError, TandemError, UnavailableError
from recommender.events import EventType
from recommender.ports import EventLog, SubjectKey
from recommender.recommender import Recommender

EVERY_SECONDS: Final = 0.25  # between two looks at the log: one call of it each, however many watch, none for nobody
MOST_WATCHES: Final = 10_000  # of one process, some 2 KB each
MOST_EVENTS: Final = 10_000  # beyond, everybody is told instead of reading on: somebody imports a log

_log = structlog.get_logger("tandem.changes")


class ChangeCause(enum.Enum):
    """Why a list is out of date."""

    EVENTS = "EVENTS"
    MODEL = "MODEL"


@dataclass(frozen=True, slots=True)
class Change:
    """A list is out of date. last_seq: of the event log; a list that reflects it is up to date again."""

    cause: ChangeCause
    last_seq: int


class _Watch:
    """One subscriber. Only the newest change waits for it, so a slow one costs no memory and misses nothing."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self._change: Change | None = None

    def tell(self, change: Change | None) -> None:
        """Wake the subscriber; None ends its stream."""
        self._change = change
        self._told.set()

    async def next(self) -> Change | None:
        await self._told.wait()
        self._told.clear()
        return self._change


class ChangeFeed:
    """Follows the log and the model, and tells who watches. Used on one event loop.

    An event that is acknowledged after a watch began is told within EVERY_SECONDS and a call of the log. An IMPRESSION
    is not: no list changes for it. Several changes may be told as one.
    """

    def __init__(self, events: EventLog, recommender: Recommender) -> None:
        self._events = events
        self._recommender = recommender
        self._watches: defaultdict[SubjectKey, set[_Watch]] = defaultdict(set)
        self._count = 0
        self._seq: int | None = None  # everybody was told of the events up to it; None while nobody watches
        self._closed = False

    async def watch(self, subject: SubjectKey) -> AsyncGenerator[Change, None]:
        """Every change of a subject's lists from now on, until the process ends. Raises UnavailableError when full."""
        if self._count >= MOST_WATCHES:
            raise UnavailableError("subscriptions", f"{MOST_WATCHES} are open in this process")
        watch = _Watch()
        self._watches[subject].add(watch)
        self._count += 1
        try:
            if self._seq is None:
                last_seq = (await self._events.state()).last_seq
                self._seq = last_seq if self._seq is None else self._seq  # whoever was first read the lower one
            while not self._closed and (change := await watch.next()) is not None:
                yield change
        finally:
            self._count -= 1
            self._watches[subject].discard(watch)
            if not self._watches[subject]:
                del self._watches[subject]

    async def follow(self, every_seconds: float = EVERY_SECONDS) -> None:
        """Tell for ever. A log that does not answer is asked again: what was written meanwhile is told then."""
        version = self._version()
        while True:
            if not self._watches:
                self._seq = None
            try:
                if self._seq is not None:
                    last_seq = (await self._events.state()).last_seq
                    if version != (version := self._version()):
                        self._tell(list(self._watches), Change(ChangeCause.MODEL, last_seq))
                    if last_seq > self._seq:
                        self._tell(await self._subjects(self._seq, last_seq), Change(ChangeCause.EVENTS, last_seq))
                    self._seq = last_seq
                else:
                    version = self._version()
            except TandemError as error:
                _log.warning("changes not read", reason=str(error))
            except Exception as error:  # noqa: BLE001 — this task must outlive whatever a store can do
                _log.error("changes not read", error=type(error).__name__)
            await asyncio.sleep(every_seconds)

    def close(self) -> None:
        """End every watch: the process is told to stop, and must not wait for its subscribers."""
        self._closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.tell(None)

    async def _subjects(self, after_seq: int, until_seq: int) -> Iterable[SubjectKey]:
        """Who is watched and had events behind `after_seq`."""
        if until_seq - after_seq > MOST_EVENTS:
            return list(self._watches)
        touched: set[SubjectKey] = set()
        async for batch in self._events.scan(after_seq, until_seq):
            for event in batch:
                if event.type is not EventType.IMPRESSION:
                    touched |= {SubjectKey(kind, event.id_of(kind)) for kind in Kind}
        return touched & self._watches.keys()

    def _tell(self, subjects: Iterable[SubjectKey], change: Change) -> None:
        for subject in subjects:
            for watch in self._watches.get(subject, ()):
                watch.tell(change)

    def _version(self) -> str | None:
        try:
            return self._recommender.model.manifest.version
        except NoModelError:
            return None
