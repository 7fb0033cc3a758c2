"""How the event log on Redis does: appends, an import, compaction, memory and disk per event, replay, erasure.

    python -m benchmarks.event_log [--events 100000]

Starts servers of its own, one after the other, on a directory of its own. A machine that does other things at the same
time makes single numbers worthless: compare within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.adapters.redis.server import Timeouts
from gateway.compaction import CompactedEventLog
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.events import Event, EventType, actor_of
from recommender.ports import SubjectKey
from tests.servers import RedisServer, redis_binary, running_redis, wheel_binary

BATCH = 5_000  # as `tandem import` appends
DAY_MS = 86_400_000
NOW_MS = 1_760_000_000_000
TIMEOUTS = Timeouts(connect_ms=5_000, read_ms=5_000, write_ms=30_000, sync_ms=20_000)
KINDS = (EventType.IMPRESSION, EventType.IMPRESSION, EventType.VIEW, EventType.VIEW, EventType.SAVE, EventType.APPLY)


def events(count: int, talents: int, jobs: int) -> Iterator[list[Event]]:
    """Batches of events as a marketplace has them: ids of some 12 characters, a fifth of the subjects does most."""
    chance = random.Random(1)  # noqa: S311 - the same log each time
    for start in range(0, count, BATCH):
        batch = []
        for number in range(start, min(count, start + BATCH)):
            kind = chance.choice(KINDS)
            talent, job = int(chance.random() ** 2 * talents), int(chance.random() ** 2 * jobs)
            at = NOW_MS + number * 97
            batch.append(Event(f"evt-{number:08d}", actor_of(kind), kind, f"tal-{talent:06d}", f"job-{job:06d}", at))
        yield batch


def quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


async def appends(log: CompactedEventLog, callers: int, seconds: float, name: str) -> str:
    """Single events, from so many callers at once, each waiting for its acknowledgement."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def call(caller: int) -> None:
        number = 0
        while time.perf_counter() < end:
            one = Event(
                f"{name}:{caller}:{number}", actor_of(EventType.VIEW), EventType.VIEW, f"t{caller}", "j", NOW_MS
            )
            begun = time.perf_counter()
            await log.append([one])
            took.append(1_000 * (time.perf_counter() - begun))
            number += 1

    begun = time.perf_counter()
    await asyncio.gather(*(call(caller) for caller in range(callers)))
    rate = len(took) / (time.perf_counter() - begun)
    return f"{rate:,.0f}/s, p50 {statistics.median(took):.1f} ms, p99 {quantile(took, 0.99):.1f} ms"


def memory(server: RedisServer) -> int:
    """Bytes that the server's data take."""
    text = server.command("INFO", "memory").decode()
    return int(text.split("used_memory:")[1].split("\r")[0])


def server_seconds(server: RedisServer) -> float:
    """Seconds of CPU that the server has used."""
    text = server.command("INFO", "cpu").decode()
    return sum(float(text.split(f"used_cpu_{kind}:")[1].split("\r")[0]) for kind in ("user", "sys"))


def longest_ms(server: RedisServer, command: str) -> str:
    """How long a command kept the server on average, and how often it came."""
    text = server.command("INFO", "commandstats").decode()
    calls, _, each, *_ = text.split(f"cmdstat_{command}:")[1].split("\r")[0].split(",")
    return f"{float(each.split('=')[1]) / 1_000:.1f} ms in each of {calls.split('=')[1]} {command}"


@contextmanager
def measured(what: str, count: int, server: RedisServer) -> Iterator[None]:
    """Print how long a block took. CPU tells more than time where others work beside."""
    begun, mine, its = time.perf_counter(), time.process_time(), server_seconds(server)
    yield
    took, mine, its = time.perf_counter() - begun, time.process_time() - mine, server_seconds(server) - its
    print(
        f"  {what}: {took:.1f} s, {count / took:,.0f} events/s; CPU per event "
        f"{1e6 * mine / count:.1f} µs here, {1e6 * its / count:.1f} µs in the server"
    )


async def run(server: RedisServer, directory: Path, count: int, mode: str) -> None:
    """Everything on one server, in the order of a log's life."""
    archive = directory / "archive"
    log = CompactedEventLog.open(server.url, namespace="appends", archive=archive, timeouts=TIMEOUTS)
    print(f"\n{log.facts.name}, appendfsync {mode}")
    for callers in (1, 100):
        print(f"  appends of one event, {callers:>3} callers: {await appends(log, callers, 4, f'{mode}{callers}')}")
    log.close()
    server.command("FLUSHALL")
    empty = memory(server)
    log = CompactedEventLog.open(server.url, namespace="bench", archive=archive, timeouts=TIMEOUTS)
    with measured(f"import in appends of {BATCH:,}", count, server):
        for batch in events(count, count // 50, count // 100):
            await log.append(batch)
    print(f"  memory: {(memory(server) - empty) / count:.0f} bytes an event")

    async def read(what: str) -> None:
        with measured(f"scan of {what}", count, server):
            assert sum([len(batch) async for batch in log.scan()]) == count

    await read("the stream")
    server.command("CONFIG", "RESETSTAT")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with measured("compaction", count, server):
        found = await log.compact(NOW_MS, 1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    print(f"    the process grew by {grown:.0f} MB; the server was kept {longest_ms(server, 'xreadgroup')}")
    server.command("CONFIG", "RESETSTAT")
    with measured("trimming", count, server):
        assert (await log.compact(NOW_MS + 2 * DAY_MS, 1)).trimmed == count
    print(f"    the server was kept {longest_ms(server, 'evalsha')}")
    print(f"  memory after it: {(memory(server) - empty) / count:.0f} bytes an event")
    print(f"  archive: {found.manifest.size_bytes / count:.1f} bytes an event, {len(found.manifest.segments)} files")
    await read("the archive")
    with measured("replay", count, server):
        await log.replay()
    subject = SubjectKey(Kind.TALENT, "tal-000001")
    begun = time.perf_counter()
    gone = await log.forget(subject)
    print(f"  erasure of {gone:,} events: {time.perf_counter() - begun:.1f} s, files rewritten")
    size = sum(path.stat().st_size for path in (server.directory / "appendonlydir").iterdir())
    print(f"  append-only file after it: {size / count:.0f} bytes an event")
    log.close()


def main() -> None:
    """Each server in each mode that it is taken in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    count = parser.parse_args().events
    for binary in dict.fromkeys((redis_binary(), wheel_binary())):
        for mode in ("always", "everysec"):
            with (
                tempfile.TemporaryDirectory() as name,
                running_redis(Path(name) / "redis", "--appendfsync", mode, binary=binary) as server,
            ):
                try:
                    asyncio.run(run(server, Path(name), count, mode))
                except UnavailableError as error:
                    print(f"\n{binary}, appendfsync {mode}: {error}")


if __name__ == "__main__":
    main()
