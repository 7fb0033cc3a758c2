"""What every store over SQLite rests on: one way to open, one writer, any number of readers, groups of commits."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.adapters.sqlite.database import Database, GroupCommit
from recommender.errors import UnavailableError

DDL = ("CREATE TABLE kept (n INTEGER PRIMARY KEY)",)


def open_database(path: Path) -> Database:
    return Database.open(path, part="part", schema=1, ddl=DDL, synchronous="FULL")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "kept.db")
    yield opened
    opened.close()


def numbers(database: Database) -> list[int]:
    with database.reading() as connection:
        return [row[0] for row in connection.execute("SELECT n FROM kept ORDER BY n")]


def insert(connection: sqlite3.Connection, items: Sequence[int]) -> list[int]:
    connection.executemany("INSERT INTO kept VALUES (?)", [(item,) for item in items])
    return [-item for item in items]


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        raise ZeroDivisionError
    assert numbers(database) == []
    with database.writing() as connection:
        connection.execute("INSERT INTO kept VALUES (2)")
    assert numbers(database) == [2]


def test_a_fault_of_the_program_is_not_called_unavailable(database: Database) -> None:
    with pytest.raises(sqlite3.IntegrityError), database.writing() as connection:
        insert(connection, [1, 1])
    assert numbers(database) == []


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(UnavailableError), database.reading() as connection:
        connection.execute("INSERT INTO kept VALUES (1)")


def test_a_snapshot_sees_one_state_and_a_reader_the_newest(database: Database) -> None:
    with database.snapshot() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        with database.writing() as writer:
            insert(writer, [1])
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert numbers(database) == [1]


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.writing() as connection:
        insert(connection, [1])
        with ThreadPoolExecutor() as threads:
            assert threads.submit(numbers, database).result(timeout=5) == []


def test_writers_of_many_threads_take_turns(database: Database) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 20):
            with database.writing() as connection:
                (count,) = connection.execute("SELECT count(*) FROM kept").fetchone()
                insert(connection, [number])
                assert connection.execute("SELECT count(*) FROM kept").fetchone() == (count + 1,)

    with ThreadPoolExecutor(max_workers=8) as threads:
        list(threads.map(write, range(0, 160, 20)))
    assert numbers(database) == list(range(160))


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def open_and_write(number: int) -> None:
        start.wait()
        database = open_database(tmp_path / "new.db")
        with database.writing() as connection:
            insert(connection, [number])
        database.close()

    with ThreadPoolExecutor(max_workers=8) as threads:
        list(threads.map(open_and_write, range(8)))
    database = open_database(tmp_path / "new.db")
    assert numbers(database) == list(range(8))
    database.close()


def test_a_connection_in_use_while_closing_is_closed_by_its_user(database: Database, tmp_path: Path) -> None:
    with database.reading() as connection:
        database.close()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")
    assert not list(tmp_path.glob("*-wal"))


async def test_what_is_handed_in_together_is_one_transaction(database: Database) -> None:
    groups: list[list[int]] = []
    begun, gate = threading.Event(), threading.Event()

    def write(connection: sqlite3.Connection, items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        begun.set()
        gate.wait(5)
        return insert(connection, items)

    group = GroupCommit(database, write)
    first = asyncio.ensure_future(group.submit(0))
    await asyncio.to_thread(begun.wait, 5)
    others = [asyncio.ensure_future(group.submit(number)) for number in range(1, 50)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(first, *others) == [-number for number in range(50)]
    assert groups == [[0], list(range(1, 50))]
    assert numbers(database) == list(range(50))
    group.close()


async def test_a_group_that_fails_fails_for_each_and_the_next_goes_on(database: Database) -> None:
    group = GroupCommit(database, insert)
    await group.submit(1)
    results = await asyncio.gather(group.submit(1), return_exceptions=True)
    assert isinstance(results[0], sqlite3.IntegrityError)
    assert await group.submit(2) == -2
    assert numbers(database) == [1, 2]
    group.close()


async def test_who_gives_up_waiting_does_not_disturb_the_others(database: Database) -> None:
    gate = threading.Event()

    def write(connection: sqlite3.Connection, items: Sequence[int]) -> list[int]:
        gate.wait(5)
        return insert(connection, items)

    group = GroupCommit(database, write)
    tasks = [asyncio.ensure_future(group.submit(number)) for number in range(6)]
    await asyncio.sleep(0.01)
    for task in tasks[1::2]:
        task.cancel()
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [results[n] for n in (0, 2, 4)] == [0, -2, -4]
    assert all(isinstance(results[n], asyncio.CancelledError) for n in (1, 3, 5))
    assert {0, 2, 4} <= set(numbers(database))
    group.close()


async def test_closing_finishes_what_was_handed_in(database: Database) -> None:
    group = GroupCommit(database, insert)
    tasks = [asyncio.ensure_future(group.submit(number)) for number in range(10)]
    await asyncio.sleep(0)
    group.close()
    assert len(await asyncio.gather(*tasks)) == 10
    with pytest.raises(UnavailableError, match="part is unavailable: it has been closed"):
        await group.submit(99)
    assert numbers(database) == list(range(10))
