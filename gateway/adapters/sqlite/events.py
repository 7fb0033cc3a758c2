"""The event log in one SQLite file: durable when acknowledged, read by subject, erasable."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from gateway.adapters.sqlite.database import Database, GroupCommit
from gateway.adapters.sqlite.recent import RecentHistories
from recommender.documents import Kind, Side
from recommender.events import Event, EventType, check_events, is_event_id
from recommender.ports import Appended, LogState, SubjectKey

PART = "event log"
SCHEMA = 1
SCAN_BATCH = 10_000  # some 10 MB of events
WRITE_BATCH = 10_000  # events per round of look-ups; a larger append takes several rounds in its one transaction
INLINE_SUBJECTS = 64  # look-ups of some 5 µs each that are not worth a change of thread

# Subjects are numbered, so that the indexes of a million events stay small enough to be cached. An event id is found
# by 64 bits of its hash and then compared whole: an index of the ids themselves would be five times the size, and an
# import writes most of its pages again with every batch. Indexes are split by what is asked for: a talent has a
# hundred times as many impressions as deeds, and a history without impressions must not pass over them.
_DDL = (
    """CREATE TABLE subjects (
        number INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL DEFAULT 0,
        UNIQUE (kind, id)
    )""",
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id_hash INTEGER NOT NULL,
        event_id TEXT NOT NULL,
        actor TEXT NOT NULL,
        type TEXT NOT NULL,
        talent INTEGER NOT NULL,
        job INTEGER NOT NULL,
        occurred_at_ms INTEGER,
        value REAL,
        recommendation_id TEXT
    )""",
    "CREATE INDEX events_by_id ON events (id_hash)",
    "CREATE INDEX talent_deeds ON events (talent, seq) WHERE type <> 'IMPRESSION'",
    "CREATE INDEX talent_impressions ON events (talent, seq) WHERE type = 'IMPRESSION'",
    "CREATE INDEX job_deeds ON events (job, seq) WHERE type <> 'IMPRESSION'",
    "CREATE INDEX job_impressions ON events (job, seq) WHERE type = 'IMPRESSION'",
    "CREATE TABLE newest (occurred_at_ms INTEGER)",
    "INSERT INTO newest VALUES (NULL)",
)

_SELECT = """SELECT e.event_id, e.actor, e.type, t.id, j.id, e.occurred_at_ms, e.value, e.recommendation_id, e.seq
    FROM events AS e CROSS JOIN subjects AS t ON t.number = e.talent CROSS JOIN subjects AS j ON j.number = e.job"""
_BY_HASH = f"{_SELECT} WHERE e.id_hash IN (SELECT value FROM json_each(?))"  # noqa: S608 - texts of ours
_SCAN = f"{_SELECT} WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?"
_DEEDS = {
    kind: f"{_SELECT} WHERE e.{kind.value} = ? AND e.seq <= ? AND e.type <> 'IMPRESSION' ORDER BY e.seq"
    for kind in Kind
}
_COUNT = {
    kind: f"SELECT count(*) FROM events WHERE {kind.value} = ? AND type <> 'IMPRESSION'"  # noqa: S608 - names of ours
    for kind in Kind
}
_IMPRESSIONS = {
    kind: f"{_SELECT} WHERE e.{kind.value} = ? AND e.type = 'IMPRESSION' ORDER BY e.seq DESC LIMIT ?" for kind in Kind
}
_INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NUMBERS = "SELECT id, number FROM subjects WHERE kind = ? AND id IN (SELECT value FROM json_each(?))"
_VERSION = "SELECT number, version FROM subjects WHERE kind = ? AND id = ?"

_ACTORS = {side.value: side for side in Side}
_TYPES = {kind.value: kind for kind in EventType}
_Row = tuple[str, str, str, str, str, int | None, float | None, str | None, int]


class SqliteEventLog:
    """`recommender.ports.EventLog` over SQLite. Ids are compared byte by byte."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._group = GroupCommit(database, _append_all)
        self._recent = RecentHistories()

    @classmethod
    def open(cls, path: Path | str) -> SqliteEventLog:
        """Open the log, creating it when it isn't there."""
        return cls(Database.open(path, part=PART, schema=SCHEMA, ddl=_DDL, synchronous="FULL"))

    def close(self) -> None:
        """Finish what was handed in, then close the file."""
        self._group.close()
        self._database.close()

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """See the port. Raises BadInputError, and writes nothing, when an event cannot be kept as it is."""
        check_events(events)
        return await self._group.submit(events) if events else []

    async def history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool | int = False
    ) -> list[list[Event]]:
        """See the port."""
        if until_seq is not None or impressions or len(subjects) > INLINE_SUBJECTS:
            return await asyncio.to_thread(self._history, subjects, until_seq, impressions)
        state = self._database.state()  # from before anything is read
        known = [self._recent.get(subject.kind, subject.id, state) for subject in subjects]
        if any(history is None for history in known):
            known = self._confirmed(subjects, state)
        lacking = [subject for subject, history in zip(subjects, known, strict=True) if history is None]
        if lacking:
            read = dict(zip(lacking, await asyncio.to_thread(self._history, lacking, None, False), strict=True))
            for subject, events in read.items():
                self._recent.put(subject.kind, subject.id, events, state)
            known = [read.get(subject, history) for subject, history in zip(subjects, known, strict=True)]
        return [[] if history is None else history for history in known]

    async def versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        """See the port."""
        if len(subjects) <= INLINE_SUBJECTS:
            return self._versions(subjects)
        return await asyncio.to_thread(self._versions, subjects)

    async def scan(self, after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        """See the port. Ends with what the log held when the scan began."""
        last = self._state().last_seq
        last = last if until_seq is None else min(last, until_seq)
        while events := await asyncio.to_thread(self._range, after_seq, last):
            yield events
            after_seq = events[-1].seq

    async def state(self) -> LogState:
        """See the port. `last_seq` never goes back, whatever is erased: a model's watermark stays meaningful."""
        return self._state()

    def forget_kept(self, kind: Kind, ids: Sequence[str]) -> None:
        """Drop what is kept in memory of subjects that are gone: all histories, as the file is not far."""
        self._recent.clear()

    async def forget(self, subject: SubjectKey) -> int:
        """See the port. No byte of the erased events stays in the file."""
        return await asyncio.to_thread(self._forget, subject)

    def _history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None, impressions: bool | int
    ) -> list[list[Event]]:
        until = _until(until_seq)
        found: list[list[Event]] = []
        with self._database.snapshot() as connection:
            for subject in subjects:
                row = _subject(connection, subject)
                if row is None:
                    found.append([])
                    continue
                events = _events(connection.execute(_DEEDS[subject.kind], (row[0], until)))
                if impressions:
                    newest = -1 if impressions is True else impressions  # SQLite's word for no limit is -1
                    shown = _events(connection.execute(_IMPRESSIONS[subject.kind], (row[0], newest)))
                    events += [event for event in shown if event.seq <= until]
                    events.sort(key=lambda event: event.seq)
                found.append(events)
        return found

    def _confirmed(self, subjects: Sequence[SubjectKey], state: int) -> list[list[Event] | None]:
        """The histories that were read before and are still the same."""
        found: list[list[Event] | None] = []
        with self._database.snapshot() as connection:
            for subject in subjects:
                row = _subject(connection, subject)
                count = 0 if row is None else connection.execute(_COUNT[subject.kind], row[:1]).fetchone()[0]
                mark = (0 if row is None else row[1], count)
                found.append(self._recent.confirm(subject.kind, subject.id, mark, state))
        return found

    def _versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        with self._database.snapshot() as connection:
            rows = [_subject(connection, subject) for subject in subjects]
        return [row[1] if row else 0 for row in rows]

    def _range(self, after_seq: int, last: int) -> list[Event]:
        with self._database.reading() as connection:
            return _events(connection.execute(_SCAN, (after_seq, last, SCAN_BATCH)))

    def _state(self) -> LogState:
        with self._database.snapshot() as connection:
            return LogState(
                _last_seq(connection), connection.execute("SELECT occurred_at_ms FROM newest").fetchone()[0]
            )

    def _forget(self, subject: SubjectKey) -> int:
        mine, other = subject.kind.value, _other(subject.kind).value
        with self._database.writing() as connection:
            row = _subject(connection, subject)
            if row is None:
                return 0
            number = row[0]
            counterparts = connection.execute(f"SELECT DISTINCT {other} FROM events WHERE {mine} = ?", (number,))  # noqa: S608 - names of ours
            touched = counterparts.fetchall()
            count = connection.execute(f"DELETE FROM events WHERE {mine} = ?", (number,)).rowcount  # noqa: S608
            connection.execute("DELETE FROM subjects WHERE number = ?", (number,))
            connection.executemany(
                f"UPDATE subjects SET version = (SELECT ifnull(max(seq), 0) FROM events "  # noqa: S608
                f"WHERE {other} = number AND type <> 'IMPRESSION') WHERE number = ?",
                touched,
            )
            connection.execute("UPDATE newest SET occurred_at_ms = (SELECT max(occurred_at_ms) FROM events)")
        self._database.checkpoint()
        return int(count)


def _append_all(connection: sqlite3.Connection, batches: Sequence[Sequence[Event]]) -> list[list[Appended]]:
    """Write the batches of one group, in order, and say for each event of each what became of it."""
    events = [event for batch in batches for event in batch]
    outcomes: list[Appended] = []
    for start in range(0, len(events), WRITE_BATCH):
        outcomes += _append(connection, events[start : start + WRITE_BATCH])
    ends = iter(outcomes)
    return [[next(ends) for _ in batch] for batch in batches]


def _append(connection: sqlite3.Connection, events: Sequence[Event]) -> list[Appended]:
    hashes = [_hash(event.event_id) for event in events]
    known = {event.event_id: event for event in _events(connection.execute(_BY_HASH, (json.dumps(hashes),)))}
    outcomes: list[Appended] = []
    fresh: list[tuple[int, Event]] = []
    for id_hash, event in zip(hashes, events, strict=True):
        earlier = known.get(event.event_id)
        if earlier is None:
            known[event.event_id] = event
            fresh.append((id_hash, event))
            outcomes.append(Appended.ACCEPTED)
        else:
            same = replace(earlier, seq=0) == replace(event, seq=0)
            outcomes.append(Appended.DUPLICATE if same else Appended.CONFLICT)
    if fresh:
        _insert(connection, fresh)
    return outcomes


def _insert(connection: sqlite3.Connection, fresh: Sequence[tuple[int, Event]]) -> None:
    talents = _numbers(connection, Kind.TALENT, {event.talent_id for _, event in fresh})
    jobs = _numbers(connection, Kind.JOB, {event.job_id for _, event in fresh})
    versions: dict[int, int] = {}
    rows = []
    for seq, (id_hash, event) in enumerate(fresh, _last_seq(connection) + 1):
        talent, job = talents[event.talent_id], jobs[event.job_id]
        if event.type is not EventType.IMPRESSION:
            versions[talent] = versions[job] = seq
        rows.append(
            (
                seq,
                id_hash,
                event.event_id,
                event.actor.value,
                event.type.value,
                talent,
                job,
                event.occurred_at_ms,
                event.value,
                event.recommendation_id,
            )
        )
    connection.executemany(_INSERT, rows)
    connection.executemany(
        "UPDATE subjects SET version = ? WHERE number = ?", [(seq, number) for number, seq in versions.items()]
    )
    times = [event.occurred_at_ms for _, event in fresh if event.occurred_at_ms is not None]
    if times:
        # In SQLite max() of NULL and a number is NULL.
        connection.execute("UPDATE newest SET occurred_at_ms = max(ifnull(occurred_at_ms, ?1), ?1)", (max(times),))


def _numbers(connection: sqlite3.Connection, kind: Kind, ids: set[str]) -> dict[str, int]:
    """The number of each id, giving one to those that have none."""
    numbers = dict(connection.execute(_NUMBERS, (kind.value, json.dumps(list(ids)))).fetchall())
    missing = sorted(ids - numbers.keys())
    if missing:
        connection.executemany(
            "INSERT INTO subjects (kind, id) VALUES (?, ?)", [(kind.value, subject_id) for subject_id in missing]
        )
        numbers.update(connection.execute(_NUMBERS, (kind.value, json.dumps(missing))).fetchall())
    return numbers


def _subject(connection: sqlite3.Connection, subject: SubjectKey) -> tuple[int, int] | None:
    """Number and version of a subject; None for one that has no events, or whose id none can have."""
    if not is_event_id(subject.id):
        return None
    row: tuple[int, int] | None = connection.execute(_VERSION, (subject.kind.value, subject.id)).fetchone()
    return row


def _last_seq(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(row[0]) if row else 0


def _events(rows: Iterable[_Row]) -> list[Event]:
    return [
        Event(event_id, _ACTORS[actor], _TYPES[kind], talent_id, job_id, occurred_at_ms, value, recommendation_id, seq)
        for event_id, actor, kind, talent_id, job_id, occurred_at_ms, value, recommendation_id, seq in rows
    ]


def _hash(event_id: str) -> int:
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "big", signed=True)


def _until(until_seq: int | None) -> int:
    return 2**63 - 1 if until_seq is None else until_seq


def _other(kind: Kind) -> Kind:
    return Kind.JOB if kind is Kind.TALENT else Kind.TALENT
