"""End to end under load of an open model: lists that are kept, lists that are worked out, Gorse beside them.

    .venv/bin/python -m benchmarks.load embedded DATA               hits, and misses at shares of capacity
    .venv/bin/python -m benchmarks.load production DATA             the same on Elasticsearch and Redis, beside embedded
    .venv/bin/python -m benchmarks.load gorse DATA --gorse BINARY   requests for each second of processor, beside Gorse

DATA: a directory that `tandem demo --no-serve` has built, or one that is to be: `--talents`, `--jobs` and `--events`
say its size then. Needs vegeta (`go install github.com/tsenart/vegeta/v12@latest`) on the PATH or named by `--vegeta`;
`production` needs what `make test` needs for Elasticsearch and Redis, and starts its own.

The gateway is `tandem serve` with `--workers` processes. Everything is on one machine: what vegeta takes, the gateway
lacks, so beside the rate there is the processor time of the gateway for each request. A hit is a list that was asked
before by the same talent; a miss has a filter that was never seen before, and its talent has done something since the
model. An answer with errors, degraded, or empty where it can't be, is no success. Latencies run from when one was due.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.processes import Server, cpu_seconds, memory_mb
from benchmarks.request_path import TEXT
from benchmarks.tables import Cell, Table, keep
from benchmarks.vegeta import CLOSED, NoVegetaError, Outcome, Request, attack, vegeta_binary
from gateway.market.files import files_in
from tests.elasticsearch_server import launcher
from tests.servers import RedisServer, free_port, running_redis

FILTERED = TEXT.replace("$id: ID!", "$id: ID!, $filter: JobFilter").replace("first: 20", "first: 20, filter: $filter")
RECORD = """mutation Record($events: [EventInput!]!) {
  recordEvents(input: { events: $events }) { acceptedCount } }"""
CLAUSES = ("skills", "categories", "countries", "levels", "remote", "budget", "recent")
TALENTS = 200  # whose lists are asked again and again: more would fit, but take longer to warm
ACTIVE = 5  # events of somebody who is asked about
CLIENTS = 16  # that each wait for their answer, to find the capacity
OPEN_CLIENTS = 1_000  # at most, who wait at the same time
LATE_MS = 50.0  # of vegeta's own at the 99th percentile: more, and the figures are of this machine's other work


@dataclass(frozen=True)
class Market:
    """What requests are made up from."""

    talents: Sequence[str]
    jobs: Sequence[str]
    skills: Sequence[str]
    categories: Sequence[str]
    countries: Sequence[str]

    @classmethod
    def of(cls, data: Path) -> Market:
        """Of the files of a demo market, what is common first."""
        files = files_in(data / "market")
        jobs = pq.read_table(files.jobs, columns=["job_id", "skills", "category", "country", "status"]).to_pylist()
        talents = pq.read_table(files.talents, columns=["talent_id"])["talent_id"].to_pylist()
        events = pq.read_table(files.events, columns=["talent_id", "type"], filters=pc.field("type") != "IMPRESSION")
        done = {row["values"]: row["counts"] for row in pc.value_counts(events["talent_id"]).to_pylist()}
        return cls(
            talents=[talent for talent in talents if done.get(talent, 0) >= ACTIVE],
            jobs=[row["job_id"] for row in jobs if row["status"] == "OPEN"],
            skills=_common(skill for row in jobs for skill in row["skills"] or ()),
            categories=_common(row["category"] for row in jobs),
            countries=_common(row["country"] for row in jobs),
        )


def _common(values: Iterable[str | None]) -> list[str]:
    return [value for value, _ in Counter(value for value in values if value is not None).most_common(60)]


class Filters:
    """Filters such as a page of jobs has, no two alike."""

    def __init__(self, market: Market, seed: int) -> None:
        self.market = market
        self._dice = random.Random(seed)  # noqa: S311
        self._seen: set[bytes] = set()

    def one(self) -> dict[str, Any]:
        """A filter of one to three clauses that this object has not given before."""
        while True:
            made = self._some()
            key = orjson.dumps(made, option=orjson.OPT_SORT_KEYS)
            if key not in self._seen:
                self._seen.add(key)
                return made

    def _some(self) -> dict[str, Any]:
        dice, market = self._dice, self.market
        made: dict[str, Any] = {}
        for clause in dice.sample(CLAUSES, dice.randint(1, 3)):
            match clause:
                case "skills":
                    made["skills"] = {"any": dice.sample(market.skills, dice.randint(3, 8))}
                case "categories":
                    made["categories"] = dice.sample(market.categories, min(len(market.categories), dice.randint(2, 6)))
                case "countries":
                    made["countries"] = dice.sample(market.countries, min(len(market.countries), dice.randint(3, 9)))
                case "levels":
                    made["levels"] = dice.sample(("ENTRY", "INTERMEDIATE", "EXPERT"), 2)
                case "remote":
                    made["isRemote"] = dice.random() < 0.7
                case "budget":
                    least = f"{dice.uniform(5, 60):.2f}"
                    made["budget"] = {"type": "HOURLY", "currency": "USD", "min": least, "includeUnknown": True}
                case "recent":
                    made["postedWithinDays"] = dice.randint(7, 80)
        return made


class BadAnswerError(ValueError):
    """An answer that is no success; the text says why, in few words."""


def jobs_in(body: bytes) -> int:
    """How many jobs a good answer says that match."""
    answer = orjson.loads(body)
    if "errors" in answer:
        raise BadAnswerError(answer["errors"][0].get("extensions", {}).get("code", answer["errors"][0]["message"][:60]))
    if answer.get("extensions", {}).get("degraded"):
        raise BadAnswerError("degraded")
    connection = answer["data"]["recommendedJobs"]
    if len(connection["nodes"]) != min(20, connection["totalCount"]):
        raise BadAnswerError(f"{len(connection['nodes'])} of {connection['totalCount']} jobs")
    return int(connection["totalCount"])


class Gateway:
    """`tandem serve` over a data directory, and what is asked of it."""

    def __init__(self, server: Server, url: str, vegeta: str, market: Market, beside: Mapping[str, int]) -> None:
        self.server = server
        self._url = url
        self._vegeta = vegeta
        self.market = market
        self._beside = beside  # processes of its stores, by name

    def hits(self, *, persisted: bool = False, encoding: str = "identity") -> list[Request]:
        """The same lists again and again."""
        digest = hashlib.sha256(TEXT.encode()).hexdigest()
        extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest}}
        document: dict[str, Any] = {"extensions": extensions} if persisted else {"query": TEXT}
        return [
            self._request({**document, "variables": {"id": talent}}, encoding) for talent in self._chosen(TALENTS, 1)
        ]

    def misses(self, count: int, filters: Filters) -> list[Request]:
        """Lists that nobody has asked for."""
        talents = self._chosen(count, 2)
        return [
            self._request({"query": FILTERED, "variables": {"id": talent, "filter": filters.one()}})
            for talent in talents
        ]

    def warm(self) -> None:
        """Have every process compile what it asks and keep the lists that are to be hit."""
        plain, persisted = self.hits(), self.hits(persisted=True)
        # Beside its hash a document is remembered by it, for those who send the hash alone.
        both = [self._request({**some.body, **other.body}) for some, other in zip(plain, persisted, strict=True)]
        for _ in range(3):
            self.measure([*plain, *both], rate=CLOSED, seconds=4)

    def record(self) -> None:
        """Let talents do something that the model has not learnt, so that each is folded in with it."""
        chance = random.Random(3)  # noqa: S311
        talents = sorted(set(self._chosen(TALENTS, 1)) | set(self._chosen(5_000, 2)))
        for start in range(0, len(talents), 100):
            events = [
                {
                    "eventId": uuid.UUID(int=chance.getrandbits(128)).hex,
                    "actor": "TALENT",
                    "type": "VIEW",
                    "talentId": talent,
                    "jobId": chance.choice(self.market.jobs),
                }
                for talent in talents[start : start + 100]
            ]
            body = {"query": RECORD, "variables": {"events": events}}
            answer = httpx.post(f"{self._url}/graphql", json=body, timeout=60).json()
            if "errors" in answer:
                raise RuntimeError(f"events were not taken: {answer['errors'][0]['message']}")

    def lists(self, count: int = 20) -> list[list[str]]:
        """The jobs of some talents' lists, as they are answered now."""
        asked = [httpx.post(one.url, json=one.body, timeout=60).json() for one in self.hits()[:count]]
        return [[node["jobId"] for node in answer["data"]["recommendedJobs"]["nodes"]] for answer in asked]

    def talents(self, most: int) -> list[str]:
        """Those who are asked about, at most so many, no two alike."""
        return self._chosen(min(most, len(self.market.talents)), 4)

    def request(self, document: str, variables: Mapping[str, Any]) -> Request:
        """Any operation."""
        return self._request({"query": document, "variables": variables})

    def measure(
        self, requests: Sequence[Request], *, rate: float, seconds: float, read: Callable[[bytes], Any] | None = None
    ) -> Measured:
        """An attack, and the processor time of everybody in it."""
        pids = self.server.pids
        before = cpu_seconds(*pids)
        stores = {name: cpu_seconds(pid) for name, pid in self._beside.items()}
        clients = CLIENTS if rate == CLOSED else OPEN_CLIENTS
        outcome = attack(self._vegeta, requests, rate=rate, seconds=seconds, read=read or jobs_in, clients=clients)
        return Measured(
            outcome,
            (cpu_seconds(*pids) - before) * 1_000 / outcome.sent,
            {name: (cpu_seconds(pid) - stores[name]) * 1_000 / outcome.sent for name, pid in self._beside.items()},
        )

    def _request(self, body: Mapping[str, Any], encoding: str = "identity") -> Request:
        return Request(f"{self._url}/graphql", body, {"Accept-Encoding": encoding})

    def _chosen(self, count: int, seed: int) -> list[str]:
        """Talents by chance, again and again when there are fewer."""
        dice = random.Random(seed)  # noqa: S311
        talents = self.market.talents
        return dice.sample(talents, count) if count <= len(talents) else dice.choices(talents, k=count)


@dataclass
class Measured:
    """One attack. cpu_ms: of the gateway for each request; store_cpu_ms: of each store's process, likewise."""

    outcome: Outcome
    cpu_ms: float
    store_cpu_ms: Mapping[str, float]

    def row(self, what: str) -> list[Cell]:
        """Of the tables here."""
        outcome = self.outcome
        generator = outcome.generator_cpu_seconds * 1_000 / outcome.sent
        return [
            what,
            outcome.rate,
            *(outcome.quantile(share) for share in (0.5, 0.9, 0.99)),
            float(outcome.latencies_ms.max(initial=0)),
            self.cpu_ms,
            1_000 / self.cpu_ms if self.cpu_ms else None,
            sum(self.store_cpu_ms.values()) if self.store_cpu_ms else None,
            generator,
            faults_in(outcome),
        ]

    @property
    def figures(self) -> dict[str, Any]:
        """For plots."""
        return {
            "rate": self.outcome.rate,
            "p50_ms": self.outcome.quantile(0.5),
            "p99_ms": self.outcome.quantile(0.99),
            "cpu_ms": self.cpu_ms,
            "store_cpu_ms": dict(self.store_cpu_ms),
            "sent": self.outcome.sent,
            "faults": dict(self.outcome.faults),
        }


COLUMNS = (
    "what", "requests/s", "p50 ms", "p90 ms", "p99 ms", "worst ms", "gateway CPU ms", "requests/CPU-s", "stores CPU ms",
    "vegeta CPU ms", "failed",
)  # fmt: skip


def faults_in(outcome: Outcome) -> str:
    """The failed ones, by what they were."""
    return ", ".join(f"{count} {name}" for name, count in outcome.faults.most_common(3)) or "0"


@contextmanager
def serving(
    data: Path, given: argparse.Namespace, env: Mapping[str, str], beside: Mapping[str, int] | None = None
) -> Iterator[Gateway]:
    """A gateway for the length of a block, warm."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "gateway", "serve", "--port", str(port), "--workers", str(given.workers)]
    settings = {"TANDEM_AUTH": "open", "TANDEM_DATA_DIR": str(data), **env}
    market = Market.of(data)
    with Server(command, f"{url}/readyz", data / "load.log", settings) as server:
        gateway = Gateway(server, url, given.vegeta, market, beside or {})
        gateway.record()
        gateway.warm()
        yield gateway


def measure_all(
    gateway: Gateway, given: argparse.Namespace, name: str, filters: Filters
) -> tuple[Table, dict[str, Any]]:
    """Hits as many as there can be, then at half of that; misses likewise, at each share of capacity."""
    table = Table(f"{name}, {given.workers} workers", COLUMNS)
    figures: dict[str, Any] = {}

    def row(what: str, measured: Measured) -> Measured:
        table.add(*measured.row(what))
        figures[what] = measured.figures
        print(Table(table.title, table.columns, table.rows).text().splitlines()[-1], flush=True)
        late = float(np.quantile(measured.outcome.late_ms, 0.99))
        if late > LATE_MS:
            table.notes.append(f"{what}: vegeta itself sent up to {late:.0f} ms late, which is in the latencies")
        return measured

    seconds = given.seconds
    hits = {
        "hit": gateway.hits(),
        "hit, persisted": gateway.hits(persisted=True),
        "hit, gzip": gateway.hits(encoding="gzip"),
    }
    for what, requests in hits.items():
        most = median_of([gateway.measure(requests, rate=CLOSED, seconds=seconds) for _ in range(given.rounds)])
        row(f"{what}, most", most)
        row(f"{what}, half", gateway.measure(requests, rate=most.outcome.rate / 2, seconds=seconds))
    gateway.measure(gateway.misses(300, filters), rate=CLOSED, seconds=3)
    most = median_of(
        [
            gateway.measure(gateway.misses(int(seconds * 1_500), filters), rate=CLOSED, seconds=seconds)
            for _ in range(given.rounds)
        ]
    )
    row("miss, most", most)
    matched = most.outcome.found
    for share in given.shares:
        rate = most.outcome.rate * share
        requests = gateway.misses(int(rate * seconds) + 10, filters)
        measured = row(f"miss, {share:.0%}", gateway.measure(requests, rate=rate, seconds=seconds))
        matched += measured.outcome.found
    cuts = np.quantile(matched, (0.1, 0.5, 0.9))
    figures["matched"] = cuts.tolist()
    figures["memory_mb"] = memory_mb(*gateway.server.pids)
    table.notes.append(
        f"filters match {cuts[1]:,.0f} jobs (80 % of them {cuts[0]:,.0f} to {cuts[2]:,.0f}); "
        f"memory of the gateway {figures['memory_mb']:,.0f} MB"
    )
    return table, figures


def median_of(rounds: list[Measured]) -> Measured:
    """The round of the median rate."""
    middle = median([one.outcome.rate for one in rounds])
    return min(rounds, key=lambda one: abs(one.outcome.rate - middle))


def embedded(given: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """See the module."""
    with serving(given.data, given, {}) as gateway:
        table, figures = measure_all(gateway, given, "embedded stores", Filters(gateway.market, given.seed))
        figures["lists"] = gateway.lists()
    return [table], {"embedded": figures}


def production(given: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """See the module."""
    (first,), figures = embedded(given)
    with ExitStack() as running, tempfile.TemporaryDirectory() as place:
        env, beside = running.enter_context(_stores(Path(place), given))
        with serving(given.data, given, env, beside) as gateway:
            filters = Filters(gateway.market, given.seed + 1)
            table, found = measure_all(gateway, given, "Elasticsearch and Redis", filters)
            pairs = list(zip(gateway.lists(), figures["embedded"].pop("lists"), strict=True))
            same = sum(here == there for here, there in pairs)
            table.notes.append(f"{same} of {len(pairs)} lists that were compared are those of the embedded stores")
    figures["production"] = found
    ratios = Table("Elasticsearch and Redis beside embedded", ("what", "p50", "p99", "gateway CPU", "requests/s"))
    for what, here in found.items():
        there = figures["embedded"].get(what)
        if isinstance(here, dict) and there is not None:
            ratios.add(what, *(here[name] / there[name] for name in ("p50_ms", "p99_ms", "cpu_ms", "rate")))
    return [first, table, ratios], figures


@contextmanager
def _stores(place: Path, given: argparse.Namespace) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """A real Elasticsearch and two Redis servers that hold the market, as settings; their processes."""
    run, port = launcher(), free_port()
    url = run.start(port, given.heap, run.DEFAULT_DIRECTORY, ends_with_caller=True).replace("http", "elasticsearch")
    try:
        with running_redis(place / "events") as events, running_redis(place / "cache", "--appendonly", "no") as cache:
            env = {
                "TANDEM_CATALOGUE_URL": url,
                "TANDEM_EVENTS_URL": events.url,
                "TANDEM_CACHE_URL": cache.url,
                "TANDEM_MODELS_URL": f"file://{place / 'models'}",
                # Elasticsearch and Redis have the processor to themselves in production; here four programs share it.
                "TANDEM_CATALOGUE_TIMEOUT_MS": "2000",
                "TANDEM_EVENTS_TIMEOUT_MS": "1000",
                "TANDEM_CACHE_TIMEOUT_MS": "1000",
                "TANDEM_DEADLINE_MS": "3000",
            }
            files = files_in(given.data / "market")
            _tandem(
                given.data, env, "import", "--talents", files.talents, "--jobs", files.jobs, "--events", files.events
            )
            # Both count documents in the order of the files, so the model of the one is the model of the other.
            shutil.copytree(given.data / "models", place / "models")
            process = int((run.DEFAULT_DIRECTORY / f"node-{port}" / "pid").read_text())
            yield env, {"Elasticsearch": process, "events": _pid(events), "cache": _pid(cache)}
    finally:
        run.stop(port, run.DEFAULT_DIRECTORY)


def _tandem(data: Path, env: Mapping[str, str], *arguments: str | Path) -> None:
    command = [sys.executable, "-m", "gateway", *map(str, arguments)]
    subprocess.run(command, check=True, env={**os.environ, "TANDEM_DATA_DIR": str(data), **env})  # noqa: S603


def _pid(server: RedisServer) -> int:
    found = re.search(rb"process_id:(\d+)", server.command("INFO", "server"))
    assert found is not None
    return int(found[1])


def gorse(given: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """See the module."""
    from benchmarks.gorse import beside_gorse

    with serving(given.data, given, {}) as gateway:
        return beside_gorse(gateway, given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("embedded", "production", "gorse"))
    parser.add_argument("data", type=Path)
    for name, default in (("talents", 5_000), ("jobs", 3_000), ("events", 250_000), ("workers", 2), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of what finds the capacity; the median one is shown")
    parser.add_argument(
        "--shares", type=lambda text: [float(one) for one in text.split(",")], default=[0.25, 0.5, 0.75]
    )
    parser.add_argument("--heap", default="1g", help="of Elasticsearch")
    parser.add_argument("--vegeta")
    parser.add_argument("--gorse", type=Path, help="the program gorse-in-one")
    parser.add_argument("--gorse-store", help="URL of its database; unset: SQLite, in its process")
    parser.add_argument("--gorse-store-pid", type=int, help="the process of that database, whose CPU counts as well")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    try:
        given.vegeta = vegeta_binary(given.vegeta)
    except NoVegetaError as error:
        parser.exit(1, f"{error}\n")
    if given.part == "gorse" and not (given.gorse and os.access(given.gorse, os.X_OK)):
        parser.exit(1, "name the program by --gorse: gorse-in-one of github.com/gorse-io/gorse, 0.5\n")
    build(given)
    tables, figures = {"embedded": embedded, "production": production, "gorse": gorse}[given.part](given)
    for table in tables:
        print(table.text())
    if given.json is not None:
        keep(given.json, tables, figures)


def _numbers(text: str) -> list[float]:
    return [float(one) for one in text.split(",")]


def build(given: argparse.Namespace) -> None:
    """The market, unless it is there."""
    if not (given.data / "models" / "CURRENT").exists():
        size = [word for name in ("talents", "jobs", "events") for word in (f"--{name}", str(getattr(given, name)))]
        command = [sys.executable, "-m", "gateway", "demo", "--no-serve", "--data-dir", str(given.data), *size]
        subprocess.run(command, check=True)  # noqa: S603


if __name__ == "__main__":
    main()
