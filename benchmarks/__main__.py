"""All benchmarks, or some, one after the other: `make bench`, `make bench ARGS='retrieval growth --quick'`.

Prints their tables, and keeps them with what plots are made from in one JSON file (`--out`), with the machine, the date
and the commands. Each is a program of its own too, with more arguments: `python -m benchmarks.NAME --help`.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from benchmarks.vegeta import NoVegetaError, vegeta_binary

RESULTS = Path("benchmarks/results")
DEMO, LARGE = ("5000", "3000", "250000"), ("40000", "100000", "1000000")
SMALL = ("1000", "600", "30000")


@dataclass(frozen=True)
class Part:
    """One program. `{…}` in its words is filled in; quick: other words at the end. kept: it writes JSON."""

    words: Sequence[str]
    says: str
    quick: Sequence[str] = ()
    market: str | None = None
    kept: bool = True
    wants: str | None = None


PARTS: Mapping[str, Part] = {
    "request_path": Part(
        ("benchmarks.request_path", "{market}", "{talent}"),
        "CPU of a warm list over HTTP beside REST and stock Strawberry",
        ("--requests", "100", "--rounds", "3"),
        market="demo",
        kept=False,
    ),
    "load": Part(
        ("benchmarks.load", "embedded", "{market}", "--vegeta", "{vegeta}"),
        "hits and misses under open-model load, embedded stores",
        ("--seconds", "3", "--rounds", "1", "--shares", "0.5"),
        market="demo",
        wants="vegeta",
    ),
    "production": Part(
        ("benchmarks.load", "production", "{market}", "--vegeta", "{vegeta}"),
        "the same on Elasticsearch and Redis at 100,000 jobs, beside embedded",
        ("--seconds", "3", "--rounds", "1", "--shares", "0.5"),
        market="large",
        wants="vegeta",
    ),
    "gorse": Part(
        ("benchmarks.load", "gorse", "{market}", "--vegeta", "{vegeta}", "--gorse", "{gorse}"),
        "requests for each second of CPU beside Gorse's (--gorse names its program)",
        ("--seconds", "3", "--rounds", "1"),
        market="demo",
        wants="gorse",
    ),
    "retrieval": Part(
        ("benchmarks.retrieval",),
        "the exact best 500 beside NumPy, implicit and what the memory allows",
        ("--sizes", "50000", "--repeats", "3", "--viewers", "8"),
    ),
    "training": Part(
        ("benchmarks.training",),
        "an iteration beside implicit's, and what a start from the last model saves",
        ("--talents", "5000", "--jobs", "3000", "--events", "200000"),
    ),
    "export": Part(
        ("benchmarks.export",),
        "everyone's top 100 beside what processor and memory allow",
        ("--talents", "2000", "--jobs", "5000"),
    ),
    "shared_model": Part(
        ("benchmarks.shared_model",),
        "memory that a second process with the same model takes",
        ("--jobs", "20000", "--talents", "5000"),
        kept=False,
    ),
    "cached_lists": Part(
        ("benchmarks.cached_lists",), "a list without a cache, as a miss and as a hit", ("3000", "10"), kept=False
    ),
    "growth": Part(
        ("benchmarks.growth",),
        "a request, memory and training from 10^4 to 10^6 jobs and 10^5 to 10^7 events",
        ("--sizes", "1000:10000,10000:10000,10000:100000"),
    ),
}


def main() -> int:
    lines = "\n".join(f"  {name:<13} {part.says}" for name, part in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="make bench",
        description=f"{__doc__}\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", nargs="*", help="by default all, Gorse's only if it is named")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything works; some minutes")
    parser.add_argument("--out", type=Path, default=RESULTS / "last.json")
    parser.add_argument("--markets", type=Path, default=RESULTS / "markets", help="where demo markets are kept")
    parser.add_argument("--vegeta", help="the program, when it is not on the PATH")
    parser.add_argument("--gorse", type=Path, help="the program gorse-in-one")
    given = parser.parse_args()
    if unknown := [name for name in given.part if name not in PARTS]:
        parser.exit(2, f"there is no benchmark {unknown[0]!r}: {', '.join(PARTS)}\n")
    chosen = given.part or [name for name in PARTS if name != "gorse" or given.gorse]
    words: dict[str, str] = {}
    wanted = {PARTS[name].wants for name in chosen}
    try:
        if wanted & {"vegeta", "gorse"}:
            words["vegeta"] = vegeta_binary(given.vegeta)
    except NoVegetaError as error:
        parser.exit(1, f"{error}\n")
    if "gorse" in wanted:
        if not given.gorse or not os.access(given.gorse, os.X_OK):
            parser.exit(1, "name the program by --gorse: gorse-in-one of github.com/gorse-io/gorse, 0.5\n")
        words["gorse"] = str(given.gorse.resolve())
    given.out.parent.mkdir(parents=True, exist_ok=True)
    whole: dict[str, Any] = {"machine": machine(), "quick": given.quick, "parts": {}}
    if given.out.exists():  # one part anew leaves the others as they were
        whole["parts"] = orjson.loads(given.out.read_bytes())["parts"]
    failed = []
    for name in chosen:
        print(f"\n==== {name}: {PARTS[name].says}", flush=True)
        try:
            whole["parts"][name] = run(PARTS[name], words, given)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name} ended with {error.returncode}")
        else:
            given.out.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if failed:
        print(f"\nFAILED: {', '.join(failed)}", file=sys.stderr)
    print(f"\nKept in {given.out}.")
    return 1 if failed else 0


def run(part: Part, words: Mapping[str, str], given: argparse.Namespace) -> dict[str, Any]:
    """One part: what it printed, and what it kept. Raises CalledProcessError."""
    filled = dict(words)
    if part.market is not None:
        filled |= market(part.market, given)
    with tempfile.TemporaryDirectory() as name:
        kept = Path(name) / "kept.json"
        command = [word.format(**filled) for word in part.words]
        command += [*(part.quick if given.quick else ()), *(("--json", str(kept)) if part.kept else ())]
        began = time.monotonic()
        with subprocess.Popen(  # noqa: S603 - of ours
            [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, env=one_thread()
        ) as running:
            assert running.stdout is not None
            printed = []
            for line in running.stdout:
                print(line, end="", flush=True)
                printed.append(line)
        if running.returncode:
            raise subprocess.CalledProcessError(running.returncode, command)
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": " ".join(part.words[:1] + tuple(part.quick if given.quick else ())),
            "seconds": round(time.monotonic() - began),
            "printed": "".join(printed),
            "kept": orjson.loads(kept.read_bytes()) if part.kept else None,
        }


def market(name: str, given: argparse.Namespace) -> dict[str, str]:
    """A demo market, built the first time: where it is, and a talent with a history."""
    talents, jobs, events = SMALL if given.quick else {"demo": DEMO, "large": LARGE}[name]
    place: Path = given.markets / f"{talents}-{jobs}-{events}"
    size = ("--talents", talents, "--jobs", jobs, "--events", events)
    command = [sys.executable, "-m", "gateway", "demo", "--no-serve", "--data-dir", str(place), *size]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - of ours
    return {"market": str(place), "talent": done.stdout.split()[-1].rstrip(".")}


def one_thread() -> dict[str, str]:
    """As one process of several has it, and as implicit's BLAS wants it."""
    return {**os.environ, "OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", "1")}


def machine() -> dict[str, Any]:
    """What figures depend on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }


def processor() -> str:
    """Its name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    sys.exit(main())
