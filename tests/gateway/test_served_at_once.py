"""A served list is appended to a file by who serves it, unless that would keep the event loop waiting."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.sqlite import pending, serving_log
from gateway.adapters.sqlite.pending import Pending
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.ports import ServedItem, ServedList
from tests.factories import NOW_MS


def served(request_id: str) -> ServedList:
    return ServedList(request_id, NOW_MS, None, Kind.JOB, "m1", None, [ServedItem(1, 7, 0.5, "POPULAR")])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serving.db.pending"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteServingLog]:
    found = SqliteServingLog.open(tmp_path / "serving.db")
    yield found
    found.close()


async def ids(log: SqliteServingLog, *wanted: str) -> list[bool]:
    return [one is not None for one in await log.get_many(wanted)]


def rows_in(tmp_path: Path) -> int:
    with sqlite3.connect(tmp_path / "serving.db") as database:
        return int(database.execute("SELECT count(*) FROM served").fetchone()[0])


async def test_a_list_is_appended_without_a_change_of_threads(
    log: SqliteServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pending, "append", None)  # what the thread would write by
    await log.append([served("a")])
    assert await ids(log, "a", "b") == [True, False]


async def test_who_would_wait_for_another_process_leaves_the_loop_to_others(log: SqliteServingLog, path: Path) -> None:
    await log.append([served("a")])
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writing = asyncio.create_task(log.append([served("b")]))
        await asyncio.sleep(0.05)
        assert not writing.done()
    await writing
    assert await ids(log, "a", "b") == [True, True]


async def test_who_keeps_the_file_from_others_delays_no_list(log: SqliteServingLog, path: Path) -> None:
    await log.append([served("a")])
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="writing takes too long"):
            await log.append([served("b")])


async def test_a_database_that_others_write_to_keeps_no_list_waiting(log: SqliteServingLog, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "serving.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(2 * serving_log.MOVED_FROM):
        await asyncio.wait_for(log.append([served(str(number))]), 1)
    other.execute("ROLLBACK")
    other.close()
    assert await ids(log, "0", str(2 * serving_log.MOVED_FROM - 1)) == [True, True]


async def test_a_slow_disk_is_left_to_the_thread_for_a_while(
    log: SqliteServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "SLOW_S", 0.0)  # whatever it takes is too long
    await log.append([served("a")])
    at_once = Pending._append
    threads = []

    def append(self: Pending, records: list[bytes], lock: int) -> None:
        threads.append(lock)
        at_once(self, records, lock)

    monkeypatch.setattr(Pending, "_append", append)
    await log.append([served("b")])
    await asyncio.sleep(pending.SLOW_FOR_S)
    await log.append([served("c")])
    assert threads == [fcntl.LOCK_SH, fcntl.LOCK_SH | fcntl.LOCK_NB]
    assert await ids(log, "a", "b", "c") == [True, True, True]


async def test_lists_are_moved_into_the_database_as_they_come(log: SqliteServingLog, tmp_path: Path) -> None:
    for number in range(3 * serving_log.MOVED_FROM):
        await log.append([served(str(number))])
    for _ in range(500):
        await asyncio.sleep(0.01)
        if rows_in(tmp_path) == 3 * serving_log.MOVED_FROM:
            return
    pytest.fail("they are still pending")


async def test_a_log_that_is_closed_has_moved_what_it_was_given(log: SqliteServingLog, tmp_path: Path) -> None:
    await log.append([served("a"), served("b")])
    assert rows_in(tmp_path) == 0
    log.close()
    assert rows_in(tmp_path) == 2


async def test_what_a_move_has_not_committed_stays_pending(
    log: SqliteServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append([served("a"), served("b")])
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="now"):
        patch.setattr(SqliteServingLog, "_insert", _raise)
        await log.get_many(["a"])
    assert await ids(log, "a", "b") == [True, True]


def _raise(_log: object, _connection: object, _records: object) -> None:
    raise RuntimeError("not now")


def test_what_was_cut_off_is_passed_over(log: SqliteServingLog, path: Path) -> None:
    asyncio.run(log.append([served("a")]))
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        asyncio.run(log.append([served(f"after {cut}")]))
        assert asyncio.run(ids(log, f"after {cut}")) == [True]
    assert asyncio.run(ids(log, "a")) == [False]
    path.write_bytes(whole[:8] + bytes(9) + whole[17:] + whole)  # a hole, as a loss of power leaves it
    assert asyncio.run(ids(log, "a")) == [True]


def test_a_damaged_record_keeps_no_other_from_the_log(log: SqliteServingLog, path: Path) -> None:
    asyncio.run(log.append([served("a"), served("b"), served("c")]))
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"b",', b'"b"\xff'))
    assert asyncio.run(ids(log, "a", "b", "c")) == [True, False, True]


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from gateway.adapters.sqlite.pending import Pending
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
one = Pending(Path({str(tmp_path / "p")!r}), "serving log")
for number in range(2):
    try:
        one.append([b"x" * 70])
    except Exception as error:
        print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
one.append([b"y"])
with one.taken() as found:
    print([len(record) for record in found])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("UnavailableError serving log is unavailable") and "the disk is full" in first
    assert second == "[70, 1]"


async def test_a_file_that_is_not_emptied_is_full_at_last(
    log: SqliteServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MOST_BYTES", 50)  # less than one list
    await log.append([served("a")])
    with pytest.raises(UnavailableError, match="its database takes nothing"):
        await log.append([served("b")])
    assert await ids(log, "a", "b") == [True, False]
    await log.append([served("b")])


def test_many_processes_append_and_one_of_them_empties(log: SqliteServingLog, tmp_path: Path) -> None:
    script = f"""
import asyncio
from tests.gateway.test_served_at_once import SqliteServingLog, served
async def main(first):
    log = SqliteServingLog.open({str(tmp_path / "serving.db")!r})
    for number in range(1_000):
        await log.append([served(f"{{first}}:{{number}}")])
    log.close()
import sys
asyncio.run(main(sys.argv[1]))
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, name]) for name in "abc"]
    while any(writer.poll() is None for writer in writers):
        asyncio.run(log.get_many(["none"]))
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert all(asyncio.run(ids(log, *(f"{name}:{number}" for name in "abc" for number in range(1_000)))))
