"""Faults under load, and what is seen of them: `make chaos`.

    python -m benchmarks.chaos [ROW …] [--fast] [--seed N] [--minutes M] [--report]

Real gateways of two processes over a real Elasticsearch and two real Redis servers, each behind toxiproxy, asked by
vegeta in an open model. Rows by number, all by default; --fast: those that every change is tried by. --minutes: how
long the soak and the random faults go on. --patience: of the time-outs, for a machine with other work whose servers
are late. --report writes docs/reliability-report.md, for which all rows should run.
Exit code 1 when a row failed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.chaos import access, hostile, overload, processes, servers, writing  # noqa: F401 - they make the rows
from benchmarks.chaos.arena import running_arena
from benchmarks.chaos.load import generator
from benchmarks.chaos.proxies import INSTALL, toxiproxy_binary
from benchmarks.chaos.report import keep_outcomes, kept, line, read_kept, write_report
from benchmarks.chaos.rows import FAIL, ROWS, run
from benchmarks.vegeta import INSTALL as INSTALL_VEGETA
from tests.elasticsearch_server import launcher, running_elasticsearch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float, default=3.0)
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
        arena = running.enter_context(
            running_arena(directory, url, seed=seed, is_fast=given.fast, minutes=given.minutes, patience=given.patience)
        )
        made_of = f"load by {generator()}, faults by {arena.made_of}, time-outs {given.patience:g} times the defaults"
        print(f"{made_of}; {arena.capacity:.0f} good answers a second, load {arena.rate:.0f}; seed {seed}", flush=True)
        outcomes = []
        for one in chosen:
            outcome = run(one, arena)
            outcomes.append(outcome)
            print(line(outcome, seed), flush=True)
            if given.keep is not None:
                keep_outcomes(given.keep, [outcome], seed, arena)
    code, traceback = arena.ends[-1]
    if code or traceback:
        print(f"The gateway of all rows ended with {code}, and logged: {traceback}", file=sys.stderr)
    if given.report:
        write_report(kept(outcomes, seed, arena) if given.keep is None else read_kept(given.keep), made_of)
    failed = [outcome.row.number for outcome in outcomes if outcome.verdict == FAIL]
    print(f"{len(outcomes)} rows, failed: {', '.join(map(str, failed)) or 'none'}")
    return int(bool(failed or code or traceback))


if __name__ == "__main__":
    sys.exit(main())
