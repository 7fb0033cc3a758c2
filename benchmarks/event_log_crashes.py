"""Kills the server, the writer and the compactors of an event log for as long as one likes; run by hand.

    python -m benchmarks.event_log_crashes [--rounds 20] [--turns 3] [--seed 0]

First a compaction and an erasure are killed at every single change of the archive's files. Then come rounds, each with
a log of its own. In each turn three compactors are killed with SIGKILL, the server once, then the writer; at
the end of a round every acknowledged event has to be there once, in the archive or in the stream.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.gateway.test_compaction import kill_again_and_again, kill_at_every_step


def main() -> None:
    """Stop at the first round that lost or doubled something, with an AssertionError that names it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for what in ("compaction", "erasure"):
        with tempfile.TemporaryDirectory() as name:
            print(f"{what}: killed at {kill_at_every_step(Path(name), what, stride=1)} steps, none lost", flush=True)
    for number in range(given.rounds):
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as name:
            events = kill_again_and_again(Path(name), given.turns, given.seed + number)
        print(
            f"round {number + 1} of {given.rounds}: {given.turns} turns, {events:,} events, none lost, none twice, "
            f"{time.perf_counter() - begun:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
