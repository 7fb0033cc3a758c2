"""What every event log promises; see `recommender.ports.EventLog`."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.redis.events import RedisEventLog
from gateway.adapters.redis.server import Timeouts
from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.compaction import CompactedEventLog
from recommender.documents import Kind
from recommender.errors import BadInputError, UnavailableError
from recommender.events import Event, EventType
from recommender.ports import Appended, EventLog, LogState, SubjectKey
from tests.factories import DAY_MS, NOW_MS, event
from tests.servers import RedisServer, running_redis, running_redis_cluster

A, D, C = Appended.ACCEPTED, Appended.DUPLICATE, Appended.CONFLICT
T1, J1 = SubjectKey(Kind.TALENT, "t1"), SubjectKey(Kind.JOB, "j1")

PATIENT = Timeouts(connect_ms=5_000, read_ms=5_000)  # a loaded machine is no dead server


class OpenEventLog(EventLog, Protocol):
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where one log is kept, and how to find its bytes on the disk."""

    adapter: str
    arguments: tuple[str, ...]
    files: Path
    pattern: str

    def open(self) -> OpenEventLog:
        return OPENERS[self.adapter](*self.arguments)

    def written(self) -> bytes:
        places = [self.files.glob(self.pattern)]
        if self.adapter == "redis, compacted":
            places.append(Path(self.arguments[2]).glob("*"))
        return b"".join(file.read_bytes() for place in places for file in sorted(place))


class CompactsBehindEachAppend(CompactedEventLog):
    """Everything is archived and trimmed at once, so that reading has to do with the archive alone."""

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        outcomes = await super().append(events)
        await self.compact(NOW_MS, 0)
        return outcomes


OPENERS: dict[str, Callable[..., OpenEventLog]] = {
    "sqlite": SqliteEventLog.open,
    "redis": lambda url, namespace: RedisEventLog.open(url, namespace=namespace, timeouts=PATIENT),
    "redis, compacted": lambda url, namespace, archive: CompactsBehindEachAppend.open(
        url, namespace=namespace, archive=Path(archive), timeouts=PATIENT
    ),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RedisServer]]:
    """The compacted log is kept by a node that owns all slots of a cluster: the keys of a log need no more than one."""
    with (
        running_redis(tmp_path_factory.mktemp("redis")) as single,
        running_redis_cluster(tmp_path_factory.mktemp("cluster")) as node,
    ):
        yield {"redis": single, "redis, compacted": node}


def new_place(adapter: str, directory: Path, servers: Mapping[str, RedisServer]) -> Place:
    if adapter == "sqlite":
        return Place(adapter, (str(directory / "events.db"),), directory, "events.db*")
    server, namespace = servers[adapter], uuid.uuid4().hex
    archive = (str(directory / "archive"),) if adapter == "redis, compacted" else ()
    return Place(adapter, (server.url, namespace, *archive), server.directory, "appendonlydir/*")


@pytest.fixture(params=OPENERS)
def place(request: pytest.FixtureRequest, tmp_path: Path, servers: dict[str, RedisServer]) -> Place:
    return new_place(request.param, tmp_path, servers)


@pytest.fixture
def log(place: Place) -> Iterator[OpenEventLog]:
    opened = place.open()
    yield opened
    opened.close()


async def everything(log: EventLog, after_seq: int = 0, until_seq: int | None = None) -> list[Event]:
    return [found async for batch in log.scan(after_seq, until_seq) for found in batch]


async def test_an_empty_log_says_so(log: OpenEventLog) -> None:
    assert await log.state() == LogState(0, None)
    assert await log.history([T1]) == [[]]
    assert await log.versions([T1, J1]) == [0, 0]
    assert await everything(log) == []
    assert await log.append([]) == []
    assert await log.history([]) == []
    assert await log.versions([]) == []


async def test_an_event_comes_back_as_it_went_in_with_its_place_in_the_log(log: OpenEventLog) -> None:
    whole = event(EventType.HIRE, event_id="e1", value=2.5, recommendation_id="r1.3", occurred_at_ms=-5)
    bare = event(EventType.VIEW, event_id="e2", occurred_at_ms=None)
    assert await log.append([whole, bare]) == [A, A]
    assert await log.history([T1]) == [[replace(whole, seq=1), replace(bare, seq=2)]]


async def test_histories_come_in_the_order_of_the_subjects_and_of_the_log(log: OpenEventLog) -> None:
    late, early = event(event_id="late"), event(event_id="early", job_id="j2", occurred_at_ms=NOW_MS - DAY_MS)
    other = event(event_id="other", talent_id="t2")
    await log.append([late, early, other])
    keys = [J1, T1, SubjectKey(Kind.TALENT, "nobody"), J1, SubjectKey(Kind.JOB, "t1")]
    found = [[e.event_id for e in events] for events in await log.history(keys)]
    assert found == [["late", "other"], ["late", "early"], [], ["late", "other"], []]


async def test_events_of_one_moment_keep_the_order_in_which_they_came(log: OpenEventLog) -> None:
    ids = [f"e{number}" for number in (5, 3, 9, 1, 7)]
    await log.append([event(event_id=event_id, job_id=event_id) for event_id in ids])
    assert [e.event_id for e in (await log.history([T1]))[0]] == ids
    assert [e.event_id for e in await everything(log)] == ids


async def test_the_same_event_again_is_a_duplicate_and_changes_nothing(log: OpenEventLog) -> None:
    first = event(event_id="e1", value=2.0)
    assert await log.append([first]) == [A]
    assert await log.append([first, replace(first, seq=77)]) == [D, D]
    assert await log.state() == LogState(1, NOW_MS)
    assert len(await everything(log)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"type": EventType.APPLY},
        {"talent_id": "t2"},
        {"job_id": "j2"},
        {"occurred_at_ms": None},
        {"occurred_at_ms": NOW_MS + 1},
        {"value": 1.0},
        {"recommendation_id": "r.1"},
    ],
    ids=str,
)
async def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(
    log: OpenEventLog, change: dict[str, Any]
) -> None:
    first = event(event_id="e1")
    await log.append([first])
    assert await log.append([replace(first, **change)]) == [C]
    assert await everything(log) == [replace(first, seq=1)]
    assert await log.versions([SubjectKey(Kind.TALENT, "t2"), SubjectKey(Kind.JOB, "j2")]) == [0, 0]


async def test_duplicates_and_conflicts_are_found_inside_one_batch(log: OpenEventLog) -> None:
    first = event(event_id="e1")
    outcome = await log.append([first, first, replace(first, value=3.0), event(event_id="e2"), first])
    assert outcome == [A, D, C, A, D]
    assert [e.seq for e in await everything(log)] == [1, 2]


async def test_duplicates_are_found_across_appends_that_run_at_the_same_time(log: OpenEventLog) -> None:
    outcomes = await asyncio.gather(*(log.append([event(event_id="e1")]) for _ in range(50)))
    assert sorted(str(outcome[0]) for outcome in outcomes) == [str(A)] + 49 * [str(D)]


async def test_an_append_larger_than_any_inner_batch_is_one_append(log: OpenEventLog) -> None:
    events = [event(event_id=f"e{number % 24_000}", job_id=f"j{number % 24_000}") for number in range(25_000)]
    outcome = await log.append(events)
    assert outcome == 24_000 * [A] + 1_000 * [D]
    assert (await log.state()).last_seq == 24_000
    found = await everything(log)
    assert [e.seq for e in found] == list(range(1, 24_001))
    assert len((await log.history([T1]))[0]) == 24_000


async def test_concurrent_appends_keep_each_caller_s_order_and_lose_nothing(log: OpenEventLog) -> None:
    batches = [[event(event_id=f"{caller}:{n}", talent_id=f"t{caller}") for n in range(20)] for caller in range(40)]
    outcomes = await asyncio.gather(*(log.append(batch) for batch in batches))
    assert outcomes == [20 * [A]] * 40
    histories = await log.history([SubjectKey(Kind.TALENT, f"t{caller}") for caller in range(40)])
    assert [[e.event_id for e in history] for history in histories] == [[e.event_id for e in b] for b in batches]
    assert [e.seq for e in await everything(log)] == list(range(1, 801))


async def test_ids_are_compared_byte_by_byte(log: OpenEventLog) -> None:
    # Case, composed and decomposed é, blanks, a number's text and something of four bytes: all different people.
    ids = ["a", "A", "\u00e9", "e\u0301", " a", "a ", "1", "01", "1.0", "𝕏" * 64, "'; DROP TABLE events; --", "ß", "ss"]
    outcomes = await log.append([event(event_id=talent_id, talent_id=talent_id) for talent_id in ids])
    assert outcomes == len(ids) * [A]
    keys = [SubjectKey(Kind.TALENT, talent_id) for talent_id in ids]
    assert [[e.talent_id for e in history] for history in await log.history(keys)] == [[i] for i in ids]
    assert await log.versions(keys) == list(range(1, len(ids) + 1))


@pytest.mark.parametrize("bad", ["", "a\0b", "\ud800", "x" * 257, "é" * 129], ids=ascii)
@pytest.mark.parametrize("field", ["event_id", "talent_id", "job_id", "recommendation_id"])
async def test_an_id_that_cannot_be_kept_is_refused_and_nothing_of_the_batch_is_written(
    log: OpenEventLog, field: str, bad: str
) -> None:
    parts: dict[str, Any] = {"event_id": "e2", field: bad}
    with pytest.raises(BadInputError, match=rf"^event 1: {field} must be 1 to 256 bytes of UTF-8 without NUL$"):
        await log.append([event(event_id="good"), event(**parts)])
    assert await everything(log) == []


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_value_that_is_no_positive_number_is_refused(log: OpenEventLog, value: float) -> None:
    with pytest.raises(BadInputError, match="value must be a finite number above 0"):
        await log.append([event(value=value)])


async def test_a_time_beyond_64_bits_is_refused(log: OpenEventLog) -> None:
    with pytest.raises(BadInputError, match="occurred_at_ms must fit in 64 bits"):
        await log.append([event(occurred_at_ms=2**63)])
    assert await log.append([event(occurred_at_ms=2**63 - 1)]) == [A]


async def test_an_id_that_nobody_can_have_is_unknown(log: OpenEventLog) -> None:
    await log.append([event()])
    keys = [SubjectKey(Kind.TALENT, "\ud800"), SubjectKey(Kind.TALENT, "t1\0"), SubjectKey(Kind.TALENT, "")]
    assert await log.history(keys) == [[], [], []]
    assert await log.versions(keys) == [0, 0, 0]


async def test_a_history_ends_at_until_seq(log: OpenEventLog) -> None:
    await log.append([event(event_id=f"e{n}") for n in range(1, 6)])
    for until, expected in ((0, []), (3, [1, 2, 3]), (5, [1, 2, 3, 4, 5]), (99, [1, 2, 3, 4, 5])):
        assert [e.seq for e in (await log.history([T1], until))[0]] == expected


async def test_impressions_come_only_when_asked_for_and_in_their_place(log: OpenEventLog) -> None:
    kinds = [EventType.VIEW, EventType.IMPRESSION, EventType.APPLY, EventType.IMPRESSION]
    await log.append([event(kind, event_id=f"e{n}") for n, kind in enumerate(kinds)])
    assert [[e.seq for e in found] for found in await log.history([T1, J1])] == [[1, 3], [1, 3]]
    assert [[e.seq for e in found] for found in await log.history([T1, J1], impressions=True)] == 2 * [[1, 2, 3, 4]]
    assert [e.seq for e in (await log.history([T1], 2, impressions=True))[0]] == [1, 2]


async def test_only_so_many_of_the_newest_impressions_come_when_that_is_asked(log: OpenEventLog) -> None:
    await log.append([event(EventType.IMPRESSION, event_id=f"shown {n}") for n in range(1, 6)])
    await log.append([event(EventType.VIEW), event(EventType.IMPRESSION, event_id="shown 6")])
    for most, seqs in ((1, [6, 7]), (3, [4, 5, 6, 7]), (6, [1, 2, 3, 4, 5, 6, 7]), (99, [1, 2, 3, 4, 5, 6, 7])):
        assert [[e.seq for e in one] for one in await log.history([T1, J1], impressions=most)] == [seqs, seqs]
    assert [e.seq for e in (await log.history([T1], 5, impressions=3))[0]] == [4, 5]


async def test_a_version_is_the_newest_deed_and_impressions_do_not_raise_it(log: OpenEventLog) -> None:
    await log.append([event(EventType.VIEW, event_id="e1")])
    await log.append([event(EventType.IMPRESSION, event_id="e2"), event(EventType.IMPRESSION, "t2", event_id="e3")])
    assert await log.versions([T1, J1, SubjectKey(Kind.TALENT, "t2")]) == [1, 1, 0]
    await log.append([event(EventType.SAVE, job_id="j2", event_id="e4"), event(EventType.SAVE, "t2", event_id="e5")])
    assert await log.versions([T1, J1, SubjectKey(Kind.JOB, "j2"), T1]) == [4, 5, 4, 4]


async def test_more_subjects_than_any_inner_batch_are_answered_each(log: OpenEventLog) -> None:
    await log.append([event(event_id=f"e{n}", talent_id=f"t{n}") for n in range(1, 1_001)])
    keys = [SubjectKey(Kind.TALENT, f"t{n}") for n in range(1, 1_101)]
    assert await log.versions(keys) == [*range(1, 1_001), *(100 * [0])]


async def test_a_scan_gives_every_event_between_its_bounds(log: OpenEventLog) -> None:
    await log.append([event(EventType.IMPRESSION, event_id=f"e{n}") for n in range(1, 8)])
    assert [e.seq for e in await everything(log)] == [1, 2, 3, 4, 5, 6, 7]
    assert [e.seq for e in await everything(log, after_seq=2, until_seq=5)] == [3, 4, 5]
    assert [e.seq for e in await everything(log, after_seq=7)] == []
    assert [e.seq for e in await everything(log, until_seq=0)] == []


async def test_a_scan_ends_with_what_was_there_when_it_began(log: OpenEventLog) -> None:
    await log.append([event(event_id="e1")])
    seen: list[int] = []
    async for batch in log.scan():
        seen += [e.seq for e in batch]
        await log.append([event(event_id=f"after {seen}")])
    assert seen == [1]


async def test_the_newest_time_is_kept_whatever_the_order_of_arrival(log: OpenEventLog) -> None:
    for at, expected in ((None, None), (5, 5), (9, 9), (7, 9), (None, 9)):
        await log.append([event(event_id=f"e{at}:{expected}", occurred_at_ms=at)])
        assert (await log.state()).newest_ms == expected


async def test_forgetting_a_talent_erases_its_events_and_leaves_the_others(log: OpenEventLog) -> None:
    await log.append(
        [
            event(event_id="e1", talent_id="t2"),
            event(event_id="e2", occurred_at_ms=NOW_MS + 5),
            event(EventType.IMPRESSION, event_id="e3"),
            event(event_id="e4", talent_id="t2", job_id="j2"),
        ]
    )
    assert await log.forget(T1) == 2
    assert [e.event_id for e in await everything(log)] == ["e1", "e4"]
    assert await log.versions([T1, J1, SubjectKey(Kind.TALENT, "t2"), SubjectKey(Kind.JOB, "j2")]) == [0, 1, 4, 4]
    assert await log.state() == LogState(4, NOW_MS)
    assert await log.forget(T1) == 0


async def test_a_place_in_the_log_is_never_given_twice(log: OpenEventLog) -> None:
    await log.append([event(event_id="e1"), event(event_id="e2")])
    assert await log.forget(J1) == 2
    assert await log.state() == LogState(2, None)
    await log.append([event(event_id="e3")])
    assert [e.seq for e in await everything(log)] == [3]


async def test_no_byte_of_a_forgotten_id_stays_on_the_disk(log: OpenEventLog, place: Place) -> None:
    secret = "somebody-who-wants-to-be-gone"
    events = [event(event_id=f"{secret}:{n}", talent_id=secret, job_id=f"j{n}") for n in range(500)]
    await log.append(events)
    await log.append([event(event_id=f"e{n}") for n in range(500)])
    assert secret.encode() in place.written()
    assert await log.forget(SubjectKey(Kind.TALENT, secret)) == 500
    assert secret.encode() not in place.written()


async def test_what_was_appended_is_there_after_reopening(log: OpenEventLog, place: Place) -> None:
    await log.append([event(event_id="e1")])
    log.close()
    again = place.open()
    assert [e.event_id for e in await everything(again)] == ["e1"]
    assert await again.append([event(event_id="e1"), event(event_id="e2")]) == [D, A]
    assert await again.versions([T1]) == [2]
    again.close()


async def test_two_openers_of_one_log_see_each_other_at_once(log: OpenEventLog, place: Place) -> None:
    other = place.open()
    for number in range(10):
        writer, reader = (log, other) if number % 2 else (other, log)
        assert await writer.append([event(event_id=f"e{number}")]) == [A]
        assert await reader.versions([T1]) == [number + 1]
        assert len((await reader.history([T1]))[0]) == number + 1
        assert await reader.append([event(event_id=f"e{number}")]) == [D]
    other.close()


async def test_a_closed_log_is_unavailable(log: OpenEventLog) -> None:
    log.close()
    log.close()
    with pytest.raises(UnavailableError, match="event log is unavailable: it has been closed"):
        await log.append([event()])
    with pytest.raises(UnavailableError):
        await log.history([T1])
    with pytest.raises(UnavailableError):
        await log.versions([T1])


WRITER = """
import asyncio, sys
from tests.contracts.test_event_log import OPENERS
from tests.factories import event

async def main():
    name, adapter, *arguments = sys.argv[1:]
    log = OPENERS[adapter](*arguments)
    async def write(caller):
        for number in range(10_000):
            await log.append([event(event_id=f"{name}:{caller}:{number}", job_id=f"j{caller}")])
            print(f"{name}:{caller}:{number}", flush=True)
    await asyncio.gather(*(write(caller) for caller in range(8)))

asyncio.run(main())
"""


def test_nothing_that_was_acknowledged_is_lost_when_the_writer_is_killed(place: Place) -> None:
    acknowledged: list[str] = []
    for name in ("first", "second"):
        words = [sys.executable, "-c", WRITER, name, place.adapter, *place.arguments]
        writer = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged += [writer.stdout.readline().strip() for _ in range(20 if "compacted" in place.adapter else 200)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.stdout.read().split("\n")[:-1]  # the last line may be cut
        writer.stdout.close()
        writer.wait()
        log = place.open()
        found = asyncio.run(everything(log))
        versions = asyncio.run(log.versions([SubjectKey(Kind.JOB, f"j{caller}") for caller in range(8)]))
        log.close()
        assert set(acknowledged) <= {e.event_id for e in found}
        assert [e.seq for e in found] == list(range(1, len(found) + 1))
        assert versions == [max((e.seq for e in found if e.job_id == f"j{caller}"), default=0) for caller in range(8)]
    assert len(acknowledged) >= 40


_EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from([EventType.VIEW, EventType.IMPRESSION, EventType.APPLY]),
        st.sampled_from(["t1", "t2"]),
        st.sampled_from(["j1", "j2"]),
        event_id=st.sampled_from("abcdefgh"),
        occurred_at_ms=st.sampled_from([None, 1, 2]),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(_EVENTS, max_size=4), until=st.one_of(st.none(), st.integers(0, 10)))
def test_a_log_is_what_a_list_would_be(
    tmp_path_factory: pytest.TempPathFactory,
    servers: dict[str, RedisServer],
    batches: list[list[Event]],
    until: int | None,
) -> None:
    kept: list[Event] = []
    expected: list[Appended] = []
    for new in (e for batch in batches for e in batch):
        same = [replace(old, seq=0) == new for old in kept if old.event_id == new.event_id]
        expected.append((D if same[0] else C) if same else A)
        if not same:
            kept.append(replace(new, seq=len(kept) + 1))

    async def check(log: EventLog) -> None:
        assert [outcome for batch in batches for outcome in await log.append(batch)] == expected
        assert await everything(log) == kept
        for kind, name in ((Kind.TALENT, "t1"), (Kind.JOB, "j2")):
            mine = [e for e in kept if name in (e.talent_id, e.job_id)]
            deeds = [e for e in mine if e.type is not EventType.IMPRESSION]
            key = SubjectKey(kind, name)
            within = [e for e in mine if until is None or e.seq <= until]
            assert await log.history([key], until, impressions=True) == [within]
            assert await log.history([key], until) == [[e for e in within if e in deeds]]
            assert await log.versions([key]) == [max((e.seq for e in deeds), default=0)]
        times = [e.occurred_at_ms for e in kept if e.occurred_at_ms is not None]
        assert await log.state() == LogState(len(kept), max(times, default=None))

    for adapter in OPENERS:
        log = new_place(adapter, tmp_path_factory.mktemp("log"), servers).open()
        asyncio.run(check(log))
        log.close()


def test_another_schema_is_refused_with_both_numbers(tmp_path: Path) -> None:
    SqliteEventLog.open(tmp_path / "events.db").close()
    connection = sqlite3.connect(tmp_path / "events.db")
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(UnavailableError, match=r"events\.db has schema 9 and this version reads schema 1"):
        SqliteEventLog.open(tmp_path / "events.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"talent_id,job_id\n" * 100)
    with pytest.raises(UnavailableError, match="it is not a SQLite database"):
        SqliteEventLog.open(tmp_path / "events.db")


def test_the_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(UnavailableError, match=r"other\.db holds something else"):
        SqliteEventLog.open(tmp_path / "other.db")
    assert (tmp_path / "other.db").read_bytes() == before


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"nowhere/events\.db: it cannot be opened; check that its directory"):
        SqliteEventLog.open(tmp_path / "nowhere" / "events.db")


async def test_a_full_disk_refuses_the_append_and_keeps_what_was_there(tmp_path: Path) -> None:
    log = SqliteEventLog.open(tmp_path / "events.db")
    await log.append([event(event_id="e1")])
    with log._database.writing() as connection:
        used = connection.execute("PRAGMA page_count").fetchone()[0]
    assert log._database._writer is not None
    log._database._writer.execute(f"PRAGMA max_page_count = {used}")  # SQLite's own way to a full disk
    with pytest.raises(UnavailableError, match="the disk is full; free some space"):
        await log.append([event(event_id=f"e{n}", job_id="j" * 200) for n in range(5_000)])
    assert [e.event_id for e in await everything(log)] == ["e1"]
    log._database._writer.execute("PRAGMA max_page_count = 1000000")
    assert await log.append([event(event_id="e2")]) == [A]
    log.close()
