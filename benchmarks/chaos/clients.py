"""Rows of clients that don't wait for their answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from urllib.parse import urlsplit

import httpx
import orjson

from benchmarks.chaos.arena import FIRST, LIST, TALENTS, Arena, country_of, in_seconds, within
from benchmarks.chaos.rows import Observed, row
from tests.production.stack import SERVICE_TOKEN, Replica

LONGEST_WAIT = 1.5  # of a client that leaves, in medians of those before: a list that was never asked for takes longer


@row(
    36,
    "half of the clients leave in mid-request",
    "0 of the others failed; tasks, requests in flight and files then as before; no search goes on, no breaker opens",
)
def leavers(arena: Arena) -> Observed:
    seconds = 20.0
    left: Counter[str] = Counter()
    with arena.another() as gateway:
        with arena.load(gateway, rate=arena.rate / 2) as usual:
            time.sleep(4)
        longest_s = LONGEST_WAIT * usual.all().quantile_ms(0.5) / 1_000
        arena.until_well(gateway)
        time.sleep(2.5)  # until both processes have said what they hold
        before, searches = held(arena, gateway), searching(arena)
        opened = arena.metric("tandem_guarded_total", gateway, outcome="opened")
        with arena.load(gateway, rate=arena.rate / 2) as load:
            asyncio.run(_leave(arena, gateway.url, seconds, longest_s, left))
        at_rest = within(20, lambda: is_as(held(arena, gateway), before) and searching(arena) <= searches)
        after = held(arena, gateway)
        opened = arena.metric("tandem_guarded_total", gateway, outcome="opened") - opened
    compared = ", ".join(f"{name} {before[name]:.0f} -> {after[name]:.0f}" for name in before)
    return Observed(
        f"{left['left']} left, {left['answered']} were answered before they could; {compared}; searches in "
        f"Elasticsearch {searches} -> {searching(arena)}; so after {in_seconds(at_rest)}; "
        f"breakers opened {opened:.0f} times; those who stayed: {load.all().text()}",
        at_rest is not None and left["left"] > left["answered"] and not load.all().failed and not opened,
    )


def held(arena: Arena, gateway: Replica) -> dict[str, float]:
    """What a request holds while it is answered, of both processes."""
    names = {
        "requests in flight": "tandem_http_requests_in_flight",
        "tasks": "tandem_loop_tasks",
        "files of a process": "tandem_open_files",
    }
    return {name: arena.metric(metric, gateway) for name, metric in names.items()}


def is_as(found: dict[str, float], before: dict[str, float]) -> bool:
    """Whether no more is held; a few files are connections that are kept."""
    return all(found[name] <= before[name] + (10 if "files" in name else 0) for name in before)


def searching(arena: Arena) -> int:
    """How many searches Elasticsearch is busy with."""
    url = f"{arena.stack.elasticsearch_url.replace('elasticsearch://', 'http://')}/_tasks"
    nodes = httpx.get(url, params={"actions": "indices:data/read/*"}, timeout=30, trust_env=False).json()["nodes"]
    return sum(len(node["tasks"]) for node in nodes.values())


async def _leave(arena: Arena, url: str, seconds: float, longest_s: float, left: Counter[str]) -> None:
    """Ask for lists that nobody has asked for before, at half of the rate, and hang up while they are made."""
    dice, place = arena.dice(36), urlsplit(url)
    until, number = time.monotonic() + seconds, 0

    async def ask(number: int, wait_s: float) -> None:
        talent = number % TALENTS + 1
        wanted = {"countries": [country_of(talent)], "postedWithinDays": 2_000 + number}
        body = orjson.dumps({"query": LIST, "variables": {"id": f"t{talent}", "filter": wanted, "first": FIRST}})
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {SERVICE_TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answers, questions = await asyncio.open_connection(place.hostname, place.port)
        questions.write(head.encode() + body)
        try:
            async with asyncio.timeout(wait_s):
                await answers.read(1)
            left["answered"] += 1
        except TimeoutError:
            left["left"] += 1
        finally:
            questions.transport.abort()

    async with asyncio.TaskGroup() as group:
        while time.monotonic() < until:
            number += 1
            group.create_task(ask(number, dice.uniform(0.001, longest_s)))
            await asyncio.sleep(2 / arena.rate)
