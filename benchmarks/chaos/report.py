"""The table of a run, and docs/reliability-report.md, which is written from the last one."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.chaos.rows import FAIL, NOT_RUN, PASS, ROWS, Outcome

if TYPE_CHECKING:
    from benchmarks.chaos.arena import Arena

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "docs" / "reliability-report.md"
HEAD = """# Faults, and what was seen of them

Written by `make chaos ARGS=--report` from its last run, or from what several have kept by `--keep`. Each row is tried
on a running stack: `tandem serve` with two processes over a real Elasticsearch 9 and two real Redis servers, each
behind a proxy that can fail, under load of an open model: requests go out when they are due, whatever became of the
earlier ones, and latencies run from then. Half of the lists are asked for the first time. An answer is good when it has
`min(first, matches)` rows that all obey the filter; one with `errors`, another status or other rows has failed;
degraded is what says so of itself. By default Elasticsearch has 120 ms, Redis 100 ms and a request 300 ms.

"""


def line(outcome: Outcome, seed: int) -> str:
    """As it is printed."""
    one = outcome.row
    return (
        f"{one.number}, {one.name}\n    expected: {one.expected}\n    observed: {outcome.observed}\n"
        f"    {outcome.verdict}, seed {seed}, {outcome.seconds:.0f} s"
    )


def kept(outcomes: Sequence[Outcome], seed: int, arena: Arena) -> dict[str, Any]:
    """A run, by number of row."""
    return {
        str(outcome.row.number): {
            "name": outcome.row.name,
            "expected": outcome.row.expected,
            "observed": outcome.observed,
            "verdict": outcome.verdict,
            "seed": seed,
            "rate": round(arena.rate),
            "capacity": round(arena.capacity),
            "minutes": arena.minutes,
            "patience": arena.patience,
            "is_short": arena.is_fast and outcome.row.is_fast,
            "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            "commit": commit(),
        }
        for outcome in outcomes
    }


def keep_outcomes(path: Path, outcomes: Sequence[Outcome], seed: int, arena: Arena) -> None:
    """The same beside those of earlier runs in a file."""
    found = (read_kept(path) if path.exists() else {}) | kept(outcomes, seed, arena)
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))


def read_kept(path: Path) -> dict[str, Any]:
    """What runs have kept in a file."""
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def commit() -> str:
    """What was tried."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """What figures depend on, and no name of anybody's."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{os.cpu_count()} cores ({platform.machine()}) with {memory:.0f} GB for gateway, servers, load and what else "
        f"runs; load average {os.getloadavg()[2]:.1f} over fifteen minutes; Python {platform.python_version()}"
    )


def under_which(found: dict[str, Any]) -> str:
    """Time-outs and length of what was run."""
    said = [
        f"time-outs {patience:g} times the defaults" for patience in sorted({row["patience"] for row in found.values()})
    ]
    short = sorted(int(number) for number, row in found.items() if row["is_short"])
    minutes = sorted({row["minutes"] for row in found.values()})
    said.append(f"{' or '.join(f'{one:g}' for one in minutes)} minutes of soak and of random faults")
    if short:
        said.append(f"rows {', '.join(map(str, short))} in their short form")
    return ", ".join(said)


def write_report(found: dict[str, Any], made_of: str) -> None:
    """The page."""
    missed = {"observed": "not in these runs", "verdict": NOT_RUN, "seed": ""}
    planned = {str(number): {"name": one.name, "expected": one.expected, **missed} for number, one in ROWS.items()}
    rows = sorted((planned | found).items(), key=lambda item: int(item[0]))
    counts = {verdict: sum(row["verdict"] == verdict for _, row in rows) for verdict in (PASS, FAIL, NOT_RUN)}
    commits = sorted({row["commit"] for row in found.values()})
    times = sorted(row["at"] for row in found.values())
    lines = [
        HEAD + f"- {times[0]} to {times[-1]} UTC, commits {', '.join(commits)}",
        f"- {machine()}",
        f"- {made_of}; {under_which(found)}",
        f"- {counts[PASS]} PASS, {counts[FAIL]} FAIL, {counts[NOT_RUN]} NOT RUN",
        "",
        "| row | fault | expected | observed | | seed |",
        "|---:|---|---|---|---|---:|",
    ]
    for number, one in rows:
        cells = (one["name"], one["expected"], one["observed"], one["verdict"])
        lines.append(f"| {number} | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + f" | {one['seed']} |")
    REPORT.write_text("\n".join(lines) + "\n", encoding="utf-8")
