"""Faults under load, and what is seen of them: `make chaos`.

    python -m benchmarks.chaos [ROW …] [--fast] [--seed N] [--minutes M] [--report] [--keep FILE]

Real gateways of two processes over a real Elasticsearch and two real Redis servers, each behind toxiproxy, asked by
vegeta in an open model. Rows by number, all by default, which takes half an hour and more; --fast: those that every
change is tried by. --minutes: how long the soak and the random faults go on. --patience: of the time-outs, for a
machine with other work whose servers are late. --keep: also write what was seen to a file, beside what earlier runs
have kept there. --report writes docs/reliability-report.md after every row, for which all rows should run.
A row that breaks has failed, and the next one begins in an arena as it should be; one that lacks what it needs (root
to mount a disk, a C compiler, prometheus) is not run, and says what is missing. Exit code 1 when a row failed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.chaos import (  # noqa: F401 - they make the rows
    access,
    alerts,
    clients,
    fairness,
    hostile,
    machine,
    nemesis,
    overload,
    processes,
    servers,
    soak,
    stampede,
    writing,
)
from benchmarks.chaos.arena import Arena, running_arena
from benchmarks.chaos.load import generator
from benchmarks.chaos.proxies import INSTALL, toxiproxy_binary
from benchmarks.chaos.report import keep_outcomes, kept, line, read_kept, write_report
from benchmarks.chaos.rows import FAIL, LONGEST_SECONDS, ROWS, Outcome, Row, failure, run
from benchmarks.vegeta import INSTALL as INSTALL_VEGETA
from tests.elasticsearch_server import launcher, running_elasticsearch


class Ground:
    """The arena of the present row, made anew when a row has left it in pieces."""

    def __init__(self, build: Callable[[ExitStack], Arena]) -> None:
        self._build = build
        self._running = ExitStack()
        self.arena = build(self._running)
        self.ends: list[tuple[int, str]] = []  # of the gateways of all rows: exit code, and a traceback they logged

    def prepare(self) -> None:
        """Make the arena as rows find it. Raises what keeps a new one from being made."""
        try:
            self.arena.make_sound()
        except Exception as error:  # noqa: BLE001 - whatever it is, the arena is no longer what it was
            print(f"The arena is made anew: {failure(error)}", file=sys.stderr, flush=True)
            self.close()
            self._running = ExitStack()
            self.arena = self._build(self._running)

    def close(self) -> None:
        """End everything that runs in it."""
        try:
            self._running.close()
        except Exception as error:  # noqa: BLE001 - what a row has broken may not end well
            print(f"The arena did not end well: {failure(error)}", file=sys.stderr, flush=True)
        self.ends += self.arena.ends[-1:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--patience", type=float, default=1.0, help="how many times the default time-outs are")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--keep", type=Path, help="where outcomes are kept, so that rows can be run one by one")
    given = parser.parse_args()
    unknown = sorted(set(given.rows) - set(ROWS))
    if unknown:
        parser.error(f"there is no row {unknown[0]}; rows are {', '.join(map(str, sorted(ROWS)))}")
    chosen = [ROWS[number] for number in given.rows or sorted(ROWS) if not given.fast or ROWS[number].is_fast]
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    if toxiproxy_binary() is None:
        print(
            f"toxiproxy is missing, so faults are made by the proxy of the tests. To have it: {INSTALL}",
            file=sys.stderr,
        )
    if generator() != "vegeta":
        print(f"vegeta is missing, so a loop of our own makes the load. To have it: {INSTALL_VEGETA}", file=sys.stderr)
    with ExitStack() as running:
        url = os.environ.get("ELASTICSEARCH_TEST_URL")
        if url is None:
            if missing := launcher().lacks():
                parser.exit(1, f"a real Elasticsearch needs {missing}\n")
            url = running.enter_context(running_elasticsearch())
        directory = Path(running.enter_context(tempfile.TemporaryDirectory()))

        def build(opened: ExitStack) -> Arena:
            place = Path(tempfile.mkdtemp(prefix="arena-", dir=directory))
            how: dict[str, Any] = {"is_fast": given.fast, "minutes": given.minutes, "patience": given.patience}
            return opened.enter_context(running_arena(place, url, seed=seed, **how))

        ground = Ground(build)
        running.callback(ground.close)
        print(f"{made_of(ground.arena)}; {len(chosen)} rows, seed {seed}", flush=True)
        outcomes = run_all(chosen, ground, given, seed)
    failed = [outcome.row.number for outcome in outcomes if outcome.verdict == FAIL]
    broken = [f"{code} {traceback}" for code, traceback in ground.ends if code or traceback]
    if broken:
        print(f"A gateway of all rows ended with, and logged: {'; '.join(broken)}", file=sys.stderr)
    print(f"{len(outcomes)} rows, failed: {', '.join(map(str, failed)) or 'none'}")
    return int(bool(failed or broken))


def run_all(chosen: list[Row], ground: Ground, given: argparse.Namespace, seed: int) -> list[Outcome]:
    """Row after row; what was seen of each is printed and kept at once."""
    began, outcomes = time.monotonic(), []
    found: dict[str, Any] = {}
    for place, one in enumerate(chosen, 1):
        minutes = (time.monotonic() - began) / 60
        print(f"[{place} of {len(chosen)}, {minutes:.1f} minutes so far] row {one.number}, {one.name} …", flush=True)
        ground.prepare()
        outcome = run(one, ground.arena, LONGEST_SECONDS + 120 * given.minutes)
        outcomes.append(outcome)
        print(line(outcome, seed), flush=True)
        found |= kept([outcome], seed, ground.arena)
        if given.keep is not None:
            keep_outcomes(given.keep, [outcome], seed, ground.arena)
        if given.report:
            write_report(found if given.keep is None else read_kept(given.keep), made_of(ground.arena))
    return outcomes


def made_of(arena: Arena) -> str:
    """What makes load and faults, and how much load that is."""
    most = f"; {arena.capacity:.0f} good answers a second are most" if arena.capacity else ""
    load = f"the load is {arena.rate:.0f} unless a row says another"
    return f"load by {generator()}, faults by {arena.made_of}{most}; {load}"


if __name__ == "__main__":
    sys.exit(main())
