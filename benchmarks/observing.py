"""What it costs a request to be counted, logged and traced: microseconds of CPU, beside the same request without.

By hand.

    python -m benchmarks.observing [--requests 20000]

The outermost layer and one operation around an application that does nothing: counts of one process, counts shared by
processes, and shared ones with every request traced. Medians of seven rounds, interleaved.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from statistics import median
from typing import Any

ROUNDS = 7
WAYS = ("alone", "shared", "traced")


async def measured(way: str, requests: int) -> list[float]:
    """Microseconds for each request, by round: what the layer adds to the application."""
    from starlette.datastructures import State

    from gateway.graphql.persisted import Operation
    from gateway.http.observation import Observation, ObservedOperation

    operation = Operation("query Feed { viewer { roles } }", name="Feed")
    answer = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}

    async def bare(scope: Any, _receive: Any, send: Any) -> None:
        await send({**answer, "headers": list(answer["headers"])})  # type: ignore[call-overload]

    async def counted(scope: Any, _receive: Any, send: Any) -> None:
        with ObservedOperation(operation, State(scope["state"])) as observed:
            observed.ends((), (), 240, "talent")
        await send({**answer, "headers": list(answer["headers"])})  # type: ignore[call-overload]

    async def send(_message: Any) -> None:
        """Nobody reads it."""

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"accept", b"*/*")]
    observed = Observation(counted, lambda: "0af7651916cd43dd8448eb211c80319c")
    found = []
    for _ in range(ROUNDS):
        seconds = []
        for app in (bare, observed):
            begun = time.process_time()
            for _ in range(requests):
                scope = {"type": "http", "method": "POST", "path": "/graphql", "headers": headers, "state": {}}
                await app(scope, None, send)  # type: ignore[arg-type]
            seconds.append(time.process_time() - begun)
        found.append((seconds[1] - seconds[0]) / requests * 1e6)
    return found


def one_way(way: str, requests: int) -> None:
    """In a process of its own: what is counted first decides where."""
    from contextlib import ExitStack

    with ExitStack() as opened:
        if way != "alone":
            from gateway.shared_counts import share, shared_directory

            share(opened.enter_context(shared_directory()), 0)
        from gateway.logs import set_up_logs
        from gateway.settings import Settings

        set_up_logs(Settings(log_format="json"))
        if way == "traced":
            from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

            from gateway.tracing import end_traces, trace_to

            trace_to(InMemorySpanExporter())
            opened.callback(end_traces)
        print(" ".join(f"{one:.1f}" for one in asyncio.run(measured(way, requests))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        one_way(given.way, given.requests)
        return 0
    for way in WAYS:
        arguments = [sys.executable, "-m", "benchmarks.observing", "--way", way, "--requests", str(given.requests)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)  # noqa: S603 — ourselves
        rounds = [float(one) for one in done.stdout.split()]
        print(f"{way:8}{median(rounds):6.1f} µs (rounds from {min(rounds):.1f} to {max(rounds):.1f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
