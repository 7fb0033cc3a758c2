"""The event log on real Redis servers: crashes, faults, wrong configurations, consumers."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from gateway.adapters.redis.encoding import ACTOR_CODES, SCHEMA, TYPE_CODES, decoded, encoded, time_from_text, time_text
from gateway.adapters.redis.events import RedisEventLog
from gateway.adapters.redis.server import Timeouts, address, facts_of
from gateway.cli.doctor import Status, findings
from gateway.settings import load_settings
from gateway.wiring import open_stores, stores
from recommender.documents import Kind, Side
from recommender.errors import UnavailableError
from recommender.events import Event, EventType
from recommender.ports import Appended, LogState, SubjectKey
from tests.factories import NOW_MS, event
from tests.servers import RedisServer, free_port, running_redis, wheel_binary

A, D = Appended.ACCEPTED, Appended.DUPLICATE
T1 = SubjectKey(Kind.TALENT, "t1")
PATIENT = Timeouts(connect_ms=5_000, read_ms=5_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may harm."""
    with running_redis(tmp_path / "redis") as running:
        yield running


def opened(server: RedisServer, namespace: str = "test", timeouts: Timeouts = PATIENT) -> RedisEventLog:
    return RedisEventLog.open(server.url, namespace=namespace, timeouts=timeouts)


async def everything(log: RedisEventLog) -> list[Event]:
    return [found async for batch in log.scan() for found in batch]


async def test_a_history_that_comes_again_is_the_same_events_and_none_that_were_forgotten(server: RedisServer) -> None:
    log = opened(server, "again")
    await log.append([event(event_id=f"e{number}", job_id=f"j{number}") for number in range(3)])
    (first,) = await log.history([T1])
    await log.append([event(event_id="e3", job_id="j3")])
    (again,) = await log.history([T1])
    assert [one.event_id for one in again] == ["e0", "e1", "e2", "e3"]
    assert all(one is other for one, other in zip(again, first, strict=False))  # not even compared field by field
    assert again[-1] == (await log.history([SubjectKey(Kind.JOB, "j3")]))[0][0]
    await log.forget(SubjectKey(Kind.JOB, "j1"))
    log.forget_kept(Kind.JOB, ["j1"])
    (left,) = await log.history([T1])
    assert left == [first[0], first[2], again[-1]]
    assert left[0] is not first[0]
    log.close()


# ---- What is written ------------------------------------------------------------------------------------------------


def test_every_type_and_side_has_a_code_that_never_changes() -> None:
    assert " ".join(kind.value for kind in sorted(EventType, key=TYPE_CODES.__getitem__)) == (
        "IMPRESSION VIEW SAVE UNSAVE APPLY WITHDRAW DISMISS UNDISMISS SHORTLIST INVITE INTERVIEW OFFER HIRE REJECT "
        "ACCEPT DECLINE"
    )
    assert sorted(TYPE_CODES.values()) == list(range(len(EventType)))
    assert ACTOR_CODES == {Side.TALENT: 0, Side.CLIENT: 1}


def test_an_event_is_a_short_array_that_begins_with_its_schema() -> None:
    bare, whole = event(event_id="e1"), event(EventType.HIRE, event_id="é", value=2, recommendation_id="r.1")
    assert encoded(bare) == b'[1,"e1",0,1,"t1","j1",1760000000000]'
    assert encoded(whole) == '[1,"é",1,12,"t1","j1",1760000000000,2.0,"r.1"]'.encode()
    assert decoded(7, encoded(whole)) == replace(whole, seq=7)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'[1,"e",0,99,"t","j",1]', b"\x80\x04", b"[]"])
def test_what_tandem_did_not_write_is_said_and_not_guessed(content: bytes) -> None:
    with pytest.raises(UnavailableError, match="event 3 is not one that Tandem wrote"):
        decoded(3, content)


def test_a_newer_schema_is_named() -> None:
    with pytest.raises(UnavailableError, match=f"event 3 has schema 2 and this version reads schema {SCHEMA}"):
        decoded(3, b'[2,"e1",0,1,"t1","j1",5]')


def test_times_sort_as_texts() -> None:
    times = [-(2**63), -1, 0, 1, 2**53 + 1, 2**63 - 1]
    assert sorted(time_text(time) for time in times) == [time_text(time) for time in times]
    assert [time_from_text(time_text(time).encode()) for time in times] == times


# ---- Crashes --------------------------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from gateway.adapters.redis.events import RedisEventLog
from gateway.adapters.redis.server import Timeouts
from recommender.errors import UnavailableError
from tests.factories import event

async def main():
    url, name = sys.argv[1:]
    while True:
        try:
            log = RedisEventLog.open(url, namespace="kill", timeouts=Timeouts(connect_ms=5_000, read_ms=5_000))
            break
        except UnavailableError:
            await asyncio.sleep(0.02)
    async def write(caller):
        for number in range(100_000):
            ids = [f"{name}:{caller}:{number}:{part}" for part in range(1 + number % 3)]
            while True:
                try:
                    await log.append([event(event_id=event_id, job_id=f"j{caller}") for event_id in ids])
                    break
                except UnavailableError:
                    await asyncio.sleep(0.02)
            print("\\n".join(ids), flush=True)
    await asyncio.gather(*(write(caller) for caller in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_nothing_acknowledged_is_lost_when_server_and_writers_are_killed_again_and_again(
    tmp_path: Path, fsync: str
) -> None:
    chance = random.Random(4)
    acknowledged: list[str] = []
    binary = wheel_binary() if fsync == "everysec" else None  # everysec is taken of a server with WAITAOF alone
    with running_redis(tmp_path / "redis", "--appendfsync", fsync, binary=binary) as server:
        for turn in range(4):
            words = [sys.executable, "-c", WRITER, server.url, f"w{turn}"]
            with (tmp_path / f"acknowledged.{turn}").open("wb") as sink:
                writer = subprocess.Popen(words, stdout=sink)
            try:
                wait_until(lambda turn=turn: (tmp_path / f"acknowledged.{turn}").stat().st_size > 0)
                for _ in range(2):
                    time.sleep(chance.uniform(0.05, 0.4))
                    server.kill()
                    server.start()
                time.sleep(chance.uniform(0.05, 0.4))
            finally:
                os.kill(writer.pid, signal.SIGKILL)
                writer.wait()
            # The last line may be cut.
            acknowledged += (tmp_path / f"acknowledged.{turn}").read_text().split("\n")[:-1]
        server.kill()
        server.start()
        log = opened(server, "kill")
        found = asyncio.run(everything(log))
        (history,) = asyncio.run(log.history([T1]))
        versions = asyncio.run(log.versions([SubjectKey(Kind.JOB, f"j{caller}") for caller in range(8)]))
        again = asyncio.run(log.append([replace(each, seq=0) for each in found]))
        log.close()
    assert len(acknowledged) > 20  # of a server that syncs once a second
    assert set(acknowledged) - {each.event_id for each in found} == set()
    assert len({each.event_id for each in found}) == len(found)  # sent again after a crash, kept once
    assert [each.seq for each in found] == list(range(1, len(found) + 1))
    assert history == found
    assert versions == [max((e.seq for e in found if e.job_id == f"j{caller}"), default=0) for caller in range(8)]
    assert set(again) == {D}


def wait_until(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- Faults while running -------------------------------------------------------------------------------------------


async def test_a_server_that_comes_back_is_used_again_without_a_word(own_server: RedisServer) -> None:
    log = opened(own_server)
    assert await log.append([event(event_id="e1")]) == [A]
    own_server.kill()
    with pytest.raises(UnavailableError, match=r"event log is unavailable: 127\.0\.0\.1:\d+: "):
        await log.append([event(event_id="e2")])
    with pytest.raises(UnavailableError, match="nothing answers there; start the server or correct the URL"):
        await log.versions([T1])
    own_server.start()  # without the scripts
    assert await log.versions([T1]) == [1]
    assert await log.append([event(event_id="e1"), event(event_id="e2")]) == [D, A]
    assert [each.event_id for each in (await log.history([T1]))[0]] == ["e1", "e2"]
    log.close()


async def test_a_server_that_hangs_costs_a_read_its_time_out(own_server: RedisServer) -> None:
    log = opened(own_server, timeouts=Timeouts(connect_ms=200, read_ms=50))
    await log.append([event()])
    own_server.pause()
    try:
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match="it did not answer in time"):
            await log.history([T1])
        assert time.monotonic() - begun < 2.0
    finally:
        own_server.resume()
    assert await log.versions([T1]) == [1]
    log.close()


async def test_an_append_that_the_disk_does_not_take_in_time_is_not_acknowledged(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--appendfsync", "everysec", binary=wheel_binary()) as server:
        log = opened(server, timeouts=replace(PATIENT, sync_ms=1))
        with pytest.raises(UnavailableError, match="the disk did not take the events within 1 ms; send them again"):
            for number in range(20):  # one may come just before a sync
                await log.append([event(event_id=f"e{number}")])
        log.close()
        patient = opened(server)
        assert await patient.append([event(event_id="e0")]) == [D]  # waits for the disk as its first writer would
        patient.close()


async def test_a_full_memory_refuses_the_append_whole_and_goes_on_reading(own_server: RedisServer) -> None:
    log = opened(own_server)
    await log.append([event(event_id="e1")])
    own_server.command("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(UnavailableError, match=r"its memory is full \(maxmemory\); give it more"):
        await log.append([event(event_id="e2"), event(event_id="e3")])
    assert [each.event_id for each in await everything(log)] == ["e1"]
    own_server.command("CONFIG", "SET", "maxmemory", "0")
    assert await log.append([event(event_id="e2")]) == [A]
    log.close()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_a_full_disk_refuses_events_keeps_the_acknowledged_and_is_over_when_there_is_space(
    tmp_path: Path, fsync: str
) -> None:
    binary = wheel_binary() if fsync == "everysec" else None
    with running_redis(tmp_path, "--appendfsync", fsync, binary=binary) as server:
        log = opened(server, timeouts=replace(PATIENT, sync_ms=500))
        acknowledged = ["e0"]
        assert await log.append([event(event_id="e0")]) == [A]
        server.limit_files(10_000)
        refusals: list[str] = []
        number = 0
        while len(refusals) < 3:
            number += 1
            try:
                await log.append([event(event_id=f"e{number}", job_id="j" * 200)])
                acknowledged.append(f"e{number}")
            except UnavailableError as error:
                refusals.append(str(error))
        if fsync == "always":  # it cannot keep its word, so it stops
            wait_until(server.has_ended)
            assert "nothing answers there; start the server or correct the URL" in refusals[-1]
            server.kill()
            server.start()
        else:
            assert "it cannot write its files; free space on its disk, and look into its log" in refusals[-1]
            assert len((await log.history([T1]))[0]) >= len(acknowledged)
            server.limit_files(None)
            wait_until(lambda: b"aof_last_write_status:ok" in server.command("INFO", "persistence"))
        assert await log.append([event(event_id="after")]) == [A]
        server.kill()
        server.start()
        found = [each.event_id for each in await everything(log)]
        log.close()
    assert set(acknowledged) - set(found) == set()
    assert len(set(found)) == len(found)


async def test_an_append_only_file_switched_off_later_refuses_to_acknowledge(tmp_path: Path) -> None:
    with running_redis(tmp_path, binary=wheel_binary()) as server:
        log = opened(server)
        server.command("CONFIG", "SET", "appendonly", "no")
        with pytest.raises(UnavailableError, match="its append-only file was switched off; set appendonly yes"):
            await log.append([event()])
        log.close()


async def test_a_stream_ahead_of_its_counter_is_refused_and_nothing_is_taken_for_a_duplicate(
    server: RedisServer,
) -> None:
    log = opened(server, "ahead")
    server.command("XADD", "{ahead:events}:stream", "9-0", "e", "foreign")
    for _ in range(2):
        with pytest.raises(UnavailableError, match="equal or smaller"):
            await log.append([event()])
    assert await log.versions([T1]) == [0]
    log.close()


async def test_more_than_the_queue_holds_is_refused_instead_of_kept(own_server: RedisServer) -> None:
    log = opened(own_server, timeouts=replace(PATIENT, write_ms=500))
    own_server.pause()
    try:
        batch = [event(event_id=f"e{number}") for number in range(250)]
        answers = await asyncio.gather(*(log.append(batch) for _ in range(260)), return_exceptions=True)
    finally:
        own_server.resume()
    assert all(isinstance(answer, UnavailableError) for answer in answers)
    assert any("events wait to be written; slow down" in str(answer) for answer in answers)
    log.close()


async def test_a_command_waits_for_a_server_that_is_too_slow_for_a_request(
    own_server: RedisServer, tmp_path: Path
) -> None:
    settings = load_settings(data_dir=tmp_path, events_url=own_server.url, events_timeout_ms=300)
    gateway = open_stores(settings)
    async with stores(settings) as command:
        own_server.pause()
        asyncio.get_running_loop().call_later(1.0, own_server.resume)
        patient = asyncio.create_task(command.events.history([T1]))
        with pytest.raises(UnavailableError, match="it did not answer in time"):
            await gateway.events.history([T1])
        assert await patient == [[]]
    gateway.close()


# ---- Loops and threads ----------------------------------------------------------------------------------------------


def test_a_log_serves_one_loop_after_another(server: RedisServer) -> None:
    log = opened(server, "loops")
    for number in range(3):
        assert asyncio.run(log.append([event(event_id=f"e{number}")])) == [A]
    assert asyncio.run(log.state()) == LogState(3, NOW_MS)
    log.close()


async def test_a_busy_caller_does_not_make_the_server_look_dead(server: RedisServer) -> None:
    log = opened(server, "busy", Timeouts(connect_ms=5_000, read_ms=500))
    reading = asyncio.ensure_future(log.versions([T1]))
    await asyncio.sleep(0)
    time.sleep(0.8)  # noqa: ASYNC251 - a loop that is kept busy
    assert await reading == [0]
    log.close()


# ---- What is refused at the start -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--appendonly", "no"], "it keeps no append-only file, so that a crash would lose events; set appendonly yes"),
        (["--maxmemory-policy", "allkeys-lru"], "maxmemory-policy allkeys-lru drops events when memory is short; set"),
        (["--appendfsync", "no"], "appendfsync no leaves it open when an event reaches the disk; set appendfsync"),
        (["--requirepass", "secret"], "it wants a password; put it into the URL, as :password@host or user:password@"),
    ],
)
def test_a_server_that_may_lose_events_is_refused_with_what_to_do(
    tmp_path: Path, options: list[str], line: str
) -> None:
    with running_redis(tmp_path, *options) as server, pytest.raises(UnavailableError) as caught:
        opened(server)
    assert str(caught.value).startswith(f"event log is unavailable: 127.0.0.1:{server.port}: {line}")


def test_a_wrong_password_is_not_shown_and_the_right_one_opens(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--requirepass", "right") as server:
        wrong = server.url.replace("//", "//:wr0ng@")
        with pytest.raises(UnavailableError, match="it refuses the user or the password") as caught:
            RedisEventLog.open(wrong, namespace="test", timeouts=PATIENT)
        assert "wr0ng" not in str(caught.value)
        RedisEventLog.open(server.url.replace("//", "//:right@"), namespace="test", timeouts=PATIENT).close()


def test_a_cache_s_policy_may_share_the_server(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--maxmemory-policy", "volatile-lru") as server:
        opened(server).close()


def test_nobody_there_is_one_clear_line() -> None:
    port = free_port()
    with pytest.raises(UnavailableError) as caught:
        RedisEventLog.open(f"redis://127.0.0.1:{port}", namespace="test", timeouts=PATIENT)
    assert str(caught.value) == (
        f"event log is unavailable: 127.0.0.1:{port}: nothing answers there; start the server or correct the URL"
    )


def test_tls_towards_a_server_without_it_is_said(server: RedisServer) -> None:
    url = server.url.replace("redis://", "rediss://")
    with pytest.raises(UnavailableError, match=r"if it speaks no TLS there|it does not speak TLS here"):
        RedisEventLog.open(url, namespace="test", timeouts=Timeouts(write_ms=500))


def test_another_schema_is_refused_with_both_numbers(server: RedisServer) -> None:
    server.command("HSET", "{newer:events}:meta", "schema", "9")
    with pytest.raises(UnavailableError, match="has schema 9 and this version reads schema 1; use the version that"):
        opened(server, "newer")


async def test_a_log_that_another_version_took_over_is_not_written_to(server: RedisServer) -> None:
    log = opened(server, "taken")
    server.command("HSET", "{taken:events}:meta", "schema", "9")
    with pytest.raises(UnavailableError, match="has schema 9 and this version reads schema 1"):
        await log.append([event()])
    log.close()


GOOD = {"redis_version": "8.2.3", "role": "master", "aof_enabled": 1, "maxmemory_policy": "noeviction", "loading": 0}


@pytest.mark.parametrize(
    ("change", "fsync", "line"),
    [
        ({"redis_version": "6.2.14"}, "always", "it is Redis 6.2.14, and this version of Tandem knows Redis 7.0 up to"),
        ({"redis_version": "9.0.0"}, "always", "it is Redis 9.0.0, and"),
        ({"valkey_version": "10.1.0"}, "always", "it is Valkey 10.1.0, and this version of Tandem knows Valkey 7.2 up"),
        ({"role": "slave"}, "always", "it is a replica, which takes no writes; name the primary"),
        ({"loading": 1}, "always", "it is still loading its data; wait until it is done"),
        ({"aof_enabled": 0}, None, "it keeps no append-only file"),
        ({"maxmemory_policy": "allkeys-random"}, None, "maxmemory-policy allkeys-random drops events"),
    ],
)
def test_facts_that_would_lose_events_are_refused(change: dict[str, object], fsync: str | None, line: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        facts_of({**GOOD, **change}, fsync, part="event log", address="here:1")
    assert str(caught.value).startswith(f"event log is unavailable: here:1: {line}")


def test_without_waitaof_only_a_server_that_always_syncs_is_taken() -> None:
    def is_taken(version: str, fsync: str | None) -> bool:
        try:
            facts_of({**GOOD, "redis_version": version}, fsync, part="event log", address="here:1")
        except UnavailableError as error:
            assert "may lose acknowledged events; set appendfsync always" in str(error)
            return False
        return True

    assert [is_taken("7.0.15", fsync) for fsync in ("always", "everysec", None)] == [True, False, False]
    assert [is_taken("7.2.0", fsync) for fsync in ("always", "everysec", None)] == [True, True, True]


def test_an_address_has_no_password() -> None:
    assert address("redis://me:secret@host/3") == "host:6379"
    assert address("rediss://[::1]:7000") == "[::1]:7000"


# ---- Consumers ------------------------------------------------------------------------------------------------------


async def consumed(log: RedisEventLog, after_seq: int, most: int = 100) -> list[str]:
    return [each.event_id async for events in log.consume("readers", after_seq, most) for each in events]


async def test_a_consumer_gets_what_was_delivered_but_not_recorded_again(server: RedisServer) -> None:
    log = opened(server, uuid.uuid4().hex)
    await log.append([event(event_id=f"e{number}") for number in range(1, 6)])
    assert await consumed(log, 0, 3) == ["e1", "e2", "e3"]
    # It recorded the first two and died.
    assert await consumed(log, 2) == ["e3", "e4", "e5"]
    assert await consumed(log, 5) == []
    await log.append([event(event_id="e6")])
    assert await consumed(log, 5) == ["e6"]
    log.close()


async def test_a_consumer_does_not_pass_over_events_that_were_trimmed(server: RedisServer) -> None:
    log = opened(server, uuid.uuid4().hex)
    await log.append([event(event_id=f"e{number}") for number in range(1, 6)])
    await log.claim("archive")
    assert await consumed(log, 4) == ["e5"]
    assert await log.trim("archive", "readers", 3) == (3, None)
    with pytest.raises(UnavailableError, match=r"events 2 to 3 are trimmed from the stream and not in the archive"):
        await consumed(log, 1)
    with pytest.raises(UnavailableError, match="its old events are in another archive"):
        await log.trim("another", "readers", 4)
    with pytest.raises(UnavailableError, match="its old events are in another archive"):
        await log.claim("another")
    assert await consumed(log, 3) == ["e4", "e5"]
    log.close()


async def test_a_forgotten_event_is_passed_over_by_consumers(server: RedisServer) -> None:
    log = opened(server, uuid.uuid4().hex)
    await log.append([event(event_id="e1"), event(event_id="e2", talent_id="t2")])
    assert await log.forget(T1) == 1
    assert await consumed(log, 0) == ["e2"]
    log.close()


# ---- Wiring and doctor ----------------------------------------------------------------------------------------------


async def test_a_url_puts_the_events_into_redis_under_their_namespace(server: RedisServer, tmp_path: Path) -> None:
    for namespace in ("blue", "green"):
        async with stores(
            load_settings(data_dir=tmp_path, events_url=server.url, namespace=namespace)
        ) as opened_stores:
            assert await opened_stores.events.append([event()]) == [A]
    assert not (tmp_path / "events.db").exists()
    assert b"{blue:events}:stream" in server.command("KEYS", "{blue:*stream")


def test_a_server_that_is_not_there_closes_what_was_opened_before(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, events_url=f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(UnavailableError, match="nothing answers there"):
        open_stores(settings)
    assert not list(tmp_path.glob("*-wal"))


def test_the_doctor_names_the_server_and_what_it_promises(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TANDEM_EVENTS_URL", server.url)
    monkeypatch.setenv("TANDEM_NAMESPACE", "doctor")

    def found() -> tuple[Status, str]:
        return next((finding.status, finding.text) for finding in findings() if finding.part == "event log")

    status, text = found()
    assert (status, text.endswith(": no events yet; import some, or nothing can be learnt")) == (Status.WARN, True)
    assert b"*0" in server.command("KEYS", "{doctor:*")
    log = RedisEventLog.open(server.url, namespace="doctor", timeouts=PATIENT)
    asyncio.run(log.append([event()]))
    log.close()
    status, text = found()
    assert status is Status.OK
    assert text.startswith(f"{server.url} (")
    assert text.endswith("): 1 events, the newest of 2025-10-09; an acknowledged event is on the disk")


def test_the_doctor_says_what_is_wrong_with_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_redis(tmp_path / "redis", "--appendonly", "no") as server:
        monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("TANDEM_EVENTS_URL", server.url)
        (finding,) = (each for each in findings() if each.part == "event log")
    assert finding.status is Status.FAIL
    assert "it keeps no append-only file" in finding.text


async def test_an_erasure_keeps_the_groups_of_the_stream_where_they_were(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        log = opened(server, "groups")
        stream = "{groups:events}:stream"
        await log.append([event(event_id=f"e{n}", talent_id=f"t{n % 2}", job_id=f"j{n}") for n in range(1_200)])
        client.xgroup_create(stream, "reader", "0")
        read = client.xreadgroup("reader", "me", {stream: ">"}, count=10, noack=True)
        assert len(read[0][1]) == 10
        assert await log.forget(SubjectKey(Kind.TALENT, "t1")) == 600
        left = client.xrange(stream)
        assert [place for place, _ in left] == [f"{seq}-0".encode() for seq in range(1, 1_200, 2)]
        assert client.xinfo_stream(stream)["last-generated-id"] == b"1200-0"
        assert client.ttl(stream) == -1
        ((_, entries),) = client.xreadgroup("reader", "me", {stream: ">"}, count=1)
        assert entries[0][0] == b"11-0"
        # What is to be acknowledged only this stream knows: it stays as it is, and the events are gone all the same.
        assert await log.forget(SubjectKey(Kind.TALENT, "t0")) == 600
        assert client.xlen(stream) == 0
        assert client.xpending(stream, "reader")["pending"] == 1
        assert not client.keys(f"{stream}:*")
        log.close()
