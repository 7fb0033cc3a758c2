"""The row of many who ask for the same that nobody has made yet."""

from __future__ import annotations

import asyncio
from collections import Counter
from urllib.parse import urlsplit

from benchmarks.chaos.arena import FIRST, LIST, WORKERS, Arena, country_of, judged
from benchmarks.chaos.load import FINE
from benchmarks.chaos.overload import written
from benchmarks.chaos.rows import Observed, row

LEAVES_S = 0.05
PATIENCE_S = 120


@row(
    12,
    "1,000 identical misses at once, half of their callers leave",
    "each process makes the list once at most; who stayed is answered",
    fast=True,
)
def stampede(arena: Arena) -> Observed:
    count = 300 if arena.is_fast else 1_000
    days = arena.dice(12).randint(2_000, 3_600)
    wanted = {"countries": [country_of(7)], "postedWithinDays": days}
    patient = dict.fromkeys(("CATALOGUE_TIMEOUT", "EVENTS_TIMEOUT", "CACHE_TIMEOUT", "DEADLINE"), "20000")
    with arena.another(
        TANDEM_MAX_IN_FLIGHT="0", **{f"TANDEM_{name}_MS": value for name, value in patient.items()}
    ) as gateway:

        def made() -> tuple[float, float]:
            # By what the cache counts, and by how often somebody's interest was computed, whoever counts it.
            return (
                arena.metric("tandem_cache_total", gateway, of="lists", outcome="computed"),
                arena.metric("tandem_step_seconds_count", gateway, step="fold-in"),
            )

        before = made()
        asked = written(arena.request(LIST, {"id": "t7", "first": FIRST, "filter": wanted}, gateway))
        verdicts = asyncio.run(all_at_once(gateway.url, asked, count))
        computed, solved = (after - known for after, known in zip(made(), before, strict=True))
    stayed = {verdict: number for verdict, number in verdicts.items() if verdict != "left"}
    return Observed(
        f"{count} asked the same by one barrier: {dict(verdicts)}; lists made: {computed:.0f}, interests computed: "
        f"{solved:.0f} by {WORKERS} processes",
        max(computed, solved) <= WORKERS and not set(stayed) - set(FINE) and sum(stayed.values()) >= count // 2,
    )


async def all_at_once(url: str, asked: bytes, count: int) -> Counter[str]:
    """Everybody is connected before anybody asks; every second one leaves soon."""
    place, connected = urlsplit(url), asyncio.Semaphore(50)
    verdicts: Counter[str] = Counter()
    barrier = asyncio.Barrier(count)

    async def ask(number: int) -> None:
        async with connected:
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            await barrier.wait()
            writer.write(asked)
            async with asyncio.timeout(LEAVES_S if number % 2 else PATIENCE_S):
                verdicts[await read(reader)] += 1
        except TimeoutError:
            verdicts["left"] += 1
        except (OSError, asyncio.IncompleteReadError) as error:
            verdicts[type(error).__name__] += 1
        finally:
            writer.close()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(ask(number))
    return verdicts


async def read(reader: asyncio.StreamReader) -> str:
    """The verdict on one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(maxsplit=2)[1].decode()
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    return judged(body) if status == "200" else f"status {status}"
