"""Gorse over a demo market, and what `GET /api/recommend/{user}` costs it beside the same lists of the gateway.

A part of benchmarks.load. Gorse's binary is not ours: `gorse-in-one` of github.com/gorse-io/gorse, release 0.5. It is
set up as its sample configuration does, with latest and collaborative candidates that a factorisation machine ranks in
advance; every view, save and application is feedback, of which all but the view is positive.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.processes import Server, cpu_seconds, wait_until, wait_until_idle
from benchmarks.tables import Cell, Table
from benchmarks.vegeta import CLOSED, Outcome, Request, attack
from gateway.market.files import files_in
from tests.servers import free_port

if TYPE_CHECKING:
    from benchmarks.load import Gateway

CONFIG = """\
[database]
data_store = "{store}"
cache_store = "{store}"
[master]
host = "127.0.0.1"
port = {grpc}
http_host = "127.0.0.1"
http_port = {http}
n_jobs = 2
[recommend]
cache_size = 100
[recommend.data_source]
positive_feedback_types = ["SAVE", "APPLY"]
read_feedback_types = ["VIEW"]
[recommend.collaborative]
type = "mf"
fit_period = "10000m"
optimize_period = "0"
[recommend.ranker]
type = "fm"
recommenders = ["latest", "collaborative"]
fit_period = "10000m"
optimize_period = "0"
[recommend.fallback]
recommenders = ["latest"]
[blob]
uri = "{place}/blob"
"""
FEEDBACK = ("VIEW", "SAVE", "APPLY")
IDS = "query Ids($id: ID!, $filter: JobFilter) {\n"
IDS += "  recommendedJobs(subject: { talentId: $id }, first: 20, filter: $filter) { totalCount nodes { jobId } } }"
BATCH = 2_000
TRAINING_SECONDS = 1_200.0
SAMPLE = 100  # of the talents, whose lists are waited for
WARM_ROUNDS = 2  # that are not counted, until both processes are warm


def beside_gorse(gateway: Gateway, given: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Both, warm, by turns; the medians over the rounds."""
    data: Path = given.data
    jobs = pq.read_table(files_in(data / "market").jobs, columns=["job_id", "category", "status"]).to_pylist()
    categories = sorted({row["category"] for row in jobs if row["category"]})
    with running(given) as (server, url):
        took = load(url, data, jobs)
        server_seconds = time.monotonic()
        print(f"Gorse took {took:.0f} s to take the market", flush=True)
    # It learns when it starts, and then when the period has passed.
    with running(given, again=True) as (server, url):
        talents = gateway.talents(5_000)
        wait_until(lambda: _has_lists(url, talents[:SAMPLE]), TRAINING_SECONDS, "Gorse to have lists")
        wait_until_idle(lambda: server.pids, seconds=TRAINING_SECONDS)
        trained = time.monotonic() - server_seconds
        print(f"Gorse had lists and was at rest {trained:.0f} s after that", flush=True)
        return compare(gateway, server, url, given, talents, categories, trained)


def compare(
    gateway: Gateway,
    server: Server,
    url: str,
    given: argparse.Namespace,
    talents: Sequence[str],
    categories: Sequence[str],
    trained: float,
) -> tuple[list[Table], dict[str, Any]]:
    """See `beside_gorse`."""
    dice = random.Random(given.seed)  # noqa: S311
    pairs = [(talent, category) for talent in talents for category in categories]
    dice.shuffle(pairs)
    fresh = iter(pairs)
    plain = {"Accept-Encoding": "identity"}
    known = talents[:200]
    pids = [given.gorse_store_pid] if given.gorse_store_pid else []

    def of_gorse(path: str) -> Request:
        return Request(f"{url}/api/recommend/{path}", headers=plain)

    def gorse(requests: Sequence[Request]) -> tuple[Outcome, float]:
        before = cpu_seconds(*server.pids, *pids)
        outcome = attack(given.vegeta, requests, rate=CLOSED, seconds=given.seconds, read=_items, clients=16)
        return outcome, (cpu_seconds(*server.pids, *pids) - before) * 1_000 / outcome.sent

    def ours(requests: Sequence[Request]) -> tuple[Outcome, float]:
        measured = gateway.measure(requests, rate=CLOSED, seconds=given.seconds, read=_nodes)
        return measured.outcome, measured.cpu_ms

    def filtered(count: int) -> list[Request]:
        asked = [next(fresh) for _ in range(count)]
        return [gateway.request(IDS, {"id": one, "filter": {"categories": [category]}}) for one, category in asked]

    again = filtered(200)
    # More than are asked for in the time, and enough for every round to have its own.
    count = min(int(given.seconds * 1_200), (len(pairs) - len(again)) // (WARM_ROUNDS + given.rounds))
    ways: dict[str, Callable[[], tuple[Outcome, float]]] = {
        "Gorse: ids": lambda: gorse([of_gorse(f"{one}?n=20") for one in known]),
        "ours: ids": lambda: ours([gateway.request(IDS, {"id": one}) for one in known]),
        "ours: 12 fields each": lambda: ours(gateway.hits()),
        "Gorse: ids of a category": lambda: gorse(
            [of_gorse(f"{one}?{httpx.QueryParams(n=20, category=category)}") for one, category in pairs[:count]]
        ),
        "ours: ids of a category, first time": lambda: ours(filtered(count)),
        "ours: ids of a category, asked before": lambda: ours(again),
    }
    for way in ways.values():
        for _ in range(WARM_ROUNDS):
            way()
    found: dict[str, list[tuple[Outcome, float]]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, way in ways.items():
            found[name].append(way())
    table = Table(
        "beside Gorse: lists of 20, as many as 16 clients get",
        ("what", "requests/s", "CPU ms", "requests/CPU-s", "of Gorse", "failed", "of 20"),
    )
    figures: dict[str, Any] = {}
    base = 0.0
    for name, rounds in found.items():
        cpu = median([one[1] for one in rounds])
        base = 1_000 / cpu if name.startswith("Gorse") else base
        sizes = [size for outcome, _ in rounds for size in outcome.found]
        failed = sum(sum(outcome.faults.values()) for outcome, _ in rounds)
        row: list[Cell] = [name, median([one[0].rate for one in rounds]), cpu, 1_000 / cpu, 1_000 / cpu / base, failed]
        table.add(*row, sum(sizes) / max(1, len(sizes)))
        figures[name] = {"cpu_ms": cpu, "rate": row[1]}
    table.notes.append(
        f"Gorse on {(given.gorse_store or 'sqlite').partition(':')[0]}"
        f", whose processor time counts as well; {trained:.0f} s from its market to its lists"
    )
    if given.gorse_store and not given.gorse_store_pid:
        table.notes[-1] = table.notes[-1].replace("whose processor time counts as well", "whose own does not count")
    return [table], {"gorse": figures}


@contextmanager
def running(given: argparse.Namespace, *, again: bool = False) -> Iterator[tuple[Server, str]]:
    """Gorse for the length of a block. again: on what it has been given before."""
    place: Path = given.data / "gorse"
    if not again and place.exists():
        place.rename(tempfile.mkdtemp(prefix="gorse-", dir=given.data) + "/old")
    for inside in ("cache", "blob"):
        (place / inside).mkdir(parents=True, exist_ok=True)
    http = free_port()
    store = given.gorse_store or f"sqlite://{place.resolve() / 'gorse.db'}"
    config = place / "config.toml"
    config.write_text(CONFIG.format(store=store, grpc=free_port(), http=http, place=place.resolve()))
    url = f"http://127.0.0.1:{http}"
    command = [given.gorse, "-c", config, "--cache-path", place / "cache", "--log-path", place / "gorse.log"]
    with Server(command, f"{url}/api/health/live", place / "output.log", {"GIN_MODE": "release"}) as server:
        yield server, url


def load(url: str, data: Path, jobs: Sequence[Mapping[str, Any]]) -> float:
    """Give it the market; the seconds it took."""
    began = time.monotonic()
    files = files_in(data / "market")
    with httpx.Client(base_url=url, timeout=300) as client:

        def send(method: str, path: str, rows: Sequence[Mapping[str, Any]]) -> None:
            for start in range(0, len(rows), BATCH):
                body = orjson.dumps(rows[start : start + BATCH])
                headers = {"Content-Type": "application/json"}
                client.request(method, path, content=body, headers=headers).raise_for_status()

        send(
            "POST",
            "/api/items",
            [
                {
                    "ItemId": row["job_id"],
                    "IsHidden": row["status"] != "OPEN",
                    "Categories": [row["category"]] if row["category"] else [],
                    "Timestamp": "2026-01-01T00:00:00Z",
                }
                for row in jobs
            ],
        )
        talents = pq.read_table(files.talents, columns=["talent_id"])["talent_id"].to_pylist()
        send("POST", "/api/users", [{"UserId": talent} for talent in talents])
        is_feedback = pc.field("type").isin(list(FEEDBACK))
        columns = ["type", "talent_id", "job_id", "occurred_at"]
        events = pq.read_table(files.events, columns=columns, filters=is_feedback).to_pylist()
        rows = [
            {
                "FeedbackType": row["type"],
                "UserId": row["talent_id"],
                "ItemId": row["job_id"],
                "Timestamp": row["occurred_at"].isoformat(),
            }
            for row in events
        ]
        send("PUT", "/api/feedback", rows)
    return time.monotonic() - began


def _has_lists(url: str, talents: Sequence[str]) -> bool:
    """Whether those who are asked have lists of their own, which differ, instead of what is latest."""
    lists = [tuple(httpx.get(f"{url}/api/recommend/{one}?n=20", timeout=30).json() or ()) for one in talents]
    return len(set(lists)) > len(lists) // 2


def _items(body: bytes) -> int:
    return len(orjson.loads(body) or ())


def _nodes(body: bytes) -> int:
    answer = orjson.loads(body)
    if "errors" in answer or answer.get("extensions", {}).get("degraded"):
        raise ValueError("errors or degraded")
    return len(answer["data"]["recommendedJobs"]["nodes"])
