"""How cost grows with the market: a request's time and memory, and training, from 10^4 to 10^6 jobs and 10^7 events.

    .venv/bin/python -m benchmarks.growth [--sizes 10000:1000000,100000:1000000,…] [--json FILE] [--keep DIRECTORY]

A size is jobs (as many talents) and events. Each gets the embedded stores, filled through their own writers, in a
temporary directory; a model of 64 factors is learnt by the formula's recipe and served by one process of `tandem
serve`, which is asked one request at a time. Every talent who is asked about has done something since the model.

Talents' activity and jobs' popularity are power laws, and four of five events are within the talent's own trade of
some 300 jobs. CPU is the gateway's own, by thread, to the nanosecond; wall time has whatever else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from benchmarks.processes import Server, memory_mb
from benchmarks.request_path import TEXT, cpu_ms
from benchmarks.tables import Table, keep
from gateway.adapters.directory.models import DirectoryModelStore
from gateway.settings import load_settings
from gateway.wiring import Stores, stores
from recommender.documents import Budget, BudgetType, Kind, Level, Patch
from recommender.events import Event, EventType, actor_of
from recommender.interactions import EventTable, affinity
from recommender.recipe import default_recipe
from recommender.training import train
from tests.servers import free_port

SIZES = "10000:1000000,100000:1000000,1000000:1000000,100000:100000,100000:10000000"
FILTERED = TEXT.replace("$id: ID!", "$id: ID!, $filter: JobFilter").replace("first: 20", "first: 20, filter: $filter")
KINDS = (EventType.VIEW, EventType.SAVE, EventType.APPLY)
OFTEN = (0.8, 0.12, 0.08)
CATEGORIES, COUNTRIES, SKILLS = 60, 40, 400
SPECIALTY = 500  # jobs that have a skill that few have
TRADE = 300  # jobs
DAY_MS = 86_400_000
BATCH = 50_000
ACTIVE = 5  # events of somebody who is asked about
ASKED = 150  # of each kind of request
FIRST = 20  # of them, which nobody times


@dataclass(frozen=True)
class Size:
    """jobs: and as many talents."""

    jobs: int
    events: int

    @classmethod
    def of(cls, text: str) -> Size:
        """As an argument."""
        jobs, _, events = text.partition(":")
        return cls(int(float(jobs)), int(float(events)))


@dataclass(frozen=True)
class Deeds:
    """Events as columns, in order of time. talent, job: places from 0."""

    talent: npt.NDArray[np.int32]
    job: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    at_ms: npt.NDArray[np.int64]


def deeds(size: Size, end_ms: int, seed: int = 1) -> Deeds:
    """What talents did in 90 days, skewed as real logs are."""
    rng = np.random.default_rng(seed)
    activity = rng.pareto(1.3, size.jobs) + 0.2
    talent = rng.choice(size.jobs, size.events, p=activity / activity.sum())
    trades = max(size.jobs // TRADE, 1)
    trade = talent.astype(np.int64) * 7_919 % trades
    within = np.minimum(rng.pareto(0.8, size.events) * 6, size.jobs // trades - 1).astype(np.int64)
    anywhere = np.minimum(rng.pareto(0.6, size.events) * size.jobs / 200, size.jobs - 1).astype(np.int64)
    job = np.where(rng.random(size.events) < 0.8, trade + trades * within, anywhere)
    kind = rng.choice(len(KINDS), size.events, p=OFTEN)
    at_ms = np.sort(end_ms - (rng.random(size.events) * 90 * DAY_MS).astype(np.int64))
    return Deeds(talent.astype(np.int32), job.astype(np.int32), kind.astype(np.int8), at_ms)


def job_patches(size: Size, now_ms: int) -> Iterator[list[Patch]]:
    """Jobs, all of them open; skills by Zipf's law, and one skill that few others have."""
    dice = random.Random(2)  # noqa: S311
    for start in range(0, size.jobs, BATCH):
        yield [
            Patch(
                f"j{n}",
                {
                    "client_id": f"c{_common(dice, size.jobs // 20 + 1)}",
                    "title": f"{_category(dice)} wanted for {_skill(dice)}",
                    "description": " ".join(f"word{_common(dice, 5_000)}" for _ in range(30)),
                    "skills": (*{_skill(dice), _skill(dice)}, f"specialty {dice.randrange(specialties(size))}"),
                    "category": _category(dice),
                    "country": f"country {_common(dice, COUNTRIES)}",
                    "is_remote": dice.random() < 0.5,
                    "budget": Budget(BudgetType.HOURLY, Decimal(dice.randint(8, 90)), None, "USD"),
                    "level": dice.choice(list(Level)),
                    "posted_at_ms": now_ms - dice.randrange(90 * DAY_MS),
                },
            )
            for n in range(start, min(size.jobs, start + BATCH))
        ]


def talent_patches(size: Size) -> Iterator[list[Patch]]:
    """Talents with three skills."""
    dice = random.Random(3)  # noqa: S311
    for start in range(0, size.jobs, BATCH):
        yield [
            Patch(
                f"t{n}",
                {
                    "title": f"{_category(dice)} expert",
                    "skills": tuple({_skill(dice), _skill(dice), _skill(dice)}),
                    "category": _category(dice),
                    "country": f"country {_common(dice, COUNTRIES)}",
                    "level": dice.choice(list(Level)),
                },
            )
            for n in range(start, min(size.jobs, start + BATCH))
        ]


def specialties(size: Size) -> int:
    """How many skills few jobs have."""
    return max(2, size.jobs // SPECIALTY)


def _common(dice: random.Random, most: int) -> int:
    """A number below `most`, small ones often."""
    return min(int(dice.paretovariate(0.9)) - 1, most - 1) if dice.random() < 0.7 else dice.randrange(most)


def _category(dice: random.Random) -> str:
    return f"category {_common(dice, CATEGORIES)}"


def _skill(dice: random.Random) -> str:
    return f"skill {_common(dice, SKILLS)}"


def fill(data: Path, size: Size, now_ms: int) -> dict[str, float]:
    """The stores and a model; seconds of processor and megabytes that took."""
    done = deeds(size, now_ms)
    asyncio.run(_write(data, size, done, now_ms))
    command = [sys.executable, "-m", "benchmarks.growth", "--learn", str(data), "--sizes", f"{size.jobs}:{size.events}"]
    np.savez(data / "deeds.npz", talent=done.talent, job=done.job, kind=done.kind, at_ms=done.at_ms)
    found = subprocess.run([*command, "--now-ms", str(now_ms)], check=True, capture_output=True, text=True)  # noqa: S603
    (data / "deeds.npz").unlink()
    learnt: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return learnt


async def _write(data: Path, size: Size, done: Deeds, now_ms: int) -> None:
    async with stores(load_settings(data_dir=data)) as opened:
        began = time.monotonic()
        for kind, batches in ((Kind.TALENT, talent_patches(size)), (Kind.JOB, job_patches(size, now_ms))):
            for batch in batches:
                await opened.catalogue.upsert(kind, batch)
        print(f"  documents in {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        await _write_events(opened, size, done)
        print(f"  events in {time.monotonic() - began:.0f} s", flush=True)


async def _write_events(opened: Stores, size: Size, done: Deeds) -> None:
    actors = [actor_of(kind) for kind in KINDS]
    for start in range(0, size.events, BATCH):
        part = slice(start, start + BATCH)
        columns = (done.talent[part].tolist(), done.job[part].tolist(), done.kind[part].tolist())
        rows = zip(*columns, done.at_ms[part].tolist(), strict=True)
        await opened.events.append(
            [
                Event(f"e{start + n}", actors[kind], KINDS[kind], f"t{talent}", f"j{job}", at_ms)
                for n, (talent, job, kind, at_ms) in enumerate(rows)
            ]
        )


def learn(data: Path, size: Size, now_ms: int) -> None:
    """Train and publish in a process of its own, so that its memory is what training takes."""
    found = np.load(data / "deeds.npz")
    codes = np.array([list(EventType).index(kind) for kind in KINDS], dtype=np.int8)
    count = size.events
    table = EventTable(
        tuple(f"t{n}" for n in range(size.jobs)),
        tuple(f"j{n}" for n in range(size.jobs)),
        found["talent"],
        found["job"],
        codes[found["kind"]],
        np.zeros(count, np.int8),
        found["at_ms"],
        np.ones(count),
        np.arange(1, count + 1),
    )
    recipe = replace(default_recipe(affinity(table, None, None)), factors=64)
    ordinals = np.arange(1, size.jobs + 1, dtype=np.uint32)
    arguments: dict[str, Any] = {"talent_ordinals": ordinals, "job_ordinals": ordinals, "as_of_ms": now_ms}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.perf_counter()
    model = train(table, recipe, watermark=count, trained_at_ms=now_ms, nonce="growth", **arguments)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    models = DirectoryModelStore(data / "models")
    models.publish(model)
    models.close()
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "mb": most * 1024 / 1e6, "before_mb": before * 1024 / 1e6}))


@dataclass
class Asked:
    """One kind of request. matched: jobs, at the median."""

    cpu_ms: list[float]
    wall_ms: list[float]
    matched: float


def ask(data: Path, size: Size, seed: int = 5) -> tuple[dict[str, Asked], float]:
    """What requests cost, and the gateway's memory after them, in megabytes."""
    dice = random.Random(seed)  # noqa: S311
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "gateway", "serve", "--port", str(port), "--workers", "1"]
    with open_gateway(command, url, data) as server, httpx.Client(timeout=60) as client:
        # Who has done too little for an interest gets a list by content, which is another computation.
        active = np.flatnonzero(np.bincount(deeds(size, 0).talent, minlength=size.jobs) >= ACTIVE).tolist()
        talents = dice.sample(active, min(len(active), 5 * (ASKED + FIRST)))
        record(client, url, talents, size, dice)

        def send(body: dict[str, Any]) -> int:
            answer = client.post(f"{url}/graphql", json=body).json()
            if "errors" in answer:
                raise RuntimeError(f"a request failed: {answer['errors'][0]['message']}")
            return int(answer["data"]["recommendedJobs"]["totalCount"])

        def few() -> dict[str, Any]:
            names = dice.sample(range(specialties(size)), 2)
            return {"skills": {"any": [f"specialty {name}" for name in names]}, "budget": _budget(dice)}

        def share() -> dict[str, Any]:
            number = dice.randrange(10, CATEGORIES)
            return {"categories": [f"category {number}", f"category {number - 1}"], "budget": _budget(dice)}

        asked = iter(talents)
        filters: dict[str, Callable[[], dict[str, Any] | None]] = {
            "about 1,000 match": few,
            "1 to 2 % match": share,
            "all match": lambda: None,
        }
        found: dict[str, Asked] = {}
        for name, make in filters.items():
            bodies = [
                {"query": FILTERED, "variables": {"id": f"t{next(asked)}", "filter": make()}}
                for _ in range(ASKED + FIRST)
            ]
            found[name] = _timed(server, send, bodies)
        again = [{"query": FILTERED, "variables": {"id": f"t{talents[0]}", "filter": None}}] * (ASKED + FIRST)
        found["asked before"] = _timed(server, send, again)
        return found, memory_mb(*server.pids)


def open_gateway(command: Sequence[str], url: str, data: Path) -> Server:
    """Without limits that would refuse what is measured."""
    settings = {"TANDEM_AUTH": "open", "TANDEM_DATA_DIR": str(data), "TANDEM_DEADLINE_MS": "60000"}
    return Server(command, f"{url}/readyz", data / "growth.log", settings | {"OMP_NUM_THREADS": "1"})


def _budget(dice: random.Random) -> dict[str, Any]:
    """Hardly a constraint, and no two alike."""
    return {"type": "HOURLY", "currency": "USD", "min": f"{dice.uniform(1, 12):.6f}"}


def _timed(server: Server, send: Callable[[dict[str, Any]], int], bodies: Sequence[dict[str, Any]]) -> Asked:
    (pid,) = server.pids[:1]
    found = Asked([], [], 0)
    matched = []
    for body in bodies:
        cpu, wall = cpu_ms(pid), time.perf_counter()
        matched.append(send(body))
        found.wall_ms.append((time.perf_counter() - wall) * 1_000)
        found.cpu_ms.append(cpu_ms(pid) - cpu)
    found.cpu_ms, found.wall_ms = found.cpu_ms[FIRST:], found.wall_ms[FIRST:]
    found.matched = float(np.median(matched))
    return found


def record(client: httpx.Client, url: str, talents: Sequence[int], size: Size, dice: random.Random) -> None:
    """A view by each, after the model."""
    text = "mutation($events: [EventInput!]!) { recordEvents(input: { events: $events }) { acceptedCount } }"
    for start in range(0, len(talents), 100):
        events = [
            {
                "eventId": f"later-{talent}",
                "actor": "TALENT",
                "type": "VIEW",
                "talentId": f"t{talent}",
                "jobId": f"j{dice.randrange(size.jobs)}",
            }
            for talent in talents[start : start + 100]
        ]
        answer = client.post(f"{url}/graphql", json={"query": text, "variables": {"events": events}}).json()
        if "errors" in answer:
            raise RuntimeError(f"events were not taken: {answer['errors'][0]['message']}")


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float | None:
    """The power of the size that a value grows with, by least squares of logarithms."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--keep", type=Path, help="where the stores are kept, and taken from when they are there")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--learn", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--now-ms", type=int, default=time.time_ns() // 1_000_000, help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = [Size.of(text) for text in given.sizes.split(",")]
    if given.learn is not None:
        learn(given.learn, sizes[0], given.now_ms)
        return
    measured: list[dict[str, Any]] = []
    for size in sizes:
        print(f"{size.jobs:,} jobs and talents, {size.events:,} events", flush=True)
        with tempfile.TemporaryDirectory() as name:
            measured.append(measure(size, given.keep or Path(name), given.now_ms))
    tables = [costs(measured), *growths(measured)]
    for table in tables:
        print(table.text())
    if given.json is not None:
        keep(given.json, tables, {"growth": measured})


def measure(size: Size, place: Path, now_ms: int) -> dict[str, Any]:
    """Everything of one size."""
    data = place / f"{size.jobs}-{size.events}"
    kept = data / "learnt.json"
    if not kept.exists():
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        kept.write_text(json.dumps(fill(data, size, now_ms)))
    learnt = json.loads(kept.read_text())
    print(f"  learnt in {learnt['cpu_s']:.1f} s of processor, {learnt['mb']:,.0f} MB at most", flush=True)
    found, memory = ask(data, size)
    return {
        "jobs": size.jobs,
        "events": size.events,
        "training": learnt,
        "memory_mb": memory,
        "requests": {
            name: {
                "matched": asked.matched,
                **{
                    f"{what}_{label}_ms": float(np.quantile(values, share))
                    for what, values in (("cpu", asked.cpu_ms), ("wall", asked.wall_ms))
                    for label, share in (("p50", 0.5), ("p99", 0.99))
                },
            }
            for name, asked in found.items()
        },
    }


def costs(measured: Sequence[dict[str, Any]]) -> Table:
    """A row for each size and kind of request."""
    table = Table(
        "a request, by the size of the market",
        ("jobs", "events", "request", "match", "CPU p50 ms", "CPU p99 ms", "wall p50 ms", "wall p99 ms"),
    )
    for one in measured:
        for name, asked in one["requests"].items():
            times = [asked[f"{what}_{label}_ms"] for what in ("cpu", "wall") for label in ("p50", "p99")]
            table.add(f"{one['jobs']:,}", one["events"], name, int(asked["matched"]), *times)
    return table


def growths(measured: Sequence[dict[str, Any]]) -> list[Table]:
    """Memory and training, and the powers that everything grows with."""
    resources = Table(
        "memory and training, by the size of the market",
        ("jobs", "events", "gateway MB", "training CPU s", "training wall s", "training MB"),
    )
    for one in measured:
        learnt = one["training"]
        resources.add(
            f"{one['jobs']:,}", one["events"], one["memory_mb"], learnt["cpu_s"], learnt["wall_s"], learnt["mb"]
        )
    powers = Table("powers of the size that costs grow with", ("what", "in jobs and talents", "in events"))
    fixed_events = _most_common([one["events"] for one in measured])
    fixed_jobs = _most_common([one["jobs"] for one in measured])
    by_jobs = [one for one in measured if one["events"] == fixed_events]
    by_events = [one for one in measured if one["jobs"] == fixed_jobs]

    def power(name: str, value: Callable[[dict[str, Any]], float]) -> None:
        powers.add(
            name,
            exponent([one["jobs"] for one in by_jobs], [value(one) for one in by_jobs]),
            exponent([one["events"] for one in by_events], [value(one) for one in by_events]),
        )

    for name in measured[0]["requests"]:
        power(f"CPU of a request: {name}", lambda one, name=name: one["requests"][name]["cpu_p50_ms"])  # type: ignore[misc]
    power("memory of the gateway", lambda one: float(one["memory_mb"]))
    power("CPU of training", lambda one: float(one["training"]["cpu_s"]))
    power("memory of training", lambda one: float(one["training"]["mb"]))
    powers.notes.append(f"in jobs and talents at {fixed_events:,} events, in events at {fixed_jobs:,} jobs and talents")
    return [resources, powers]


def _most_common(values: Sequence[int]) -> int:
    return max(sorted(set(values)), key=values.count)


if __name__ == "__main__":
    main()
