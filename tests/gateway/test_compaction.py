"""Old events of a Redis log in Parquet: nothing lost, nothing twice, whatever is killed; erasure; replay."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest

from gateway.adapters.parquet import archive as archives
from gateway.adapters.parquet.manifest import Manifest, decoded
from gateway.adapters.redis.events import RedisEventLog
from gateway.adapters.redis.replay import Replay
from gateway.adapters.redis.server import Timeouts
from gateway.cli import main
from gateway.cli.doctor import Status, findings
from gateway.cli.evaluate import read_events, steps
from gateway.compaction import GROUP, CompactedEventLog
from gateway.settings import load_settings
from gateway.wiring import stores
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.events import Event, EventType
from recommender.interactions import EventTableBuilder
from recommender.ports import Appended, EventLog, LogState, SubjectKey
from tests.factories import DAY_MS, NOW_MS, event
from tests.servers import RedisServer, running_redis

A, D, C = Appended.ACCEPTED, Appended.DUPLICATE, Appended.CONFLICT
T1 = SubjectKey(Kind.TALENT, "t1")
PATIENT = Timeouts(connect_ms=5_000, read_ms=5_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def log(server: RedisServer, namespace: str, tmp_path: Path) -> Iterator[CompactedEventLog]:
    opened = opened_log(server, namespace, tmp_path)
    yield opened
    opened.close()


def opened_log(server: RedisServer, namespace: str, archive: Path, *, may_be_lost: bool = False) -> CompactedEventLog:
    return CompactedEventLog.open(
        server.url, namespace=namespace, archive=archive, timeouts=PATIENT, may_be_lost=may_be_lost
    )


def some_events(count: int, first: int = 1) -> list[Event]:
    kinds = (EventType.VIEW, EventType.IMPRESSION, EventType.APPLY)
    return [
        event(
            kinds[n % 3],
            f"t{n % 4}",
            f"j{n % 5}",
            event_id=f"e{n}",
            occurred_at_ms=None if n % 7 == 0 else NOW_MS + n,
            value=2.5 if n % 11 == 0 else None,
            recommendation_id=f"r.{n}" if n % 6 == 0 else None,
        )
        for n in range(first, first + count)
    ]


async def everything(log: EventLog, after_seq: int = 0, until_seq: int | None = None) -> list[Event]:
    return [found async for batch in log.scan(after_seq, until_seq) for found in batch]


async def answers(log: EventLog) -> dict[str, Any]:
    """All that a log tells."""
    subjects = [SubjectKey(kind, f"{kind.value[0]}{n}") for kind in Kind for n in range(6)]
    return {
        "scan": await everything(log),
        "part": await everything(log, 3, 17),
        "state": await log.state(),
        "versions": await log.versions(subjects),
        "deeds": await log.history(subjects),
        "all": await log.history(subjects, impressions=True),
        "until": await log.history(subjects, 9, impressions=True),
    }


def parquet_files(archive: Path) -> list[str]:
    return sorted(path.name for path in archive.glob("*.parquet"))


def stream_length(server: RedisServer, namespace: str) -> int:
    return int(server.command("XLEN", f"{{{namespace}:events}}:stream").strip(b":\r\n"))


# ---- The same answers -----------------------------------------------------------------------------------------------


async def test_archiving_and_trimming_change_no_answer(
    log: CompactedEventLog, server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    await log.append(some_events(40))
    before = await answers(log)
    found = await log.compact(NOW_MS, 1)
    assert (found.added, found.trimmed, stream_length(server, namespace)) == (40, 0, 40)
    assert await answers(log) == before
    found = await log.compact(NOW_MS + DAY_MS, 1)
    assert (found.added, found.trimmed, found.removed, found.waits_for) == (0, 40, 40, None)
    assert stream_length(server, namespace) == 0
    assert await answers(log) == before
    # A new process, and one that finds the archive half written.
    (tmp_path / ".tmp-left").write_bytes(b"torn")
    again = opened_log(server, namespace, tmp_path)
    assert await answers(again) == before
    assert await again.append(some_events(3, 41)) == [A, A, A]
    whole = await answers(again)
    assert [each.seq for each in whole["scan"]] == list(range(1, 44))
    assert (await again.compact(NOW_MS, 0)).added == 3
    assert await answers(again) == whole
    again.close()


async def test_an_archived_event_again_is_a_duplicate_and_with_other_content_a_conflict(log: CompactedEventLog) -> None:
    await log.append(some_events(5))
    await log.compact(NOW_MS, 0)
    changed = replace(some_events(1)[0], job_id="other")
    assert await log.append([*some_events(5), changed]) == [D, D, D, D, D, C]
    assert (await log.state()).last_seq == 5


async def test_events_stay_in_the_stream_until_their_days_are_over(
    log: CompactedEventLog, server: RedisServer, namespace: str
) -> None:
    for day in range(4):
        await log.append(some_events(10, 1 + 10 * day))
        found = await log.compact(NOW_MS + day * DAY_MS, 2)
        assert found.manifest.last_seq == 10 * (day + 1)
    assert (found.trimmed, stream_length(server, namespace)) == (20, 20)
    assert [mark.last_seq for mark in found.manifest.marks] == [20, 30, 40]


async def test_a_segment_is_filled_up_before_another_is_begun(
    log: CompactedEventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SEGMENT_EVENTS", 10)
    for first, count in ((1, 4), (5, 4), (9, 15), (24, 1)):
        await log.append(some_events(count, first))
        found = await log.compact(NOW_MS, 0)
    segments = [(one.first_seq, one.last_seq, one.events) for one in found.manifest.segments]
    assert segments == [(1, 10, 10), (11, 20, 10), (21, 24, 4)]
    assert parquet_files(tmp_path) == [one.file for one in found.manifest.segments]
    assert [each.seq for each in await everything(log)] == list(range(1, 25))
    assert [each.seq for each in await everything(log, 8, 22)] == list(range(9, 23))


async def test_a_file_of_the_archive_can_be_imported_as_it_is(
    log: CompactedEventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await log.append(some_events(20))
    found = await log.compact(NOW_MS, 0)
    file = tmp_path / found.manifest.segments[0].file
    assert pq.read_schema(file).names == [
        *("seq", "event_id", "actor", "type", "talent_id", "job_id", "occurred_at", "value", "recommendation_id")
    ]
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, ["import", "--events", str(file)])
    assert (ended.value.code or 0) == 0
    assert "20 accepted" in capsys.readouterr().out
    async with stores(load_settings(data_dir=tmp_path / "data")) as opened:
        assert await everything(opened.events) == await everything(log)


async def test_a_scan_goes_on_while_its_events_are_archived_trimmed_and_erased(log: CompactedEventLog) -> None:
    await log.append(some_events(9_000))
    seen: list[Event] = []
    async for events in log.scan():
        seen += events
        if len(seen) == 2_000:  # within the stream
            await log.compact(NOW_MS, 0)
        if len(seen) >= 7_000:  # within the archive
            await log.forget(SubjectKey(Kind.JOB, "nobody"))
    assert [each.seq for each in seen] == list(range(1, 9_001))


# ---- Erasure --------------------------------------------------------------------------------------------------------


async def test_an_erased_talent_is_gone_from_the_archive_and_stays_gone_after_a_replay(
    log: CompactedEventLog, tmp_path: Path
) -> None:
    await log.append(some_events(30))
    await log.compact(NOW_MS, 0)
    await log.append(some_events(10, 31))
    rest = [each for each in await everything(log) if each.talent_id != "t1"]
    (before,) = parquet_files(tmp_path)
    assert await log.forget(T1) == 10
    assert await everything(log) == rest
    # The rewritten file replaces the old one: no byte of the erased events stays on the disk.
    (after,) = parquet_files(tmp_path)
    assert after != before
    assert "t1" not in pq.read_table(tmp_path / after)["talent_id"].to_pylist()
    assert (await log.state()).newest_ms == max(each.occurred_at_ms or 0 for each in rest)
    whole = await answers(log)
    assert (await log.replay()).events == 30
    assert await answers(log) == whole
    await log.compact(NOW_MS, 0)
    assert await answers(log) == whole
    assert await log.forget(T1) == 0


async def test_an_erasure_that_was_cut_short_is_completed_when_asked_again(
    log: CompactedEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(some_events(30))
    await log.compact(NOW_MS, 0)
    with monkeypatch.context() as patched:
        patched.setattr(RedisEventLog, "forget", None)
        with pytest.raises(TypeError):
            await log.forget(T1)
    assert await log.forget(T1) == 8
    assert T1.id not in {each.talent_id for each in await everything(log)}
    assert await log.history([T1], impressions=True) == [[]]


# ---- Anything in any order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
async def test_a_log_that_is_compacted_erased_replayed_and_reopened_at_random_is_what_a_list_would_be(
    server: RedisServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(archives, "SEGMENT_EVENTS", 7)
    chance = random.Random(seed)
    log = opened_log(server, namespace, tmp_path)
    kept: list[Event] = []
    last_seq = days = 0
    for _ in range(30):
        match chance.choice(["append", "append", "append", "compact", "compact", "forget", "replay", "reopen"]):
            case "append":
                # Of all there will be; some came before, and some come with other content.
                ids = [chance.randrange(120) for _ in range(chance.randrange(1, 12))]
                new = [some_events(1, number)[0] for number in ids]
                new = [replace(one, value=9.0) if chance.random() < 0.1 else one for one in new]
                expected = []
                for one in new:
                    same = [replace(old, seq=0) == one for old in kept if old.event_id == one.event_id]
                    expected.append((D if same[0] else C) if same else A)
                    if not same:
                        last_seq += 1
                        kept.append(replace(one, seq=last_seq))
                assert await log.append(new) == expected
            case "compact":
                days += chance.randrange(3)
                await log.compact(NOW_MS + days * DAY_MS, chance.choice([0, 1, 2]))
            case "forget":
                gone = SubjectKey(Kind.TALENT, f"t{chance.randrange(4)}")
                if chance.random() < 0.5:
                    gone = SubjectKey(Kind.JOB, f"j{chance.randrange(5)}")
                count = len(kept)
                kept = [one for one in kept if one.id_of(gone.kind) != gone.id]
                assert await log.forget(gone) == count - len(kept)
            case "replay":
                found = await log.replay()
                assert (found.events, found.moved, found.conflicts) == (len(kept), 0, 0)
            case "reopen":
                log.close()
                log = opened_log(server, namespace, tmp_path)
        assert await everything(log) == kept
        assert await everything(log, last_seq // 3, 2 * last_seq // 3) == [
            one for one in kept if last_seq // 3 < one.seq <= 2 * last_seq // 3
        ]
        times = [one.occurred_at_ms for one in kept if one.occurred_at_ms is not None]
        assert await log.state() == LogState(last_seq, max(times, default=None))
        subjects = [SubjectKey(Kind.TALENT, "t1"), SubjectKey(Kind.JOB, "j2")]
        of_each = [[one for one in kept if one.id_of(key.kind) == key.id] for key in subjects]
        deeds = [[one for one in found if one.type is not EventType.IMPRESSION] for found in of_each]
        assert await log.history(subjects, impressions=True) == of_each
        assert await log.history(subjects) == deeds
        assert await log.versions(subjects) == [max((one.seq for one in found), default=0) for found in deeds]
    log.close()


async def test_training_reads_the_archive_and_the_stream_as_one_log(
    server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    events = some_events(5_000)
    settings = load_settings(data_dir=tmp_path, events_url=server.url, events_timeout_ms=5_000, namespace=namespace)
    async with stores(settings) as opened:
        await opened.events.append(events[:3_000])
        await cast("CompactedEventLog", opened.events).compact(NOW_MS, 0)
        await opened.events.append(events[3_000:])
        assert stream_length(server, namespace) == 2_000
        with steps() as shown:
            table, watermark = await read_events(opened, None, shown)
    builder = EventTableBuilder()
    builder.add([replace(one, seq=seq) for seq, one in enumerate(events, 1)])
    expected = builder.build()
    assert watermark == 5_000
    assert (table.talent_ids, table.job_ids) == (expected.talent_ids, expected.job_ids)
    for column in ("talent", "job", "kind", "actor", "at_ms", "value", "seq"):
        assert np.array_equal(getattr(table, column), getattr(expected, column))


# ---- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (
            lambda file: file.write_bytes(file.read_bytes()[:-9]),
            r"events-.*\.parquet is refused: it is torn: \d+ bytes",
        ),
        (lambda file: file.write_bytes(file.read_bytes()[:-9] + b"123456789"), r"refused: it was altered \(checksum\)"),
        (lambda file: file.unlink(), r"refused: it is missing; bring it back from a backup"),
    ],
    ids=["torn", "altered", "missing"],
)
async def test_a_harmed_file_is_refused_and_nothing_is_trimmed_for_it(
    log: CompactedEventLog, server: RedisServer, namespace: str, tmp_path: Path, harm: Any, line: str
) -> None:
    await log.append(some_events(10))
    manifest = (await log.compact(NOW_MS, 1)).manifest
    harm(tmp_path / manifest.segments[0].file)
    with pytest.raises(UnavailableError, match=line):
        await everything(log)
    with pytest.raises(UnavailableError, match=line):
        await log.compact(NOW_MS + 2 * DAY_MS, 1)
    assert stream_length(server, namespace) == 10


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schema": 1', b"\xff"])
async def test_a_torn_manifest_is_refused(log: CompactedEventLog, tmp_path: Path, data: bytes) -> None:
    await log.append(some_events(3))
    await log.compact(NOW_MS, 0)
    (tmp_path / "manifest.json").write_bytes(data)
    with pytest.raises(UnavailableError, match=r"manifest\.json (is refused: it is torn or altered|has schema None)"):
        await everything(log)
    # What a request needs does not depend on it.
    assert await log.versions([SubjectKey(Kind.TALENT, "t2")]) == [2]


async def test_an_altered_or_newer_manifest_is_refused(log: CompactedEventLog, tmp_path: Path) -> None:
    await log.append(some_events(3))
    await log.compact(NOW_MS, 0)
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_bytes())
    with pytest.raises(UnavailableError, match="it was altered"):
        decoded(path, json.dumps(document | {"archive": "x"}).encode())
    with pytest.raises(UnavailableError, match="has schema 2 and this version reads schema 1; use the version that"):
        decoded(path, json.dumps(document | {"schema": 2}).encode())


async def test_the_archive_of_another_log_is_refused(
    log: CompactedEventLog, server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    await log.append(some_events(3))
    await log.compact(NOW_MS, 0)
    elsewhere = opened_log(server, namespace, tmp_path / "elsewhere")
    assert len((await elsewhere.history([T1], impressions=True))[0]) == 1
    for work in (everything(elsewhere), elsewhere.forget(T1), elsewhere.compact(NOW_MS, 0), elsewhere.replay()):
        with pytest.raises(UnavailableError, match="is not the one of the log; set TANDEM_ARCHIVE_URL to the place"):
            await work
    elsewhere.close()
    alone = RedisEventLog.open(server.url, namespace=namespace, timeouts=PATIENT)
    with pytest.raises(UnavailableError, match="its old events are in another archive"):
        await everything(alone)
    with pytest.raises(UnavailableError, match="its old events are in another archive"):
        await alone.forget(T1)
    alone.close()


async def test_an_archive_that_lost_its_newest_files_is_refused(log: CompactedEventLog, tmp_path: Path) -> None:
    await log.append(some_events(3))
    await log.compact(NOW_MS, 0)
    old = (tmp_path / "manifest.json").read_bytes()
    await log.append(some_events(3, 4))
    await log.compact(NOW_MS, 0)
    (tmp_path / "manifest.json").write_bytes(old)
    with pytest.raises(UnavailableError, match="ends with event 3 and the log goes on with 7; bring back the newest"):
        await everything(log)


# ---- Other readers of the stream ------------------------------------------------------------------------------------


async def test_nothing_is_trimmed_that_another_consumer_group_has_still_to_read_or_to_acknowledge(
    log: CompactedEventLog, server: RedisServer, namespace: str
) -> None:
    stream = f"{{{namespace}:events}}:stream"
    await log.append(some_events(10))
    server.command("XGROUP", "CREATE", stream, "warehouse", "0")
    found = await log.compact(NOW_MS, 0)
    assert (found.trimmed, found.waits_for) == (0, "warehouse")
    server.command("XREADGROUP", "GROUP", "warehouse", "one", "COUNT", "6", "STREAMS", stream, ">")
    server.command("XACK", stream, "warehouse", "1-0", "2-0", "4-0")
    found = await log.compact(NOW_MS, 0)
    assert (found.trimmed, found.waits_for) == (2, "warehouse")
    server.command("XACK", stream, "warehouse", "3-0", "5-0", "6-0")
    assert (await log.compact(NOW_MS, 0)).trimmed == 6
    server.command("XGROUP", "DESTROY", stream, "warehouse")
    assert (await log.compact(NOW_MS, 0)).trimmed == 10
    assert GROUP.encode() in server.command("XINFO", "GROUPS", stream)


async def test_a_full_memory_does_not_keep_the_stream_from_being_trimmed(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as own:
        log = opened_log(own, "full", tmp_path / "archive")
        await log.append(some_events(2_000))
        own.command("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(UnavailableError, match="its memory is full"):
            await log.append(some_events(1, 2_001))
        found = await log.compact(NOW_MS, 0)
        assert (found.added, found.trimmed) == (2_000, 2_000)
        log.close()


# ---- Replay ---------------------------------------------------------------------------------------------------------


async def test_a_replay_brings_an_emptied_server_back_from_the_archive(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as own:
        log = opened_log(own, "lost", tmp_path / "archive")
        await log.append(some_events(50))
        await log.forget(SubjectKey(Kind.TALENT, "t2"))
        await log.compact(NOW_MS, 5)
        before = await answers(log)
        log.close()
        own.command("FLUSHALL")
        with pytest.raises(
            UnavailableError,
            match=r"reaches to event 50 and the log at .* to 0: it has lost events; bring .*tandem replay",
        ):
            opened_log(own, "lost", tmp_path / "archive")
        log = opened_log(own, "lost", tmp_path / "archive", may_be_lost=True)
        with pytest.raises(UnavailableError, match="it has lost events"):
            await log.compact(NOW_MS, 0)
        found = await log.replay()
        assert (found.events, found.moved, found.conflicts) == (37, 0, 0)
        assert await answers(log) == before
        kept = [each for each in some_events(50) if each.talent_id != "t2"]
        assert await log.append([*kept, *some_events(1, 51)]) == [D] * 37 + [A]
        assert (await log.state()).last_seq == 51
        log.close()


async def test_a_replay_of_a_whole_log_changes_nothing(
    log: CompactedEventLog, server: RedisServer, namespace: str
) -> None:
    await log.append(some_events(20))
    before = await answers(log)
    assert (await log.replay()).events == 20
    assert await answers(log) == before
    await log.compact(NOW_MS, 0)
    await log.append(some_events(600, 21))
    before = await answers(log)
    server.command("DEL", f"{{{namespace}:events}}:t:t1")  # as if a key had been lost
    assert await answers(log) != before
    assert (await log.replay()).events == 620
    assert await answers(log) == before
    assert await log.append(some_events(620)) == [D] * 620


async def test_what_a_log_from_a_backup_gave_away_twice_gets_places_of_its_own(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as own:
        log = opened_log(own, "backup", tmp_path / "archive")
        await log.append(some_events(6))
        await log.append(some_events(4, 7))
        await log.compact(NOW_MS, 5)
        archived = await everything(log)
        log.close()
        # The backup knows six events; a gateway that does not see the archive goes on from there.
        own.command("FLUSHALL")
        log = opened_log(own, "backup", tmp_path / "other")
        await log.append([*some_events(6), *some_events(3, 100)])
        log.close()
        log = opened_log(own, "backup", tmp_path / "archive", may_be_lost=True)
        found = await log.replay()
        assert (found.events, found.moved, found.conflicts) == (13, 3, 0)
        whole = await everything(log)
        assert whole[:10] == archived
        assert [(each.seq, each.event_id) for each in whole[10:]] == [(11, "e100"), (12, "e101"), (13, "e102")]
        log.close()


async def test_a_replay_that_was_broken_off_is_finished_by_another(
    log: CompactedEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(some_events(900))
    await log.compact(NOW_MS, 0)
    await log.append(some_events(900, 901))
    before = await answers(log)
    restore, calls = Replay._restore, 0

    async def broken(self: Replay, events: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionError
        return await restore(self, events)

    with monkeypatch.context() as patched:
        patched.setattr(Replay, "_restore", broken)
        with pytest.raises(UnavailableError):
            await log.replay()
    with pytest.raises(UnavailableError, match="its histories are written anew"):
        await log.history([T1])
    assert (await log.replay()).events == 1_800
    assert await answers(log) == before


async def test_while_a_replay_is_not_done_nothing_is_read_or_written(
    log: CompactedEventLog, server: RedisServer, namespace: str
) -> None:
    await log.append(some_events(5))
    server.command("HSET", f"{{{namespace}:events}}:meta", "replaying", "1")  # as a replay that was killed leaves it
    for work in (log.append(some_events(1, 6)), log.history([T1]), log.versions([T1]), log.forget(T1)):
        with pytest.raises(UnavailableError, match="its histories are written anew; wait for `tandem replay`, and run"):
            await work
    await log.replay()
    assert await log.append(some_events(1, 6)) == [A]


# ---- Crashes --------------------------------------------------------------------------------------------------------

COMPACTOR = """
import asyncio, sys
from pathlib import Path
from gateway.adapters.parquet import archive
from gateway.adapters.redis.server import Timeouts
from gateway.compaction import CompactedEventLog
from recommender.errors import UnavailableError

archive.SEGMENT_EVENTS = 300

async def main():
    url, path = sys.argv[1:]
    log = None
    number = 0
    while True:
        try:
            log = log or CompactedEventLog.open(
                url, namespace="kill", archive=Path(path), timeouts=Timeouts(connect_ms=5_000, read_ms=5_000)
            )
            compacted = await log.compact(number, 0)
            number += 1
            if compacted.manifest.events:
                print(number, flush=True)
        except UnavailableError as error:
            print(error, file=sys.stderr, flush=True)
            await asyncio.sleep(0.02)

asyncio.run(main())
"""


def kill_again_and_again(directory: Path, turns: int, seed: int) -> int:
    """Kill compactors, the server and a writer at random moments, then look; returns how many events were there."""
    from tests.gateway.test_redis_events import WRITER, wait_until

    chance = random.Random(seed)
    acknowledged: list[str] = []
    archive = directory / "archive"
    with running_redis(directory / "redis") as own:

        def started(code: str, name: str, *words: str) -> subprocess.Popen[bytes]:
            with (directory / name).open("wb") as sink:
                return subprocess.Popen([sys.executable, "-c", code, own.url, *words], stdout=sink, stderr=sink)

        for turn in range(turns):
            writer = started(WRITER, f"acknowledged.{turn}", f"w{turn}")
            compactors = [started(COMPACTOR, f"compacted.{n}", str(archive)) for n in range(2)]
            wait_until(lambda turn=turn: (directory / f"acknowledged.{turn}").stat().st_size > 0)
            wait_until(lambda: (directory / "compacted.0").stat().st_size > 0)
            for step in range(3):
                time.sleep(chance.uniform(0.02, 0.3))
                victim = compactors.pop(0)
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                if step == 1:
                    own.kill()
                    own.start()
                compactors.append(started(COMPACTOR, f"compacted.{step}", str(archive)))
            time.sleep(chance.uniform(0.05, 0.3))
            for process in (writer, *compactors):
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            acknowledged += (directory / f"acknowledged.{turn}").read_text().split("\n")[:-1]
        own.kill()
        own.start()
        log = opened_log(own, "kill", archive)
        manifest = asyncio.run(log.check())
        found = asyncio.run(everything(log))
        after = asyncio.run(log.compact(NOW_MS, 0))
        again = asyncio.run(everything(log))
        histories = asyncio.run(log.history([T1]))
        outcomes = asyncio.run(log.append([replace(each, seq=0) for each in found]))
        log.close()
    assert isinstance(manifest, Manifest)
    assert 0 < manifest.events <= len(found)
    assert set(acknowledged) - {each.event_id for each in found} == set()
    assert [each.seq for each in found] == list(range(1, len(found) + 1))
    assert len({each.event_id for each in found}) == len(found)
    assert again == found
    assert histories == [found]
    assert set(outcomes) == {D}
    assert after.manifest.events == len(found)
    assert not list(archive.glob(".tmp-*"))
    return len(found)


def test_nothing_is_lost_or_doubled_when_server_writer_and_two_compactors_are_killed_again_and_again(
    tmp_path: Path,
) -> None:
    assert kill_again_and_again(tmp_path, turns=1, seed=7) > 0  # benchmarks/event_log_crashes.py has patience for more


# Forks before it opens anything, so that a child is killed and not the imports paid for again.
KILLED_AT_EVERY_STEP = """
import asyncio, os, signal, sys, traceback
from pathlib import Path
from gateway.adapters.parquet import archive
from tests.gateway.test_compaction import opened_log, everything, some_events, SubjectKey, Kind
from tests.factories import NOW_MS

class Server:
    url = sys.argv[1]

what, path, stride = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
archive.SEGMENT_EVENTS = 30
left = 0

def counted(function):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return call

os.fsync = counted(os.fsync)
for name in ("rename", "replace", "unlink"):
    setattr(Path, name, counted(getattr(Path, name)))

def forked(work, *arguments):
    child = os.fork()
    if child == 0:
        try:
            log = opened_log(Server, what, path)
            asyncio.run(work(log, *arguments))
            log.close()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

async def harm(log, new, subject, step):
    global left
    await log.append(new)
    if what == "erasure":
        await log.compact(NOW_MS, 0)
        left = step
        await log.forget(subject)
    else:
        left = step
        await log.compact(NOW_MS, 0)

async def check(log, alive, subject, last_seq):
    if what == "erasure":
        await log.forget(subject)
    found = await everything(log)
    assert [each.event_id for each in found] == alive, (len(found), len(alive))
    assert what == "erasure" or [each.seq for each in found] == list(range(1, last_seq + 1))
    assert (await log.state()).last_seq == last_seq
    if what == "erasure":
        assert await log.history([subject], impressions=True) == [[]]

alive, runs, ended = [], 0, None
while ended != 0:
    subject = SubjectKey(Kind.TALENT, f"t{runs % 4}")
    new = some_events(35, 1 + 35 * runs)
    alive += new
    ended = forked(harm, new, subject, 1 + stride * runs)
    runs += 1
    assert ended in (0, -signal.SIGKILL), ended
    if what == "erasure":
        alive = [each for each in alive if each.talent_id != subject.id]
    assert forked(check, [each.event_id for each in alive], subject, 35 * runs) == 0
print(runs)
"""


def kill_at_every_step(directory: Path, what: str, stride: int) -> int:
    """Kill a compaction or an erasure at each so many-th change of the archive's files; returns how often it was."""
    with running_redis(directory / "redis") as own:
        words = [sys.executable, "-c", KILLED_AT_EVERY_STEP, own.url, what, str(directory / "archive"), str(stride)]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout) - 1


@pytest.mark.parametrize("what", ["compaction", "erasure"])
def test_nothing_is_lost_or_doubled_whichever_step_it_is_killed_at(tmp_path: Path, what: str) -> None:
    assert kill_at_every_step(tmp_path, what, stride=25) >= 1


async def test_several_compactions_at_once_archive_everything_once(
    log: CompactedEventLog, server: RedisServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SEGMENT_EVENTS", 30)
    await log.append(some_events(100))
    other = opened_log(server, namespace, tmp_path)
    found = await asyncio.gather(*(each.compact(NOW_MS, 0) for each in (log, other, log)))
    assert sum(each.added for each in found) == 100
    assert {each.manifest.last_seq for each in found} == {100}
    assert [each.seq for each in await everything(other)] == list(range(1, 101))
    other.close()


# ---- The commands ---------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    captured = capsys.readouterr()
    code = ended.value.code
    return (0 if code is None else int(code)), captured.out, captured.err


def test_a_full_disk_leaves_the_archive_as_it_was(server: RedisServer, namespace: str, tmp_path: Path) -> None:
    log = opened_log(server, namespace, tmp_path)
    asyncio.run(log.append(some_events(2_000)))
    found = asyncio.run(log.compact(NOW_MS, 1))
    asyncio.run(log.append(some_events(2_000, 2_001)))
    before = (tmp_path / "manifest.json").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (found.manifest.size_bytes // 2, hard))
    try:
        with pytest.raises(UnavailableError, match=r"event archive is unavailable: .*; free or repair the disk$"):
            asyncio.run(log.compact(NOW_MS, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert parquet_files(tmp_path) == [found.manifest.segments[0].file]
    assert asyncio.run(log.compact(NOW_MS, 1)).added == 2_000
    assert not list(tmp_path.glob(".tmp-*"))
    log.close()


def test_the_commands_say_what_they_did(
    server: RedisServer,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path))
    assert run(capsys, "compact")[:2] == (
        0,
        "nothing to do: the event log is a SQLite file, which needs no compaction\n",
    )
    monkeypatch.setenv("TANDEM_EVENTS_URL", server.url)
    monkeypatch.setenv("TANDEM_EVENTS_TIMEOUT_MS", "5000")
    monkeypatch.setenv("TANDEM_NAMESPACE", namespace[:8])
    monkeypatch.setenv("TANDEM_EVENTS_STREAM_DAYS", "0")
    archive = tmp_path / "archive" / namespace[:8]
    log = opened_log(server, namespace[:8], archive)
    asyncio.run(log.append(some_events(20)))
    log.close()
    code, out, err = run(capsys, "compact")
    assert (code, out.splitlines()[1]) == (0, "trimmed 20 places from the stream; it begins behind 20 of 20")
    assert out.startswith("archived 20 events in ")
    assert f"; {archive} holds 20 in 1 files of 0.0 MB\n" in out
    assert "Archiving events" in err
    code, out, _ = run(capsys, "replay")
    assert (code, out.startswith("replayed 20 events in ")) == (0, True)
    text = next(finding.text for finding in findings() if finding.part == "event log")
    assert text.endswith(f"an acknowledged event is on the disk; 20 archived in {archive}")
    (archive / "manifest.json").unlink()
    status, text = next((finding.status, finding.text) for finding in findings() if finding.part == "event log")
    assert (status, "is not the one of the log" in text) == (Status.FAIL, True)
    code, out, err = run(capsys, "compact")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == (
        f"tandem: event archive is unavailable: {archive} is not the one of the log; set TANDEM_ARCHIVE_URL to the "
        "place of that one"
    )
