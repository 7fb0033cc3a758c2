"""A served list is appended to a file by who serves it, unless that would keep the event loop waiting."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.adapters.sqlite import pending, serving_log
from gateway.adapters.sqlite.pending import Pending
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.ports import ServedItem, ServedList, SubjectKey
from tests.contracts.test_serving_log import everything
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


def bytes_in(tmp_path: Path) -> int:
    return sum(one.stat().st_size for one in tmp_path.glob("serving.db.pending*"))


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
    await asyncio.to_thread(log._appends.shutdown)
    assert await ids(log, "a", "b") == [True, False]  # what was said not to be kept comes no later


async def test_who_keeps_the_file_from_others_leaves_the_threads_to_them(log: SqliteServingLog, path: Path) -> None:
    await log.append([served("a")])
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        appends = [asyncio.create_task(log.append([served(str(number))])) for number in range(100)]
        await asyncio.sleep(0.02)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: not any(one.done() for one in appends)), 5)
        failures = await asyncio.gather(*appends, return_exceptions=True)
    assert {type(failure) for failure in failures} == {UnavailableError}


async def test_a_process_that_stands_still_is_waited_for_no_longer_than_a_database(
    log: SqliteServingLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "LOCKED_S", 0.05)
    await log.append([served("a")])
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(UnavailableError, match="another process has kept it locked"):
            await log.get_many(["a"])
    assert await ids(log, "a") == [True]


async def test_a_move_waits_for_no_reader(log: SqliteServingLog, tmp_path: Path) -> None:
    await log.append([served("a")])
    await log.get_many(["a"])
    reader = sqlite3.connect(tmp_path / "serving.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM served").fetchone()
    await log.append([served("b")])
    begun_s = time.monotonic()
    assert await ids(log, "b") == [True]
    assert time.monotonic() - begun_s < 3  # a checkpoint that waits for readers gives up after 10
    reader.close()


async def test_an_erasure_waits_for_who_appends_just_then(log: SqliteServingLog, path: Path) -> None:
    await log.append([served("a")])
    record = (await asyncio.to_thread(path.read_bytes)).replace(b'"a"', b'"b"')
    await log.get_many(["a"])
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        erasing = asyncio.create_task(log.forget(SubjectKey(Kind.JOB, "j"), 7))
        await asyncio.sleep(0.05)
        other.write(record)
    assert await erasing == 2
    assert [page.items for page in await log.get_many(["a", "b"]) if page] == [(), ()]


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

    def append(self: Pending, records: list[bytes], until_s: float) -> None:
        threads.append(threading.current_thread() is threading.main_thread())
        at_once(self, records, until_s)

    monkeypatch.setattr(Pending, "_append", append)
    await log.append([served("b")])
    await asyncio.sleep(pending.SLOW_FOR_S)
    await log.append([served("c")])
    assert threads == [False, True]
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


@pytest.mark.parametrize(("good", "bad"), [(b'"b",', b'"b"\xff'), (b"0.25", b"0.x5"), (b'["b",', b"[    ")])
def test_a_damaged_record_keeps_no_other_from_the_log(
    log: SqliteServingLog, path: Path, good: bytes, bad: bytes
) -> None:
    of_b = [ServedItem(1, 7, 0.25, "POPULAR")]
    asyncio.run(log.append([served("a"), dataclasses.replace(served("b"), items=of_b), served("c")]))
    text = path.read_bytes()
    assert good in text
    path.write_bytes(text.replace(good, bad) + b"\x1e[]\t7\n")
    assert asyncio.run(ids(log, "a", "b", "c")) == [True, False, True]
    assert len(asyncio.run(everything(log))) == 2


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from gateway.adapters.sqlite.pending import Pending
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
path = Path({str(tmp_path / "p")!r})
path.touch()
one = Pending(path, "serving log")
for number in range(2):
    try:
        one.append([b"x" * 70], 0)
    except Exception as error:
        print(type(error).__name__, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
one.append([b"y"], 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
try:
    with one.taken() as found:
        print("it was not full")
except Exception as error:
    print(type(error).__name__, error, path.with_name("p.pending.taken").stat().st_size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with one.taken() as found:
    print([len(record) for record in found])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *full, last = done.stdout.splitlines()
    assert len(full) == 2
    assert all("UnavailableError serving log is unavailable" in one and "the disk is full" in one for one in full)
    assert full[1].endswith(" 0")  # bytes that a move which failed has left there
    assert last == "[70, 1]"


async def test_a_file_that_is_not_emptied_is_full_at_last(
    log: SqliteServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MOST_BYTES", 50)  # less than one list
    await log.append([served("a")])
    with pytest.raises(UnavailableError, match="its database takes nothing"):
        await log.append([served("b")])
    assert await ids(log, "a", "b") == [True, False]
    await log.append([served("b")])


async def test_a_database_that_takes_nothing_makes_neither_file_grow_for_ever(
    log: SqliteServingLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MOST_BYTES", 3_000)
    monkeypatch.setattr(serving_log, "MOVED_FROM", 2)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteServingLog, "_insert", _unavailable)
        for number in range(100):
            with suppress(UnavailableError):
                await log.append([served(str(number))])
            await asyncio.to_thread(log._try_to_move)
        assert 3_000 < bytes_in(path.parent) < 3_500
    for _ in range(2):  # which are not kept; and the second has what is there moved
        with pytest.raises(UnavailableError, match="is full"):
            await log.append([served("x")])
    for _ in range(500):
        if bytes_in(path.parent) == 0:
            return
        await asyncio.sleep(0.01)
    pytest.fail("what was full is full for ever")


def _unavailable(_log: object, _connection: object, _records: object) -> None:
    raise UnavailableError("serving log", "the database is damaged")


async def test_a_log_that_cannot_be_moved_is_opened_all_the_same(path: Path) -> None:
    first = SqliteServingLog.open(path.with_name("serving.db"))
    await first.append([served("a")])
    taken = path.with_name("serving.db.pending.taken")
    taken.mkdir()
    first.close()
    log = SqliteServingLog.open(path.with_name("serving.db"))
    await log.append([served("b")])
    assert await log.subjects(Kind.JOB) == []
    with pytest.raises(UnavailableError, match=r"pending\.taken: Is a directory"):
        await log.get_many(["a"])
    taken.rmdir()
    assert await ids(log, "a", "b") == [True, True]
    log.close()


@pytest.mark.parametrize("mode", [0o600, 0o660])
async def test_both_files_may_be_read_by_whom_their_database_may(path: Path, mode: int) -> None:
    database = path.with_name("serving.db")
    SqliteServingLog.open(database).close()
    database.chmod(mode)
    log = SqliteServingLog.open(database)
    await log.append([served("a")])
    await log.get_many(["a"])
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {mode}
    log.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
async def test_what_root_makes_is_of_whom_the_database_is(path: Path) -> None:
    database = path.with_name("serving.db")
    SqliteServingLog.open(database).close()
    os.chown(database, 1_234, 1_234)
    log = SqliteServingLog.open(database)
    await log.append([served("a")])
    await log.get_many(["a"])
    assert {(one.stat().st_uid, one.stat().st_gid) for one in path.parent.iterdir()} == {(1_234, 1_234)}
    log.close()


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
