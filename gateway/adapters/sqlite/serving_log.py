"""The serving log in one SQLite file: what was shown, one row per served page, for as many days as are kept."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import structlog

from gateway.adapters.sqlite.database import Database
from gateway.adapters.sqlite.pending import Pending
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.ports import ServedItem, ServedList, SubjectKey

PART = "serving log"
SCHEMA = 1
DAY_MS = 86_400_000
SCAN_BATCH = 1_000  # pages of some 20 items each
APPEND_S = 0.1  # longer than any append on a disk that works
MOVED_FROM = 1_000  # lists that a process has appended: together they are a fifth of the work

_log = structlog.get_logger("tandem.serve")

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
    (request_id, served_at_ms, subject_kind, subject_id, kind, model_version, placement, items) VALUES """
COLUMNS = 8  # of a row, but for its number
_ROW = f"({', '.join('?' * COLUMNS)})"
# While a statement runs other threads do, too; if each had one row, they would wait for each other at every row.
AT_ONCE = 64
_INSERT_ONE, _INSERT_MANY = _INSERT + _ROW, _INSERT + ", ".join([_ROW] * AT_ONCE)
# In its place, as it is no longer and no shorter. Where rows go, SQLite moves together those that are left on their
# pages, and leaves copies of them in the file: of one that goes next as well.
_BLANK = """UPDATE served SET subject_id = CAST(zeroblob(length(CAST(subject_id AS BLOB))) AS TEXT),
    items = zeroblob(length(items)) WHERE number = ?"""
_PURGE = """DELETE FROM served WHERE number IN
    (SELECT number FROM served WHERE served_at_ms < ? ORDER BY served_at_ms LIMIT ?)"""


class SqliteServingLog:
    """`recommender.ports.ServingLog` over SQLite. A request id is kept once: the first list under it stays.

    A list that is served is appended to a file beside the database, and moved into it with others: before anything is
    read, and from MOVED_FROM on. Each move also removes lists that are older than `days` before the newest one of it,
    at most twice as many as it adds: the log stays bounded without anybody's doing, and without a great clearing.
    """

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._kept_ms = days * DAY_MS
        self._pending = Pending(database.path, database.part)
        self._appended = 0  # lists, by this process, kept or not
        # Threads of its own: a slow disk may keep them for long, and those of the loop are for what is asked.
        self._appends = ThreadPoolExecutor(max_workers=1, thread_name_prefix="serving-log-appends")
        self._moves = ThreadPoolExecutor(max_workers=1, thread_name_prefix="serving-log-moves")

    @classmethod
    def open(cls, path: Path | str, *, days: int = 30) -> SqliteServingLog:
        """Open the log, creating it when it isn't there. days: how long a list is kept."""
        # NORMAL: a commit is handed to the operating system, without waiting for the disk. A crash of the process
        # loses nothing; a loss of power may lose the last seconds of attribution, never the file.
        return cls(Database.open(path, part=PART, schema=SCHEMA, ddl=_DDL, synchronous="NORMAL"), days)

    def close(self) -> None:
        """Finish what was handed in, then close the files. May be called twice."""
        self._appends.shutdown(wait=True)
        self._moves.shutdown(wait=True, cancel_futures=True)
        if self._appended:
            with suppress(UnavailableError):  # who reads the log next tries it again, and says why it fails
                self.move()
        self._pending.close()
        self._database.close()

    async def append(self, served: Sequence[ServedList]) -> None:
        """See the port. Waits for a slow disk no longer than APPEND_S, then raises UnavailableError."""
        if not served:
            return
        records = [_record_from_list(page) for page in served]
        try:
            if not self._pending.append_at_once(records):
                await self._append_soon(records)
        finally:  # a file that is full takes nothing until it is moved
            self._appended += len(served)
            if self._appended % MOVED_FROM < len(served):
                with suppress(RuntimeError):  # it has been closed
                    self._moves.submit(self._try_to_move)

    async def _append_soon(self, records: Sequence[bytes]) -> None:
        until_s = time.monotonic() + APPEND_S
        try:
            async with asyncio.timeout(APPEND_S):
                await asyncio.get_running_loop().run_in_executor(self._appends, self._pending.append, records, until_s)
        except (TimeoutError, BlockingIOError) as error:
            raise UnavailableError(PART, "writing takes too long") from error

    async def get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        """See the port. Unknown: None."""
        return await asyncio.to_thread(self._get_many, request_ids)

    async def scan(self) -> AsyncIterator[Sequence[ServedList]]:
        """See the port."""
        await asyncio.to_thread(self.move)
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
        self._try_to_move()
        with self._database.reading() as connection:
            found = connection.execute("SELECT DISTINCT subject_id FROM served WHERE subject_kind = ?", (kind.value,))
            return [own_id for (own_id,) in found]

    async def forget(self, subject: SubjectKey, ordinal: int) -> int:
        """Erase every list of a subject, and its rows in the lists of others; how many lists were changed or removed.

        A list that loses a row keeps the ranks of the others. No byte of what is erased stays in the files, but for
        what SQLite has moved within a page before: until something takes its place, a copy may be there of that.
        """
        return await asyncio.to_thread(self._forget, subject, ordinal)

    def _forget(self, subject: SubjectKey, ordinal: int) -> int:
        self._move_taken()  # however little there is: who appends just now is waited for
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
                "SELECT number FROM served WHERE subject_kind = ? AND subject_id = ?", (subject.kind.value, subject.id)
            ).fetchall()
            connection.executemany(_BLANK, own)
            connection.executemany("DELETE FROM served WHERE number = ?", own)
            connection.executemany("UPDATE served SET items = ? WHERE number = ?", left)
        self._database.checkpoint()
        return len(own) + len(left)

    def move(self) -> None:
        """Move what is pending into the database. Raises UnavailableError, and then it stays pending."""
        if not self._pending.is_empty:
            self._move_taken()

    def _try_to_move(self) -> None:
        try:
            self.move()
        except UnavailableError as error:
            _log.warning("served lists wait beside their database", reason=str(error))

    def _move_taken(self) -> None:
        # The right to write comes first: others may have it for long, and meanwhile lists are appended.
        with ExitStack() as until_committed, self._database.writing() as connection:
            self._insert(connection, until_committed.enter_context(self._pending.taken()))
        self._database.checkpoint(waits=False)

    def _insert(self, connection: sqlite3.Connection, records: Sequence[bytes]) -> None:
        rows = [row for row in map(_row_from_record, records) if row is not None]
        if not rows:
            return
        in_groups = len(rows) - len(rows) % AT_ONCE
        for first in range(0, in_groups, AT_ONCE):
            connection.execute(_INSERT_MANY, list(chain.from_iterable(rows[first : first + AT_ONCE])))
        connection.executemany(_INSERT_ONE, rows[in_groups:])
        newest_ms = max(row[1] for row in rows)
        connection.execute(_PURGE, (newest_ms - self._kept_ms, 2 * len(rows)))

    def _get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        self.move()
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
        self.move()
        with self._database.writing() as connection:
            return int(connection.execute("DELETE FROM served WHERE served_at_ms < ?", (before_ms,)).rowcount)


def _record_from_list(page: ServedList) -> bytes:
    """The items as they are kept, then the other columns."""
    columns = (
        page.request_id,
        page.served_at_ms,
        page.subject.kind.value if page.subject else None,
        page.subject.id if page.subject else None,
        page.kind.value,
        page.model_version,
        page.placement,
    )
    return orjson.dumps(_packed(page.items)) + b"\t" + orjson.dumps(columns)


def _row_from_record(record: bytes) -> tuple[Any, ...] | None:
    """None for what a disk has damaged."""
    items, _, columns = record.partition(b"\t")
    try:
        orjson.loads(items)
        row = (*orjson.loads(columns), items)
    except (orjson.JSONDecodeError, TypeError):
        return None
    return row if len(row) == COLUMNS else None


def _packed(items: Iterable[ServedItem]) -> list[tuple[Any, ...]]:
    return [
        (item.rank, item.ordinal, item.score, item.strategy)
        if item.propensity == 1.0
        else (item.rank, item.ordinal, item.score, item.strategy, item.propensity)
        for item in items
    ]


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
