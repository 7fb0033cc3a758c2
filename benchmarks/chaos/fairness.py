"""Rows of callers who ask for more than their share: what they may spend, and what their neighbours feel of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks.chaos.access import by_provider, signed
from benchmarks.chaos.arena import FIRST, LIST, TALENTS, WORKERS, Arena, country_of, judged
from benchmarks.chaos.load import FINE, SHED, THROTTLED, Load, Window, headers_of
from benchmarks.chaos.rows import Observed, row
from benchmarks.vegeta import Request
from tests.faults import REFUSE
from tests.production.stack import SERVICE_TOKEN, Replica

BURST, ALLOWED = 50, 10
OTHERS, GREEDY_TIMES = 20, 50
MARGIN = 3.0
WINDOW_S = 8.0
WINDOWS = 3  # of each kind, by turns
HEALED_S = 3.0  # after which Redis is asked again


@row(
    33,
    "a viewer spends 50 times what a minute has for 10, at two processes; then without Redis",
    "10 answered, the others 429 with Retry-After; without Redis at most 10 by each process; 10 again after it",
    fast=True,
)
def spending(arena: Arena) -> Observed:
    limit = ALLOWED * cost_of_a_list(arena)
    settings = {
        "TANDEM_RATE_LIMITS": f"talent={limit}",
        "TANDEM_MAX_IN_FLIGHT": "0",  # else some are refused as too many at once, and not for what they spend
        "TANDEM_WORKERS": str(WORKERS),
    }
    said, is_expected = [], True
    with by_provider(arena, **settings) as (gateway, _):
        warm(gateway)
        for name, talent in (("", 1), ("without Redis ", 2), ("with it again ", 3)):
            if name.startswith("without"):
                arena.cache.fail(REFUSE)
            took_s, found, lacking = asyncio.run(burst(gateway, talent))
            if name.startswith("without"):
                arena.cache.heal()
                time.sleep(HEALED_S)
            answered = sum(found[verdict] for verdict in FINE)
            # What a minute has comes back evenly: one more of the ten every six seconds.
            most = ALLOWED + int(took_s * ALLOWED / 60)
            least = 1 if name.startswith("without") else ALLOWED
            most *= WORKERS if name.startswith("without") else 1
            is_expected &= least <= answered <= most and answered + found[THROTTLED] == BURST and not lacking
            said.append(f"{name}{dict(found)} in {took_s:.1f} s, {lacking} without Retry-After")
    return Observed(f"{limit} a minute, a list costs {limit // ALLOWED}: {'; '.join(said)}", is_expected)


def list_of(talent: int, days: int | None = None) -> dict[str, Any]:
    """What a talent asks for. days: makes it another list than that of other days."""
    wanted: dict[str, Any] = {"countries": [country_of(talent)]}
    if days is not None:
        wanted["postedWithinDays"] = days
    return {"query": LIST, "variables": {"id": f"t{talent}", "filter": wanted, "first": FIRST}}


def cost_of_a_list(arena: Arena) -> int:
    """As the gateway counts it."""
    headers = headers_of(SERVICE_TOKEN, **{"Tandem-Cost": "1"})
    url = f"{arena.gateway.url}/graphql"
    answer = httpx.post(url, json=list_of(1), headers=dict(headers), timeout=30, trust_env=False)
    return int(answer.json()["extensions"]["cost"]["requestedQueryCost"])


def warm(gateway: Replica) -> None:
    """Ask until both processes have answered, by somebody who does not count."""
    for _ in range(12):
        headers = dict(headers_of(signed(TALENTS)))
        httpx.post(f"{gateway.url}/graphql", json=list_of(TALENTS), headers=headers, timeout=60, trust_env=False)


async def burst(gateway: Replica, talent: int) -> tuple[float, Counter[str], int]:
    """All at once by one viewer, each on a connection of its own: seconds, verdicts, refusals without Retry-After."""
    found: Counter[str] = Counter()
    lacking = 0
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(
        headers=dict(headers_of(signed(talent))), limits=limits, timeout=60, trust_env=False
    ) as client:
        begun = time.monotonic()
        asking = [client.post(f"{gateway.url}/graphql", json=list_of(talent)) for _ in range(BURST)]
        for answer in await asyncio.gather(*asking):
            is_throttled = answer.status_code == httpx.codes.TOO_MANY_REQUESTS
            lacking += is_throttled and "Retry-After" not in answer.headers
            found[THROTTLED if is_throttled else judged(answer.content)] += 1
    return time.monotonic() - begun, found, lacking


@row(
    38,
    f"one viewer asks {GREEDY_TIMES} times as often as each of {OTHERS} others",
    "none of the others' refused or failed, their p99 <= 1.2 times of before (gate 3)",
)
def neighbours(arena: Arena) -> Observed:
    rate = max(0.25, arena.rate / 2 / OTHERS)  # of each: together a quarter of the capacity
    limit = round(4 * 60 * rate * cost_of_a_list(arena))  # four times of what each of the others spends
    settings = {"TANDEM_RATE_LIMITS": f"talent={limit}", "TANDEM_WORKERS": str(WORKERS)}
    dice = arena.dice(38)

    def requests(talents: Sequence[int]) -> list[Request]:
        url = f"{gateway.url}/graphql"
        headers = {talent: headers_of(signed(talent)) for talent in talents}
        chosen = [talents[number % len(talents)] for number in range(400)]
        return [
            Request(url, list_of(one, dice.randint(2_000, 3_600) if dice.random() < 0.5 else None), headers[one])
            for one in chosen
        ]

    alone: list[Window] = []
    beside: list[Window] = []
    greedy: Counter[str] = Counter()
    with by_provider(arena, **settings) as (gateway, _):
        warm(gateway)
        others = requests(range(1, OTHERS + 1))
        for place in range(2 * WINDOWS):
            with Load(others, OTHERS * rate, 600, judged) as load:
                if place % 2:
                    with Load(requests([OTHERS + 1]), GREEDY_TIMES * rate, 600, judged) as much:
                        time.sleep(WINDOW_S)
                    greedy += much.all().verdicts
                else:
                    time.sleep(WINDOW_S)
            (beside if place % 2 else alone).append(load.all())
    before, during = together(alone), together(beside)
    slowed = during.quantile_ms(0.99) / max(1.0, before.quantile_ms(0.99))
    refused = during.verdicts[SHED] + during.verdicts[THROTTLED]
    return Observed(
        f"{OTHERS} viewers at {rate:.2f}/s each, alone: {before.text()}; beside one at {GREEDY_TIMES * rate:.0f}/s "
        f"({dict(greedy)}): {during.text()}; p99 {slowed:.2f} times, p50 "
        f"{during.quantile_ms(0.5) / max(1.0, before.quantile_ms(0.5)):.2f} times",
        not during.failed and not refused and greedy[THROTTLED] > 0 and slowed <= MARGIN,
    )


def together(windows: Sequence[Window]) -> Window:
    """Several as one."""
    answers = [answer for window in windows for answer in window.answers]
    return Window(answers, sum(window.seconds for window in windows))
