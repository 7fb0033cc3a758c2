"""The row of what goes on for long: memory that grows with every request would show."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.chaos.arena import FIRST, LIST_OF_ANYBODY, Arena, capacity, country_of, judged_of_anybody
from benchmarks.chaos.rows import Observed, row
from benchmarks.processes import memory_mb
from benchmarks.vegeta import Request

ROUNDS_A_MINUTE = 4
WARM = 1 / 3  # of the rounds: caches fill, allocators take what they keep
SHARE = 0.7  # of what can be answered


@row(
    34,
    "memory while viewers and variables that nobody has asked with before ask on and on",
    "0 failed; after warm-up < 1 MB more per 100,000 requests",
)
def soak(arena: Arena) -> Observed:
    rounds = max(6, round(arena.minutes * ROUNDS_A_MINUTE))
    seconds, asked, failed = 60 / ROUNDS_A_MINUTE, [0], 0
    with arena.another() as gateway:

        def requests(first: int, count: int) -> list[Request]:
            return [
                arena.request(
                    LIST_OF_ANYBODY,
                    {
                        "id": f"viewer-{number}",
                        "filter": {"countries": [country_of(number)], "postedWithinDays": 2_000 + number % 1_600},
                        "first": FIRST,
                    },
                    gateway,
                )
                for number in range(first, first + count)
            ]

        rate = SHARE * capacity(arena, gateway)
        pids, grown = arena.pids(gateway), [memory_mb(*arena.pids(gateway))]
        for _ in range(rounds):
            count = int(rate * seconds)
            with arena.load(
                gateway, rate=rate, seconds=seconds, requests=requests(asked[-1], count), judge=judged_of_anybody
            ) as load:
                time.sleep(seconds)
            asked.append(asked[-1] + len(load.answers))
            failed += load.all().failed
            grown.append(memory_mb(*pids))
    first = round(WARM * rounds)
    slope = 100_000 * float(np.polyfit(asked[first:], grown[first:], 1)[0])
    return Observed(
        f"{asked[-1]} requests at {rate:.0f} a second, {failed} failed; memory {grown[0]:.1f} MB, after warm-up "
        f"({asked[first]} requests) {grown[first]:.1f}, in the end {grown[-1]:.1f}: {slope:+.2f} MB per 100,000",
        not failed and slope < 1,
    )
