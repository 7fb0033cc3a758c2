"""The row of what goes on for long: memory that grows with every request would show."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.chaos.arena import FIRST, LIST_OF_ANYBODY, Arena, capacity, country_of, judged_of_anybody
from benchmarks.chaos.rows import Observed, row
from benchmarks.processes import memory_mb
from benchmarks.vegeta import Request

ROUNDS_A_MINUTE = 4
# What was read of viewers is kept of some 200,000 in each process, so that memory grows until as many have asked: in
# less than half an hour the same come again, with other variables.
LONG_MINUTES, FEW_VIEWERS = 30.0, 1_500
WARM_SHORT, WARM_LONG = 0.5, 0.75  # of the rounds: caches fill, allocators take what they keep
SHARE = 0.7  # of what can be answered


@row(
    34,
    "memory while lists are asked for that nobody has asked for before, on and on; of new viewers from half an hour on",
    "0 failed; after warm-up < 1 MB more per 100,000 requests",
)
def soak(arena: Arena) -> Observed:
    is_long = arena.minutes >= LONG_MINUTES
    rounds = max(6, round(arena.minutes * ROUNDS_A_MINUTE))
    seconds, asked, failed = 60 / ROUNDS_A_MINUTE, [0], 0
    with arena.another() as gateway:

        def requests(first: int, count: int) -> list[Request]:
            return [
                arena.request(
                    LIST_OF_ANYBODY,
                    {
                        "id": f"viewer-{number if is_long else number % FEW_VIEWERS}",
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
    first = round((WARM_LONG if is_long else WARM_SHORT) * rounds)
    slope = 100_000 * float(np.polyfit(asked[first:], grown[first:], 1)[0])
    return Observed(
        f"{asked[-1]} requests of {asked[-1] if is_long else FEW_VIEWERS} viewers, "
        f"{rate:.0f} a second, {failed} failed; memory {grown[0]:.1f} MB, after warm-up "
        f"({asked[first]} requests) {grown[first]:.1f}, in the end {grown[-1]:.1f}: {slope:+.2f} MB per 100,000",
        not failed and slope < 1,
    )
