"""Rows of more than can be answered, and of one caller who asks too much."""

from __future__ import annotations

import time

from benchmarks.chaos.arena import Arena, capacity
from benchmarks.chaos.load import DEGRADED, OK, SHED
from benchmarks.chaos.rows import Observed, row

REFUSED_MS, MARGIN = 100.0, 3.0


@row(
    17,
    "2 and 10 times as much as can be answered",
    "goodput >= 80 % of peak; refused by 503 with Retry-After, p99 <= 100 ms (gate 300)",
)
def overload(arena: Arena) -> Observed:
    said, is_expected = [], True
    with arena.another() as gateway:
        peak = capacity(arena, gateway)
        for times in (2, 10):
            with arena.load(gateway, rate=times * peak) as load:
                time.sleep(8)
            window = load.all()
            share = window.good / 8 / peak
            refused = window.quantile_ms(0.99, SHED)
            lacking = sum(answer.verdict == SHED and not answer.retry_after for answer in load.answers)
            said.append(
                f"{times} times: goodput {share:.0%} of {peak:.0f}/s, {window.text()}, accepted p99 "
                f"{window.quantile_ms(0.99, OK, DEGRADED):.0f} ms, refused p99 {refused:.0f} ms, {lacking} without "
                "Retry-After"
            )
            is_expected &= share >= 0.8 and refused <= REFUSED_MS * MARGIN and not lacking and not window.failed
    return Observed("; ".join(said), is_expected)


@row(18, "after 10 times as much for 15 s", "as before <= 5 s after it (gate 10)")
def afterwards(arena: Arena) -> Observed:
    with arena.another() as gateway:
        peak = capacity(arena, gateway)
        with arena.load(gateway, rate=10 * peak) as storm:
            time.sleep(15)
        with arena.load(gateway, rate=peak / 2) as load:
            time.sleep(15)
    recovered = load.recovered_s(load.began_s)
    late = load.between(load.began_s + 10, time.time())
    return Observed(
        f"storm: {storm.all().text()}; then at half of the peak: as before after "
        f"{'-' if recovered is None else f'{recovered:.1f}'} s; last seconds: {late.text()}",
        recovered is not None and recovered <= 10 and not late.failed,
    )
