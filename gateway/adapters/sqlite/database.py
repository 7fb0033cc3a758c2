"""One SQLite file: how it is opened, read from many threads, written by one at a time, and what its failures mean."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Literal, TypeVar

from recommender.errors import UnavailableError

BUSY_TIMEOUT_MS = 10_000  # an import of another process holds the write lock for a fraction of a second at a time
STATEMENTS_KEPT = 256  # prepared statements per connection
WRITER_CACHE_KIB = (
    32_768  # an import touches pages of every index in each batch; SQLite's own 2 MB thrash from 500k rows
)

Item = TypeVar("Item")
Result = TypeVar("Result")

# What an operator can do about each failure that is not a fault of the program.
LOCKED = f"another process has kept it locked for {BUSY_TIMEOUT_MS // 1000} s; try again"
FULL = "the disk is full; free some space"
_MEANINGS = {
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: "another connection has it locked; try again",
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; move it away or correct the setting",
    sqlite3.SQLITE_CORRUPT: "the database is damaged; restore it from a backup",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its directory exists and may be written",
    sqlite3.SQLITE_READONLY: "it may not be written; check the permissions of the file and its directory",
    sqlite3.SQLITE_PERM: "it may not be opened; check its permissions",
    sqlite3.SQLITE_IOERR: "reading or writing failed; look whether its disk is full or broken",
}


class Database:
    """A SQLite file in WAL mode: any number of readers in any thread, one writer.

    A read sees everything that was committed before it began, by this process or another. Transactions of `writing`
    take the file's write lock at once (BEGIN IMMEDIATE), so that what they read stays true until they commit.
    Everything raises UnavailableError of `part` when the file cannot serve.
    """

    def __init__(self, path: Path, *, part: str, synchronous: Literal["FULL", "NORMAL"]) -> None:
        self.path = path
        self.part = part
        self._synchronous = synchronous
        self._writer: sqlite3.Connection | None = None
        self._write_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._watcher: sqlite3.Connection | None = None
        self._closed = False

    @classmethod
    def open(
        cls, path: Path | str, *, part: str, schema: int, ddl: Sequence[str], synchronous: Literal["FULL", "NORMAL"]
    ) -> Database:
        """Open the file, creating it and its tables (`ddl`, one statement each) when it isn't there.

        part: the port's name for error texts. schema: of the tables, kept in the file; another number is refused.
        synchronous: FULL survives a loss of power, NORMAL a crash of the process.
        """
        database = cls(Path(path), part=part, synchronous=synchronous)
        try:
            with database._failures():
                database._writer = database._connect()
                # What is deleted must be gone from the file: it may have been a person's.
                database._writer.execute("PRAGMA secure_delete = ON")
                database._writer.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
                database._prepare(schema, ddl)
                database._watcher = database._connect()
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close every connection; one that is in use is closed when its user is done. May be called twice."""
        with self._pool_lock:
            self._closed = True
            idle, self._idle = self._idle, []
            if self._watcher is not None:
                idle.append(self._watcher)
                self._watcher = None
        for connection in idle:
            connection.close()
        with self._write_lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def state(self) -> int:
        """A number that is another one once anybody has committed something. Takes some 2 µs."""
        with self._pool_lock:
            if self._watcher is None:
                raise UnavailableError(self.part, "it has been closed")
            try:
                return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:
                with self._failures():
                    raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading, of the calling thread until the block ends. Each statement is its own snapshot."""
        with self._failures():
            connection = self._borrow()
            try:
                yield connection
            finally:
                self._return(connection)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Like `reading`, and every statement of the block sees the same state of the file."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises. Others wait."""
        with self._write_lock, self._failures():
            connection = self._writer
            if connection is None:
                raise UnavailableError(self.part, "it has been closed")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def checkpoint(self, *, waits: bool = True) -> None:
        """Move what was committed from the write-ahead log into the file, and empty the log if nobody reads it.

        waits: for readers, BUSY_TIMEOUT_MS at most; nobody else can write meanwhile.
        """
        with self._write_lock, self._failures():
            if self._writer is not None:
                self._writer.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS if waits else 0}")
                try:
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    self._writer.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

    def _borrow(self) -> sqlite3.Connection:
        with self._pool_lock:
            if self._closed:
                raise UnavailableError(self.part, "it has been closed")
            if self._idle:
                return self._idle.pop()
        connection = self._connect()
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _return(self, connection: sqlite3.Connection) -> None:
        with self._pool_lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,  # transactions are ours: Python's implicit ones begin too late and never IMMEDIATE
            check_same_thread=False,  # a connection has one user at a time, not always the same thread
            cached_statements=STATEMENTS_KEPT,
        )
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection

    def _prepare(self, schema: int, ddl: Sequence[str]) -> None:
        """Bring a new file into being, or check that an old one is ours and of this schema."""
        connection = self._writer
        assert connection is not None  # noqa: S101 - for the type checker
        application = zlib.crc32(self.part.encode()) & 0x7FFF_FFFF  # tells a catalogue from an event log
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = _number(connection, "user_version")
            empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
            if found == 0 and empty:
                for statement in ddl:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {schema}")
                connection.execute(f"PRAGMA application_id = {application}")
            elif _number(connection, "application_id") != application:
                raise UnavailableError(self.part, f"{self.path} holds something else; correct the setting")
            elif found != schema:
                raise UnavailableError(
                    self.part,
                    f"{self.path} has schema {found} and this version reads schema {schema}; "
                    "use the version that wrote it, or import again into an empty data directory",
                )
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        # Kept in the file; a no-op from the second time on. Two first openers may meet here: SQLite answers
        # "locked" at once instead of waiting, so the wait is for the write lock that the other one holds.
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn SQLite's failures into ours; faults of the program (constraints, misuse) stay what they are."""
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            if isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError)):
                raise
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code is its kind
            raise UnavailableError(self.part, f"{self.path}: {_MEANINGS.get(code, str(error))}") from error


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


class GroupCommit(Generic[Item, Result]):
    """Writes what several callers hand in at the same time in one transaction: one wait for the disk instead of many.

    write: applies the items of one group, in order, within its transaction and gives a result for each. When it fails,
    every caller of the group gets the error and nothing of the group was written; so an item must be checked before it
    is handed in.
    """

    def __init__(
        self, database: Database, write: Callable[[sqlite3.Connection, Sequence[Item]], Sequence[Result]]
    ) -> None:
        self._database = database
        self._write = write
        self._lock = threading.Lock()
        self._waiting: list[tuple[Item, Future[Result]]] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=database.part.replace(" ", "-"))
        self._closed = False

    async def submit(self, item: Item) -> Result:
        """Hand in one item; returns what `write` gave for it once its transaction is committed."""
        future: Future[Result] = Future()
        with self._lock:
            if self._closed:
                raise UnavailableError(self._database.part, "it has been closed")
            self._waiting.append((item, future))
            if len(self._waiting) == 1:
                self._thread.submit(self._commit)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Finish what was handed in and stop the thread."""
        with self._lock:
            self._closed = True
        self._thread.shutdown(wait=True)

    def _commit(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        group = [(item, future) for item, future in group if future.set_running_or_notify_cancel()]
        if not group:
            return
        try:
            with self._database.writing() as connection:
                results = self._write(connection, [item for item, _ in group])
        except BaseException as error:  # noqa: BLE001 - it belongs to the callers, who raise it
            for _, future in group:
                future.set_exception(error)
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)
