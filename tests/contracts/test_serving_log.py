"""What every serving log promises; see `recommender.ports.ServingLog`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.sqlite.serving_log import SqliteServingLog
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.ports import ServedItem, ServedList, ServingLog, SubjectKey
from tests.factories import DAY_MS, NOW_MS

ADAPTERS = {"sqlite": SqliteServingLog.open}
OpenLog = Callable[[], SqliteServingLog]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serving.db"


@pytest.fixture(params=ADAPTERS)
def open_log(request: pytest.FixtureRequest, path: Path) -> OpenLog:
    """Opens the same log every time it is called."""
    return lambda: ADAPTERS[request.param](path, days=30)


@pytest.fixture
def log(open_log: OpenLog) -> Iterator[SqliteServingLog]:
    opened = open_log()
    yield opened
    opened.close()


def served(request_id: str = "r1", **fields: Any) -> ServedList:
    defaults: dict[str, Any] = {
        "request_id": request_id,
        "served_at_ms": NOW_MS,
        "subject": SubjectKey(Kind.TALENT, "t1"),
        "kind": Kind.JOB,
        "model_version": "v1",
        "placement": None,
        "items": (ServedItem(1, 10, 0.5, "COLLABORATIVE"),),
    }
    return ServedList(**{**defaults, **fields})


async def everything(log: ServingLog) -> list[ServedList]:
    return [page async for batch in log.scan() for page in batch]


async def test_an_empty_log_says_so(log: SqliteServingLog) -> None:
    assert await log.get_many([]) == []
    assert await log.get_many(["r1"]) == [None]
    assert await everything(log) == []
    await log.append([])
    assert await everything(log) == []


async def test_a_list_comes_back_as_it_went_in(log: SqliteServingLog) -> None:
    page = served(
        placement="home · top",
        items=(
            ServedItem(21, 2**32 - 1, 0.1 + 0.2, "HYBRID"),
            ServedItem(23, 1, -1e-300, "POPULAR", propensity=0.25),
        ),
    )
    anonymous = served("r2", subject=None, kind=Kind.TALENT, items=())
    of_a_job = served("r3", subject=SubjectKey(Kind.JOB, "jøb"), kind=Kind.TALENT)
    await log.append([page, anonymous, of_a_job])
    assert await log.get_many(["r3", "r2", "nobody's", "r1", "r1"]) == [of_a_job, anonymous, None, page, page]


async def test_the_first_list_under_a_request_id_stays(log: SqliteServingLog) -> None:
    await log.append([served(), served(model_version="v2")])
    await log.append([served(model_version="v3")])
    assert await everything(log) == [served()]


async def test_a_scan_is_in_order_of_time_and_ties_in_order_of_arrival(log: SqliteServingLog) -> None:
    pages = [served(f"r{n}", served_at_ms=NOW_MS + at) for n, at in enumerate([5, 1, 3, 1, 5, 0])]
    await log.append(pages)
    assert [page.request_id for page in await everything(log)] == ["r5", "r1", "r3", "r2", "r0", "r4"]


async def test_a_scan_over_many_batches_misses_nothing_and_repeats_nothing(log: SqliteServingLog) -> None:
    pages = [served(f"r{n}", served_at_ms=NOW_MS + n // 1_500) for n in range(3_500)]
    await log.append(pages)
    assert await everything(log) == pages


async def test_request_ids_are_compared_byte_by_byte(log: SqliteServingLog) -> None:
    await log.append([served("a"), served("A", model_version="v2")])
    found = await log.get_many(["A", "a", "\ud800", "a "])
    assert [page.model_version if page else None for page in found] == ["v2", "v1", None, None]


async def test_concurrent_appends_are_all_kept(log: SqliteServingLog) -> None:
    await asyncio.gather(*(log.append([served(f"r{n}:{k}") for k in range(3)]) for n in range(100)))
    found = await log.get_many([f"r{n}:{k}" for n in range(100) for k in range(3)])
    assert all(page is not None for page in found)
    assert len(await everything(log)) == 300


async def test_lists_older_than_the_days_kept_leave_as_new_ones_come(log: SqliteServingLog) -> None:
    await log.append([served(f"old{n}", served_at_ms=NOW_MS - 31 * DAY_MS) for n in range(3)])
    await log.append([served("edge", served_at_ms=NOW_MS - 30 * DAY_MS)])
    assert len(await everything(log)) == 4
    await log.append([served("new")])  # takes two old ones with it: twice what it adds
    assert [page.request_id for page in await everything(log)] == ["old2", "edge", "new"]
    await log.append([served("newer")])
    assert [page.request_id for page in await everything(log)] == ["edge", "new", "newer"]


async def test_a_purge_removes_what_was_served_before_a_time(log: SqliteServingLog) -> None:
    await log.append([served(f"r{n}", served_at_ms=NOW_MS + n) for n in range(5)])
    assert await log.purge(NOW_MS + 3) == 3
    assert [page.request_id for page in await everything(log)] == ["r3", "r4"]
    assert await log.purge(NOW_MS + 3) == 0


async def test_what_was_appended_is_there_after_reopening(log: SqliteServingLog, open_log: OpenLog) -> None:
    await log.append([served()])
    log.close()
    again = open_log()
    assert await everything(again) == [served()]
    again.close()


async def test_another_opener_sees_a_list_at_once(log: SqliteServingLog, open_log: OpenLog) -> None:
    other = open_log()
    await log.append([served()])
    assert await other.get_many(["r1"]) == [served()]
    other.close()


async def test_a_subject_of_many_lists_leaves_no_byte(log: SqliteServingLog, path: Path) -> None:
    await log.append([served(f"r{n}", subject=SubjectKey(Kind.TALENT, f"t{n // 400}x")) for n in range(3_000)])
    assert await log.forget(SubjectKey(Kind.TALENT, "t0x"), 99) == 400
    assert await log.subjects(Kind.TALENT) == [f"t{n}x" for n in range(1, 8)]
    assert not any(b"t0x" in one.read_bytes() for one in await asyncio.to_thread(list, path.parent.iterdir()))


async def test_a_closed_log_is_unavailable(log: SqliteServingLog) -> None:
    log.close()
    log.close()
    with pytest.raises(UnavailableError, match="serving log is unavailable: it has been closed"):
        await log.append([served()])
    with pytest.raises(UnavailableError):
        await log.get_many(["r1"])


WRITER = """
import asyncio, sys
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from tests.contracts.test_serving_log import served

async def main():
    log = SqliteServingLog.open(sys.argv[1])
    for number in range(100_000):
        await log.append([served(f"r{number}")])
        print(f"r{number}", flush=True)

asyncio.run(main())
"""


def test_nothing_that_was_acknowledged_is_lost_when_the_writer_is_killed(open_log: OpenLog, path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(500)]
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged += writer.stdout.read().split("\n")[:-1]  # the last line may be cut
    writer.stdout.close()
    writer.wait()
    log = open_log()
    kept = {page.request_id for page in asyncio.run(everything(log))}
    log.close()
    assert len(acknowledged) >= 500
    assert set(acknowledged) <= kept
