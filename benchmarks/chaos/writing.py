"""Rows of what is written: nothing acknowledged is lost or doubled, and what cannot be written is refused."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from benchmarks.chaos.arena import Arena
from benchmarks.chaos.rows import Observed, row
from benchmarks.processes import memory_mb
from tests.faults import REFUSE
from tests.production.kills import Victim, gateway, kill_and_count
from tests.production.races import event_of
from tests.production.stack import RECORD, running_stack


@row(27, "gateways and Redis killed by SIGKILL while events are written", "0 acknowledged lost, 0 doubled", fast=True)
def acknowledged(arena: Arena) -> Observed:
    place = urlsplit(arena.stack.elasticsearch_url)
    with running_stack(arena.directory / "writing", f"elasticsearch://{place.netloc}") as stack:
        replicas = (stack.replica(), stack.replica())
        redis = Victim("redis", stack.redis.kill, stack.redis.start)
        victims = [gateway("gateway", replicas[0]), redis]
        victims *= 1 if arena.is_fast else 2
        toll = asyncio.run(kill_and_count(stack, replicas, victims, dead_seconds=0.3, seed=arena.seed))
    return Observed(
        f"killed {dict(toll.kills)}; {len(toll.event_ids)} events and {toll.upserts} documents acknowledged; lost or "
        f"doubled: {len(toll.faults)} {' '.join(toll.faults[:2])}; refused meanwhile {dict(toll.refusals)}",
        not toll.faults and len(toll.event_ids) > 0,
    )


def kept_events(arena: Arena, prefix: str) -> Counter[str]:
    """How often each event is kept whose id begins so."""

    async def kept() -> Counter[str]:
        with arena.stack.events() as log:
            events = [one async for batch in log.scan() for one in batch]
        return Counter(one.event_id for one in events if one.event_id.startswith(prefix))

    return asyncio.run(kept())


def recorded(arena: Arena, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What became of events, which are sent again while a store is away: that doubles nothing."""
    for _ in range(20):
        answer = arena.ask(RECORD, {"events": events}).json()
        if "errors" not in answer:
            break
        time.sleep(0.25)
    assert "errors" not in answer, answer["errors"]
    found: dict[str, Any] = answer["data"]["recordEvents"]
    return found


@row(
    28,
    "events again, in another order, by the same id with another content",
    "each counted once; conflicts are typed",
    fast=True,
)
def again(arena: Arena) -> Observed:
    dice, kind = arena.dice(28), "VIEW"
    stamp = time.time_ns()
    events = [event_of(f"again-{stamp}-{n}", kind, f"t{n % 300 + 1}", f"j{n % 240 + 1}") for n in range(200)]
    taken: Counter[str] = Counter()
    for _ in range(3):
        dice.shuffle(events)
        for start in range(0, len(events), 50):
            found = recorded(arena, events[start : start + 50])
            taken["accepted"] += found["acceptedCount"]
            taken.update(error["code"] for error in found["userErrors"])
    other = [{**event, "jobId": "j240" if event["jobId"] != "j240" else "j1"} for event in events[:50]]
    found = recorded(arena, other)
    conflicts = Counter(error["code"] for error in found["userErrors"])
    counted = kept_events(arena, f"again-{stamp}")
    doubled = sum(count != 1 for count in counted.values())
    return Observed(
        f"200 events three times: {dict(taken)}; kept {len(counted)}, {doubled} not once; 50 with another content: "
        f"{dict(conflicts)}, {found['acceptedCount']} accepted",
        len(counted) == 200 and not doubled and not found["acceptedCount"] and sum(conflicts.values()) == 50,
    )


@row(29, "event log refuses for 20 s", "writes refused as UNAVAILABLE, nothing queued, lists go on, 0 lost afterwards")
def log_away(arena: Arena) -> Observed:
    stamp, codes, number = time.time_ns(), Counter[str](), 0
    acknowledged: list[str] = []
    before = memory_mb(*arena.pids())

    def write() -> None:
        nonlocal number
        number += 1
        name = f"away-{stamp}-{number}"
        answer = arena.ask(RECORD, {"events": [event_of(name, "VIEW", "t5", "j5")]}).json()
        if "errors" in answer:
            codes[answer["errors"][0]["extensions"]["code"]] += 1
        else:
            codes["accepted"] += 1
            acknowledged.append(name)

    with arena.load() as load:
        arena.events.fail(REFUSE)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            write()
            time.sleep(0.02)
        while_away = codes["accepted"]
        arena.events.heal()
        time.sleep(3)
        for _ in range(20):
            write()
    there = kept_events(arena, f"away-{stamp}")
    lost = [name for name in acknowledged if name not in there]
    extra = there.keys() - set(acknowledged)
    grown = memory_mb(*arena.pids()) - before
    return Observed(
        f"{dict(codes)}, {while_away} of them accepted while away; lost {len(lost)}, written though refused "
        f"{len(extra)}; memory {grown:+.1f} MB; {load.all().text()}",
        not lost and not while_away and not load.all().failed and codes["accepted"] == 20 and grown < 30,
    )
