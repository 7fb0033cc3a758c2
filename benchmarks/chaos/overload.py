"""Rows of more than can be answered."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import orjson

from benchmarks.chaos.arena import FIRST, LIST, Arena, capacity, country_of
from benchmarks.chaos.load import DEGRADED, OK, SHED, Window
from benchmarks.chaos.rows import Observed, row
from benchmarks.processes import cpu_seconds
from benchmarks.vegeta import Request
from tests.production.stack import Replica

REFUSED_MS, MARGIN = 100.0, 3.0
SECONDS = 8.0
ASKED_EVERY_S = 0.02


class Witness(threading.Thread):
    """One more client, on a connection of its own, one request after the other: how soon it is refused does not depend
    on how late a generator of thousands is."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.refused_ms: list[float] = []
        self._request = request
        self._ends = threading.Event()

    def run(self) -> None:
        """Ask until the end."""
        place = urlsplit(self._request.url)
        asked = written(self._request)
        while not self._ends.is_set():
            with socket.create_connection((place.hostname or "", place.port or 0), timeout=30) as connection:
                while not self._ends.wait(ASKED_EVERY_S):
                    begun = time.perf_counter()
                    connection.sendall(asked)
                    answer = connection.recv(65_536)
                    took_ms = (time.perf_counter() - begun) * 1_000
                    if not answer.startswith(b"HTTP/1.1 503"):
                        break  # the rest of a list may be on its way
                    self.refused_ms.append(took_ms)

    def end(self) -> None:
        """Ask no more."""
        self._ends.set()
        self.join()

    def quantile_ms(self, share: float) -> float:
        """Of its refusals."""
        found = sorted(self.refused_ms)
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0


def written(request: Request) -> bytes:
    """A request as its bytes."""
    body = orjson.dumps(request.body)
    headers = {"Host": "t", "Content-Type": "application/json", "Content-Length": str(len(body)), **request.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /graphql HTTP/1.1\r\n{head}\r\n".encode() + body


@contextmanager
def witnessed(arena: Arena, gateway: Replica) -> Iterator[Witness]:
    """With a witness for the length of a block."""
    variables = {"id": "t5", "filter": {"countries": [country_of(5)]}, "first": FIRST}
    witness = Witness(arena.request(LIST, variables, gateway))
    witness.start()
    try:
        yield witness
    finally:
        witness.end()


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
            workers = arena.workers(gateway)
            spent_s = sum(map(cpu_seconds, workers))
            with arena.load(gateway, rate=times * peak) as load, witnessed(arena, gateway) as witness:
                time.sleep(SECONDS)
            spent_s = sum(map(cpu_seconds, workers)) - spent_s
            window = load.all()
            share = window.good / SECONDS / peak
            refused = window.quantile_ms(0.99, SHED)
            lacking = sum(answer.verdict == SHED and not answer.retry_after for answer in load.answers)
            said.append(
                f"{times} times: goodput {share:.0%} of {peak:.0f}/s, {window.text()}, accepted p99 "
                f"{window.quantile_ms(0.99, OK, DEGRADED):.0f} ms; refused p99 {refused:.0f} ms, {lacking} without "
                f"Retry-After; {_apart(window, witness)}; CPU of the gateway {spent_s / SECONDS:.2f} cores"
            )
            is_expected &= share >= 0.8 and refused <= REFUSED_MS * MARGIN and not lacking and not window.failed
    return Observed("; ".join(said), is_expected)


def _apart(window: Window, witness: Witness) -> str:
    """What of the time of refusals is the gateway's."""
    late = sorted(answer.late_ms for answer in window.answers)
    return (
        f"sent late by p50 {late[len(late) // 2]:.0f} p99 {late[int(0.99 * len(late))]:.0f} ms; since sent accepted "
        f"p99 {window.since_sent_ms(0.99, OK, DEGRADED):.0f}, refused p99 {window.since_sent_ms(0.99, SHED):.0f} ms; "
        f"one more client, on its own connection, refused p50 {witness.quantile_ms(0.5):.0f} p99 "
        f"{witness.quantile_ms(0.99):.0f} ms ({len(witness.refused_ms)} times)"
    )


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
