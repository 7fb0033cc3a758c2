"""The serving log in one SQLite file: what was shown, one row per served page, for as many days as are kept."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from gateway.adapters.sqlite.database import Database, GroupCommit
from recommender.documents import Kind
from recommender.ports import ServedItem, ServedList, SubjectKey

PART = "serving log"
SCHEMA = 1
DAY_MS = 86_400_000
SCAN_BATCH = 1_000  # pages of some 20 items each

# `items` is JSON, a row per item: rank, ordinal, score, strategy, and the propensity where it isn't 1.
_DDL = (
    """CREATE TABLE served (
        number INTEGER PRIMARY KEY,
        request_id TEXT NOT NULL UNIQUE,
        served_at_ms INTEGER NOT NULL,
        subject_kind TEXT,
        subject_id TEXT,
        kind TEXT NOT NULL,
        model_version TEXT NOT NULL,
        placement TEXT,
        items BLOB NOT NULL
    )""",
    "CREATE INDEX served_by_time ON served (served_at_ms)",
)
_SELECT = """SELECT number, request_id, served_at_ms, subject_kind, subject_id, kind, model_version, placement, items
    FROM served"""
_SCAN = f"{_SELECT} WHERE (served_at_ms, number) > (?, ?) ORDER BY served_at_ms, number LIMIT ?"
_INSERT = """INSERT OR IGNORE INTO served
    (request_id, served_at_ms, subject_kind, subject_id, kind, model_version, placement, items)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_PURGE = """DELETE FROM served WHERE number IN
    (SELECT number FROM served WHERE served_at_ms < ? ORDER BY served_at_ms LIMIT ?)"""


class SqliteServingLog:
    """`recommender.ports.ServingLog` over SQLite. A request id is kept once: the first list under it stays.

    Every append also removes a few lists that are older than `days` before the newest one of it, at most twice as many
    as it adds: the log stays bounded without anybody's doing, and no request waits for a great clearing.
    """

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._kept_ms = days * DAY_MS
        self._group = GroupCommit(database, self._append_all)

    @classmethod
    def open(cls, path: Path | str, *, days: int = 30) -> SqliteServingLog:
        """Open the log, creating it when it isn't there. days: how long a list is kept."""
        # NORMAL: a commit is handed to the operating system, without waiting for the disk. A crash of the process
        # loses nothing; a loss of power may lose the last seconds of attribution, never the file.
        return cls(Database.open(path, part=PART, schema=SCHEMA, ddl=_DDL, synchronous="NORMAL"), days)

    def close(self) -> None:
        """Finish what was handed in, then close the file."""
        self._group.close()
        self._database.close()

    async def append(self, served: Sequence[ServedList]) -> None:
        """See the port."""
        if served:
            await self._group.submit([_row_from_list(page) for page in served])

    async def get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        """See the port. Unknown: None."""
        return await asyncio.to_thread(self._get_many, request_ids)

    async def scan(self) -> AsyncIterator[Sequence[ServedList]]:
        """See the port."""
        after = (-(2**63), 0)
        while rows := await asyncio.to_thread(self._range, after):
            yield [_list_from_row(row) for row in rows]
            after = (rows[-1][2], rows[-1][0])

    async def purge(self, before_ms: int) -> int:
        """Remove every list that was served before a time; returns how many."""
        return await asyncio.to_thread(self._purge, before_ms)

    async def subjects(self, kind: Kind) -> list[str]:
        """The ids of everybody of a kind of whose lists some are kept."""
        return await asyncio.to_thread(self._subjects, kind)

    def _subjects(self, kind: Kind) -> list[str]:
        with self._database.reading() as connection:
            found = connection.execute("SELECT DISTINCT subject_id FROM served WHERE subject_kind = ?", (kind.value,))
            return [own_id for (own_id,) in found]

    async def forget(self, subject: SubjectKey, ordinal: int) -> int:
        """Erase every list of a subject, and its rows in the lists of others; how many lists were changed or removed.

        A list that loses a row keeps the ranks of the others. No byte of what is erased stays in the file.
        """
        return await asyncio.to_thread(self._forget, subject, ordinal)

    def _forget(self, subject: SubjectKey, ordinal: int) -> int:
        # Looked for while others write: reading a month of lists takes its time. What is served meanwhile is without.
        left: list[tuple[bytes, int]] = []
        after = (-(2**63), 0)
        while rows := self._range(after):
            for number, kind, items in ((row[0], row[5], row[8]) for row in rows):
                packed = orjson.loads(items) if kind == subject.kind.value else ()
                kept = [item for item in packed if item[1] != ordinal]
                if len(kept) < len(packed):
                    left.append((orjson.dumps(kept), number))
            after = (rows[-1][2], rows[-1][0])
        with self._database.writing() as connection:
            own = connection.execute(
                "DELETE FROM served WHERE subject_kind = ? AND subject_id = ?", (subject.kind.value, subject.id)
            ).rowcount
            connection.executemany("UPDATE served SET items = ? WHERE number = ?", left)
        self._database.checkpoint()
        return int(own) + len(left)

    def _append_all(self, connection: sqlite3.Connection, batches: Sequence[list[tuple[Any, ...]]]) -> list[None]:
        rows = [row for batch in batches for row in batch]
        connection.executemany(_INSERT, rows)
        newest_ms = max(row[1] for row in rows)
        connection.execute(_PURGE, (newest_ms - self._kept_ms, 2 * len(rows)))
        return [None] * len(batches)

    def _get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        # An id with a lone surrogate is none of ours, and SQLite cannot be asked for it.
        wanted = [request_id.encode(errors="replace").decode() for request_id in request_ids]
        found: dict[str, ServedList] = {}
        with self._database.snapshot() as connection:
            for request_id in set(wanted):
                row = connection.execute(f"{_SELECT} WHERE request_id = ?", (request_id,)).fetchone()
                if row is not None:
                    found[request_id] = _list_from_row(row)
        return [found.get(request_id) for request_id in request_ids]

    def _range(self, after: tuple[int, int]) -> list[tuple[Any, ...]]:
        with self._database.reading() as connection:
            return connection.execute(_SCAN, (*after, SCAN_BATCH)).fetchall()

    def _purge(self, before_ms: int) -> int:
        with self._database.writing() as connection:
            return int(connection.execute("DELETE FROM served WHERE served_at_ms < ?", (before_ms,)).rowcount)


def _row_from_list(page: ServedList) -> tuple[Any, ...]:
    return (
        page.request_id,
        page.served_at_ms,
        page.subject.kind.value if page.subject else None,
        page.subject.id if page.subject else None,
        page.kind.value,
        page.model_version,
        page.placement,
        orjson.dumps(list(_packed(page.items))),
    )


def _packed(items: Iterable[ServedItem]) -> Iterable[list[Any]]:
    for item in items:
        row = [item.rank, item.ordinal, item.score, item.strategy]
        yield row if item.propensity == 1.0 else [*row, item.propensity]


def _list_from_row(row: tuple[Any, ...]) -> ServedList:
    _, request_id, served_at_ms, subject_kind, subject_id, kind, model_version, placement, items = row
    return ServedList(
        request_id=request_id,
        served_at_ms=served_at_ms,
        subject=SubjectKey(Kind(subject_kind), subject_id) if subject_kind is not None else None,
        kind=Kind(kind),
        model_version=model_version,
        placement=placement,
        items=tuple(ServedItem(*item) for item in orjson.loads(items)),
    )
