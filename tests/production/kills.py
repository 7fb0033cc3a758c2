"""Writers that go on while gateways and servers are killed with SIGKILL: what was acknowledged must be there after all.

Every writer has talents or jobs of its own and sends a write again until it is acknowledged, to either gateway. So it
knows what there must be in the end, and a server that forgot or doubled something differs from it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.production.races import JOBS_OF_TALENT, event_of
from tests.production.stack import JOBS, RECORD, TALENTS, UPSERT_JOBS, Client, Replica, Stack, http_client

PAUSE_SECONDS = 0.02  # before a write is sent again
RECOVERY_SECONDS = 30  # at most, from a server's start to an answer

STATE = """query($id: ID!) { job(jobId: $id) { status attributes(names: ["turn"]) { value } } }"""


@dataclass
class Toll:
    """What was killed, written and refused, and what was wrong in the end. event_ids: acknowledged, in any order."""

    kills: Counter[str] = field(default_factory=Counter)
    event_ids: list[str] = field(default_factory=list)
    upserts: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    while_other_was_dead: int = 0  # writes that the living gateway acknowledged
    recovery_ms: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Victim:
    """Something to kill and to start again. Its other gateway, if it is one, must go on meanwhile."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], None]


def gateway(name: str, replica: Replica) -> Victim:
    """A gateway as a victim."""
    return Victim(name, replica.kill, replica.start)


async def kill_and_count(
    stack: Stack,
    replicas: Sequence[Replica],
    victims: Sequence[Victim],
    *,
    dead_seconds: float,
    seed: int,
) -> Toll:
    """Kill each victim once, in that order, while eight writers record events and four upsert jobs; then look.

    dead_seconds: at least, and until a write was refused."""
    toll = Toll()
    done, refused = asyncio.Event(), asyncio.Event()
    dead: set[str] = set()
    hidden: dict[str, set[str]] = {}
    jobs: dict[str, tuple[str, int]] = {}

    async def send(query: str, variables: Mapping[str, Any], field_name: str, chosen: random.Random) -> None:
        """Until it is acknowledged."""
        while True:
            try:
                answer = await client.answer(chosen.choice(replicas), query, variables)
            except httpx.TransportError as error:
                toll.refusals[type(error).__name__] += 1
            else:
                codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
                toll.refusals.update(codes)
                if not codes:
                    found = answer["data"][field_name]
                    if found["userErrors"]:
                        toll.faults.append(f"{field_name}: {found['userErrors']}")
                    break
            refused.set()
            await asyncio.sleep(PAUSE_SECONDS)
        toll.while_other_was_dead += bool(dead)

    async def record(number: int) -> None:
        chosen = random.Random(f"{seed}.{number}")
        talents = [f"t{n}" for n in range(1 + number, TALENTS + 1, 8)]
        hidden.update({talent: set() for talent in talents})
        turn = 0
        while not done.is_set():
            talent, job = chosen.choice(talents), f"j{chosen.randint(1, JOBS)}"
            event_id, kind = f"kill-{seed}-{number}-{turn}", "UNDISMISS" if job in hidden[talent] else "DISMISS"
            await send(RECORD, {"events": [event_of(event_id, kind, talent, job)]}, "recordEvents", chosen)
            hidden[talent] ^= {job}
            toll.event_ids.append(event_id)
            turn += 1

    async def upsert(number: int) -> None:
        chosen = random.Random(f"{seed}.upsert.{number}")
        names = [f"killed-{seed}-{number}-{n}" for n in range(3)]
        turn = 0
        while not done.is_set():
            name, status = chosen.choice(names), chosen.choice(["CLOSED", "FILLED", "DRAFT"])
            job = {"jobId": name, "status": status, "attributes": [{"name": "turn", "value": str(turn)}]}
            await send(UPSERT_JOBS, {"jobs": [job]}, "upsertJobs", chosen)
            jobs[name] = status, turn
            toll.upserts += 1
            turn += 1

    async def attack() -> None:
        chosen = random.Random(seed)
        for victim in victims:
            await asyncio.sleep(chosen.uniform(0.1, 0.5))
            is_gateway = victim.name.startswith("gateway")
            await asyncio.to_thread(victim.kill)
            refused.clear()
            dead.update({victim.name} if is_gateway else ())
            await asyncio.sleep(dead_seconds)
            async with asyncio.timeout(RECOVERY_SECONDS):
                await refused.wait()
            await asyncio.to_thread(victim.start)
            dead.clear()
            started = time.perf_counter()
            for replica in replicas:
                await _recovered(client, replica)
            toll.recovery_ms.append((time.perf_counter() - started) * 1_000)
            toll.kills[victim.name.partition(" ")[0]] += 1

    async with http_client() as client:
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(record(number))
            for number in range(4):
                group.create_task(upsert(number))
            await attack()
            done.set()
        for replica in replicas:
            toll.faults += await _faults(client, replica, hidden, jobs)
        undone = [(talent, job) for talent, dismissed in hidden.items() for job in sorted(dismissed)]
        alive = [event_of(f"alive-{seed}-{place}", "UNDISMISS", *pair) for place, pair in enumerate(undone)]
        for start in range(0, len(alive), 500):  # as many as one mutation takes; then the lists are as they were
            await client.record(replicas[0], *alive[start : start + 500])
    with stack.events() as log:
        kept = Counter([event.event_id async for batch in log.scan() for event in batch])
    toll.faults += [f"{one} is kept {kept[one]} times" for one in toll.event_ids if kept[one] != 1]
    return toll


async def _recovered(client: Client, replica: Replica) -> None:
    """Wait until a gateway answers with a list."""
    deadline = time.perf_counter() + RECOVERY_SECONDS
    while True:
        try:
            if "errors" not in await client.answer(replica, JOBS_OF_TALENT, {"id": "t1"}):
                return
        except httpx.TransportError:
            pass
        assert time.perf_counter() < deadline, f"{replica.url} does not recover"
        await asyncio.sleep(PAUSE_SECONDS)


async def _faults(
    client: Client, replica: Replica, hidden: Mapping[str, set[str]], jobs: Mapping[str, tuple[str, int]]
) -> list[str]:
    """Where a gateway differs from what was acknowledged."""
    faults = []
    for talent, dismissed in hidden.items():
        total = (await client.data(replica, JOBS_OF_TALENT, {"id": talent}))["subject"]["list"]["totalCount"]
        applied = f"j{int(talent[1:]) * 7 % JOBS + 1}"  # before all this
        if total != JOBS - len(dismissed | {applied}):
            faults.append(f"{talent} has {total} jobs, expected {JOBS - len(dismissed | {applied})}")
    for name, (status, turn) in jobs.items():
        job = (await client.data(replica, STATE, {"id": name}))["job"]
        if job != {"status": status, "attributes": [{"value": str(turn)}]}:
            faults.append(f"{name} is {job}, expected {status} of turn {turn}")
    return faults
