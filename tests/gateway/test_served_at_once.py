"""A page's row of the serving log is written by who serves it, unless that would keep the event loop waiting."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from gateway.adapters.sqlite import database
from gateway.adapters.sqlite.database import Database
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from recommender.documents import Kind
from recommender.ports import ServedItem, ServedList
from tests.factories import NOW_MS


def served(request_id: str) -> ServedList:
    return ServedList(request_id, NOW_MS, None, Kind.JOB, "m1", None, [ServedItem(1, 7, 0.5, "POPULAR")])


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteServingLog]:
    found = SqliteServingLog.open(tmp_path / "serving.db")
    yield found
    found.close()


async def ids(log: SqliteServingLog, *wanted: str) -> list[bool]:
    return [one is not None for one in await log.get_many(wanted)]


async def test_a_row_is_written_without_a_change_of_threads(
    log: SqliteServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "writing", None)  # what the thread would write by
    await log.append([served("a")])
    assert await ids(log, "a", "b") == [True, False]


async def test_who_would_wait_for_another_process_leaves_the_loop_to_others(
    log: SqliteServingLog, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "serving.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(log.append([served("a")]))
    await asyncio.sleep(0.05)
    assert not writing.done()
    other.execute("ROLLBACK")
    other.close()
    await writing
    assert await ids(log, "a") == [True]


async def test_a_slow_disk_is_left_to_the_thread_for_a_while(
    log: SqliteServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "AT_ONCE_SECONDS", 0.0)  # whatever it takes is too long
    monkeypatch.setattr(database, "waits_of_thread", count().__next__)
    await log.append([served("a")])
    monkeypatch.setattr(Database, "write_at_once", None)
    await log.append([served("b")])
    assert await ids(log, "a", "b") == [True, True]


async def test_who_is_kept_from_its_core_is_not_taken_for_a_slow_disk(
    log: SqliteServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "AT_ONCE_SECONDS", 0.0)
    monkeypatch.setattr(database, "waits_of_thread", lambda: 7)
    await log.append([served("a")])
    monkeypatch.setattr(Database, "writing", None)
    await log.append([served("b")])
    assert await ids(log, "a", "b") == [True, True]


def test_a_thread_knows_how_often_it_has_waited() -> None:
    before = database.waits_of_thread()
    time.sleep(0.001)
    assert database.waits_of_thread() > before


async def test_the_write_ahead_log_is_moved_into_the_file_as_it_grows(
    log: SqliteServingLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_EVERY", 10)
    monkeypatch.setattr(database, "AT_ONCE_SECONDS", 10.0)
    for number in range(200):
        await log.append([served(str(number))])
        await asyncio.sleep(0)
    assert (tmp_path / "serving.db-wal").stat().st_size < 2_000_000
    assert await ids(log, "0", "199") == [True, True]
