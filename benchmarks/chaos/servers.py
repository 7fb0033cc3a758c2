"""Rows of Elasticsearch and Redis that die, hang, reset, are slow, full, torn or empty."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.chaos.arena import Arena, in_seconds, within
from benchmarks.chaos.load import DEGRADED
from benchmarks.chaos.proxies import Proxy
from benchmarks.chaos.rows import Observed, row
from tests.faults import HANG, REFUSE, RESET, SLOW, TORN, Fault, http_answer
from tests.gateway.test_degradation import BUSY, FAILED_SHARD, PARTIAL

RECOVERY_S, MARGIN, ADDED_MS = 3.0, 3.0, 25.0


def tried(
    arena: Arena,
    break_it: Callable[[], object],
    heal: Callable[[], object],
    *,
    degraded: bool,
    recovery_s: float = RECOVERY_S,
    added_ms: float = float("inf"),
) -> Observed:
    """Load before, during and after a fault. degraded: whether answers have to be, while it lasts, all of them.

    added_ms: at most, to half of the answers, while it lasts.
    """
    calm_s, broken_s, after_s = (2.0, 4.0, 4.0) if arena.is_fast else (4.0, 10.0, 6.0)
    with arena.load() as load:
        time.sleep(calm_s)
        begun = time.time()
        try:
            break_it()
            time.sleep(broken_s)
        finally:
            heal()
        healed = time.time()
        time.sleep(after_s)
    before, during = load.between(0, begun), load.between(begun, healed)
    recovered = load.recovered_s(healed, degraded_before=before.share(DEGRADED))
    is_said = during.share(DEGRADED) > 0.95 if degraded else during.share(DEGRADED) <= before.share(DEGRADED) + 0.1
    return Observed(
        f"{during.text()} (before: p50 {before.quantile_ms(0.5):.0f} p99 {before.quantile_ms(0.99):.0f} ms, "
        f"{before.share(DEGRADED):.0%} degraded); "
        f"{load.all().failed} failed in all; as before {in_seconds(recovered)} after healing",
        not load.all().failed
        and is_said
        and during.quantile_ms(0.5) <= before.quantile_ms(0.5) + added_ms
        and during.quantile_ms(0.99) <= max(arena.late_ms, 2 * before.quantile_ms(0.99))
        and recovered is not None
        and recovered <= recovery_s,
    )


def all_of(parts: dict[str, Observed]) -> Observed:
    """Of a row with several faults."""
    text = "; ".join(
        f"{name}: {'' if part.is_expected else 'NOT AS EXPECTED: '}{part.text}" for name, part in parts.items()
    )
    return Observed(text, all(part.is_expected for part in parts.values()))


def by_proxy(arena: Arena, proxies: Sequence[Proxy], fault: Fault, *, degraded: bool) -> Observed:
    """The same fault of every proxy of these."""

    def heal() -> None:
        for proxy in proxies:
            proxy.heal()

    def break_it() -> None:
        for proxy in proxies:
            proxy.fail(fault)

    return tried(arena, break_it, heal, degraded=degraded)


@row(
    1,
    "Redis killed (cache; then the event log)",
    "0 failed; without the cache nothing degraded, without the log all; p99 within 3 deadlines; as before <= 5 s",
    fast=True,
)
def redis_killed(arena: Arena) -> Observed:
    return all_of(
        {
            "cache": tried(arena, arena.stack.cache.kill, arena.stack.cache.start, degraded=False, recovery_s=5),
            "event log": tried(arena, arena.stack.redis.kill, arena.stack.redis.start, degraded=True, recovery_s=5),
        }
    )


@row(2, "cache flushed under load", "0 failed, nothing degraded, Elasticsearch asked at most 3 times as often")
def cache_flushed(arena: Arena) -> Observed:
    def asked() -> float:
        return arena.metric("tandem_dependency_seconds_count", dependency="catalogue")

    with arena.load() as load:
        time.sleep(2)
        begun, at_first = time.time(), asked()
        time.sleep(4)
        usual = asked() - at_first
        arena.stack.cache.command("FLUSHALL")
        flushed, at_first = time.time(), asked()
        time.sleep(4)
        after = asked() - at_first
    before, during = load.between(begun, flushed), load.between(flushed, time.time())
    return Observed(
        f"{during.text()} (before p99 {before.quantile_ms(0.99):.0f} ms); Elasticsearch {usual:.0f} times in 4 s "
        f"before, {after:.0f} after",
        not load.all().failed
        and during.share(DEGRADED) <= before.share(DEGRADED) + 0.1
        and after <= MARGIN * usual + 20,
    )


@row(3, "cache black-holed", "0 failed, nothing degraded, the breaker opens; p50 <= 25 ms later")
def cache_black_hole(arena: Arena) -> Observed:
    return _cache_that_hangs(arena, lambda: arena.cache.fail(HANG), arena.cache.heal)


@row(4, "cache stopped by SIGSTOP", "as 3; after SIGCONT it is used again")
def cache_stopped(arena: Arena) -> Observed:
    return _cache_that_hangs(arena, arena.stack.cache.pause, arena.stack.cache.resume)


def _cache_that_hangs(arena: Arena, break_it: Callable[[], object], heal: Callable[[], object]) -> Observed:
    opened = arena.metric("tandem_guarded_total", dependency="cache", outcome="opened")
    found = tried(arena, break_it, heal, degraded=False, recovery_s=5, added_ms=ADDED_MS * arena.patience)
    opened = arena.metric("tandem_guarded_total", dependency="cache", outcome="opened") - opened
    closed = within(10, lambda: arena.metric("tandem_breaker_state", dependency="cache") == 0)
    return Observed(
        f"{found.text}; breakers opened {opened:.0f} times, closed {in_seconds(closed)} after the load",
        found.is_expected and opened >= 1 and closed is not None,
    )


@row(5, "cache gives torn, random or foreign values", "0 failed, nothing wrong, no 5xx", fast=True)
def cache_garbage(arena: Arena) -> Observed:
    dice = arena.dice(5)
    torn = by_proxy(arena, [arena.cache], Fault(cut_after=3), degraded=False)
    keys = [
        part
        for part in arena.stack.cache.command("KEYS", "*").split(b"\r\n")
        if part and not part.startswith((b"*", b"$"))
    ]
    with arena.load() as load:
        for key in keys[:2_000]:
            value = dice.randbytes(dice.choice((0, 1, 7, 300)))
            arena.stack.cache.command("SET", key, value)
        time.sleep(4)
    return Observed(
        f"torn: {torn.text}; {len(keys)} keys overwritten at random: {load.all().text()}",
        torn.is_expected and not load.all().failed,
    )


@row(6, "the way of invalidations lost", "there is none to lose: each request asks for what has changed")
def invalidations(arena: Arena) -> Observed:
    job = {"jobId": "j3", "status": "CLOSED"}
    upsert = (
        "mutation($jobs: [JobInput!]!) { upsertJobs(input: { jobs: $jobs }) { acceptedCount userErrors { code } } }"
    )
    stale = 0
    read = 'query { job(jobId: "j3") { status } jobs(filter: { ids: ["j3"] }) { totalCount } }'
    with arena.another(workers=1) as other:
        arena.cache.fail(HANG)
        try:
            for turn in range(20):
                job["status"] = "CLOSED" if turn % 2 else "OPEN"
                answer = arena.ask(upsert, {"jobs": [job]}).json()
                if "errors" in answer or answer["data"]["upsertJobs"]["userErrors"]:
                    return Observed(f"a change was not taken: {answer}"[:300], False)
                seen = arena.ask(read, gateway=other).json()
                stale += seen["data"]["job"]["status"] != job["status"]
        finally:
            arena.cache.heal()
            arena.ask(upsert, {"jobs": [{"jobId": "j3", "status": "OPEN"}]})
    return Observed(
        f"20 changes by one gateway while the cache hangs, read at once from another: {stale} stale", not stale
    )


@row(7, "cache full, and refuses writes", "0 failed, nothing degraded, its breaker stays closed", fast=True)
def cache_full(arena: Arena) -> Observed:
    command = arena.stack.cache.command
    opened = arena.metric("tandem_guarded_total", dependency="cache", outcome="opened")

    def fill() -> None:
        command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        command("CONFIG", "SET", "maxmemory", "1mb")

    def empty() -> None:
        command("CONFIG", "SET", "maxmemory", "0")

    found = tried(arena, fill, empty, degraded=False)
    opened = arena.metric("tandem_guarded_total", dependency="cache", outcome="opened") - opened
    return Observed(f"{found.text}; breakers opened {opened:.0f} times", found.is_expected and not opened)


@row(
    8,
    "Elasticsearch hangs",
    "0 failed, all degraded, p99 <= 300 ms (gate: 3 times), as before <= 3 s after healing",
    fast=True,
)
def elasticsearch_hangs(arena: Arena) -> Observed:
    return by_proxy(arena, [arena.catalogue], HANG, degraded=True)


@row(9, "Elasticsearch resets; refuses; sends 1 KB/s; breaks off", "as 8, each")
def elasticsearch_breaks(arena: Arena) -> Observed:
    faults = {"reset": RESET, "refused": REFUSE, "slow": SLOW, "torn": TORN}
    return all_of({name: by_proxy(arena, [arena.catalogue], fault, degraded=True) for name, fault in faults.items()})


@row(
    10,
    "Elasticsearch answers in part: timed_out, failed shards, 429, 503",
    "0 failed, all degraded, none of it in a cache: as before <= 3 s",
)
def elasticsearch_in_part(arena: Arena) -> Observed:
    faults = {
        "timed out": http_answer("200 OK", PARTIAL),
        "failed shard": http_answer("200 OK", FAILED_SHARD),
        "429": http_answer("429 Too Many Requests", BUSY),
        "503": http_answer("503 Service Unavailable", b'{"error":{"type":"x"},"status":503}'),
    }
    return all_of({name: by_proxy(arena, [arena.catalogue], fault, degraded=True) for name, fault in faults.items()})


@row(11, "Redis and Elasticsearch away", "0 failed, all degraded, p99 as 8, as before <= 3 s", fast=True)
def all_away(arena: Arena) -> Observed:
    return by_proxy(arena, [arena.catalogue, arena.events, arena.cache], REFUSE, degraded=True)


@row(
    19,
    "retries by clients, three each, while Elasticsearch refuses all",
    "Elasticsearch asked <= 1.1 times per request; with open breakers far less",
)
def retry_storm(arena: Arena) -> Observed:
    arena.catalogue.fail(http_answer("503 Service Unavailable", b'{"error":{"type":"x"},"status":503}'))
    try:
        before = arena.metric("tandem_dependency_seconds_count", dependency="catalogue")
        with arena.load(rate=arena.rate * 3) as load:  # each request, and what its client asks again
            time.sleep(10)
        asked = arena.metric("tandem_dependency_seconds_count", dependency="catalogue") - before
    finally:
        arena.catalogue.heal()
    requests = len(load.answers)
    ratio = asked / max(1, requests)
    return Observed(
        f"{load.all().text()}; Elasticsearch asked {asked:.0f} times, {ratio:.2f} per request",
        not load.all().failed and ratio <= 1.1,
    )


@row(
    35,
    "servers fail and heal again and again",
    "file descriptors, threads and connections after it as before (+ 10)",
)
def leaks(arena: Arena) -> Observed:
    toggles = 200 if arena.minutes < 1 else 1_000
    dice = arena.dice(35)
    faults = [HANG, RESET, REFUSE, TORN]
    with arena.another() as gateway:

        def held() -> tuple[int, int]:
            pids = arena.workers(gateway)
            return sum(_entries(pid, "fd") for pid in pids), sum(_entries(pid, "task") for pid in pids)

        with arena.load(gateway) as load:
            time.sleep(4)
        before = held()
        with arena.load(gateway, rate=arena.rate / 2) as load:
            for _ in range(toggles):
                proxy = dice.choice((arena.catalogue, arena.events, arena.cache))
                proxy.fail(dice.choice(faults))
                # One in twenty is so long that what hangs is given up.
                time.sleep(dice.uniform(0.5, 1.0) if dice.random() < 0.05 else dice.uniform(0.0, 0.08))
                proxy.heal()
                time.sleep(dice.uniform(0.0, 0.08))
        arena.until_well(gateway)
        time.sleep(2)
        after = held()
    return Observed(
        f"{toggles} toggles: files {before[0]} -> {after[0]}, threads {before[1]} -> {after[1]}; {load.all().text()}",
        not load.all().failed and after[0] <= before[0] + 10 and after[1] <= before[1] + 10,
    )


def _entries(pid: int, name: str) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/{name}").iterdir())
