"""Three ways to the best 500 jobs under a filter, side by side in one run; run by hand.

    python benchmarks/retrieval_plans.py --url http://127.0.0.1:9200 [--sizes 10000,100000] [--factors trained,gaussian]
        [--indexes hnsw,bbq_hnsw] [--queries 60] [--pid PID]

- exact: the filter on the mirror, the scan of what matches, in process (what TANDEM_RETRIEVAL=exact does).
- ids: the ids of what matches fetched from Elasticsearch, then the same scan.
- knn: the filter and the search inside Elasticsearch, 1,000 nominees scored again in process; by kind of index and how
  many candidates the search of the graph looks at.

Each figure is of one list. `x limit` is the median beside a plain pass over the same bytes: the factors of the rows
that match. CPU is of this process and, with --pid, of the server. Recall is the share of the true top 20 and top 500
among the nominees. `trained` factors come from ALS over events of a clustered market, `gaussian` ones from a generator.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import orjson
import scipy.sparse as sp

from gateway.adapters.elasticsearch import vector_bodies
from gateway.adapters.elasticsearch.records import Record
from recommender.als import fit
from recommender.documents import Changes, Job, Kind
from recommender.filters import JobFilter, TermFilter
from recommender.mirror import Mirror
from recommender.model import Factors, Hyperparameters, Ordinals, Side
from recommender.nomination import LEAST, longest_of, unit_query, unit_rows
from recommender.ports import VectorRows
from recommender.retrieval import best, ordinals_from_bitmap
from recommender.scoring import Bias, Dense, Terms, score

K = 500
NOW_MS = 1_800_000_000_000
SHARES = {"s100": 1.0, "s30": 0.3, "s10": 0.1, "s1": 0.01, "s01": 0.001}
TRADES = 10  # of the clustered market: a filter that goes with taste
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, eq=False)
class Market:
    """Rows to search and the vectors that ask. trade: of each job."""

    jobs: Factors
    queries: npt.NDArray[np.float64]
    popularity: npt.NDArray[np.float64]
    trade: npt.NDArray[np.integer]


def trained(size: int, queries: int) -> Market:
    """Factors learnt from events of a market with trades, specialities in them, and popular jobs."""
    rng = np.random.default_rng(size)
    talents, specialities = size // 2, max(size // 200, 2 * TRADES)
    speciality = rng.integers(specialities, size=size)
    by_speciality = np.argsort(speciality, kind="stable")
    starts = np.searchsorted(speciality[by_speciality], np.arange(specialities + 1))
    own = rng.integers(specialities, size=talents)
    counts = rng.geometric(1 / 12, size=talents) + 2
    who = np.repeat(np.arange(talents), counts)
    step = np.where(rng.random(len(who)) < 0.7, 0, rng.geometric(0.2, size=len(who)))
    where = (own[who] + step) % specialities
    width = np.maximum(starts[where + 1] - starts[where], 1)
    what = by_speciality[np.minimum(starts[where] + (width * rng.random(len(who)) ** 3).astype(np.int64), size - 1)]
    # A model has rows only for jobs that somebody acted on: each gets one event of somebody.
    who, what = np.append(who, rng.integers(talents, size=size)), np.append(what, np.arange(size))
    matrix = sp.csr_matrix((np.ones(len(who), np.float32), (who, what)), shape=(talents, size))
    matrix.sum_duplicates()
    # What `tandem train` begins with for such a log.
    hyper = Hyperparameters(factors=64, regularization=430.0, alpha=140.0, iterations=5)
    talent_factors, job_factors = fit(matrix, hyper)
    popularity = np.asarray(matrix.sum(axis=0)).ravel()
    asking = talent_factors[rng.choice(talents, queries, replace=False)].astype(np.float64)
    return Market(job_factors, asking, popularity / popularity.max() * 0.1, speciality * TRADES // specialities)


def gaussian(size: int, queries: int) -> Market:
    """Factors without any structure."""
    rng = np.random.default_rng(size)
    jobs = rng.normal(size=(size, 64)).astype(np.float32)
    return Market(jobs, rng.normal(size=(queries, 64)), np.zeros(size), rng.integers(TRADES, size=size))


class Server:
    """One kept connection: what a client costs is not the question here."""

    def __init__(self, url: str, pid: int | None) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=1_800)
        self._pid = pid

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        sent = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        self._connection.request(method, f"/{path}", sent, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400 and answer.status != 404:
            raise RuntimeError(f"{answer.status}: {text[:300]!r}")
        return orjson.loads(text) if text else None

    def cpu_s(self) -> float:
        """Processor time of the server so far."""
        if self._pid is None:
            return float("nan")
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def skills_of(size: int) -> list[tuple[str, ...]]:
    """A skill per selectivity, each held by its share of the jobs, by chance."""
    rng = np.random.default_rng(1)
    held = {name: rng.random(size) < share for name, share in SHARES.items()}
    return [tuple(name for name, has in held.items() if has[place]) for place in range(size)]


def documents(market: Market, skills: Sequence[tuple[str, ...]]) -> list[Job]:
    trades = market.trade.tolist()
    return [
        Job(ordinal=place + 1, job_id=f"j{place}", skills=skills[place], category=f"trade {trades[place]}")
        for place in range(len(trades))
    ]


def mirror_of(jobs: Sequence[Job]) -> Mirror:
    mirror = Mirror(Kind.JOB)
    for start in range(0, len(jobs), 2_000):
        mirror.apply(Changes(start + 1, jobs[start : start + 2_000], ()))
    return mirror


def fill(server: Server, name: str, variant: str, rows: VectorRows, jobs: Sequence[Job]) -> float:
    """Index every row; the seconds it took, merges included."""
    kind, _, is_raw = variant.partition("-")
    similarity = "max_inner_product" if is_raw else "dot_product"
    width = rows.side.factors.shape[1] + (1 if is_raw else 2)
    server.ask("DELETE", name)
    server.ask("PUT", name, vector_bodies.index(Kind.JOB, "benchmark", width, {"type": kind}, similarity))
    longest = longest_of(rows)
    begun = time.perf_counter()
    for start in range(0, len(jobs), 2_000):
        lines = []
        at = np.arange(start, min(start + 2_000, len(jobs)))
        raw = np.column_stack([rows.side.factors[at], rows.bias[at]])
        vectors = (raw if is_raw else unit_rows(rows, at, longest)).tolist()
        for job, vector in zip(jobs[start : start + 2_000], vectors, strict=True):
            stored = {"skills": list(job.skills), "category": job.category}
            record = Record(str(job.ordinal), job.ordinal, job.job_id, stored, None, revision=1)
            lines += [orjson.dumps(line) for line in vector_bodies.row(name, Kind.JOB, record, vector)]
        answer = server.ask("POST", "_bulk?filter_path=errors", b"\n".join(lines) + b"\n")
        if answer["errors"]:
            raise RuntimeError("not every row was taken")
    server.ask("POST", f"{name}/_refresh")
    while server.ask("GET", f"{name}/_stats/merge")["_all"]["primaries"]["merges"]["current"]:
        time.sleep(1)
    server.ask("POST", f"{name}/_refresh")
    return time.perf_counter() - begun


def ids_by_pages(server: Server, name: str, filters: Sequence[Any]) -> npt.NDArray[np.uint32]:
    """Every matching ordinal, 10,000 at a time."""
    found: list[int] = []
    after = [0]
    while True:
        body = {
            "size": 10_000,
            "query": {"bool": {"filter": list(filters)}},
            "sort": ["ordinal"],
            "search_after": after,
            "track_total_hits": False,
            "stored_fields": "_none_",
        }
        hits = server.ask("POST", f"{name}/_search?filter_path=hits.hits.sort", body).get("hits", {}).get("hits", [])
        found += [hit["sort"][0] for hit in hits]
        if len(hits) < 10_000:
            return np.array(found, dtype=np.uint32)
        after = hits[-1]["sort"]


def nominees(server: Server, name: str, body: Any) -> npt.NDArray[np.uint32]:
    answer = server.ask("POST", f"{name}/_search?filter_path=hits.hits.sort", body)
    return np.array([hit["sort"][0] for hit in answer.get("hits", {}).get("hits", [])], dtype=np.uint32)


@dataclass
class Measured:
    """Seconds of each call, and the processor time of all of them."""

    wall_s: list[float]
    own_cpu_s: float
    server_cpu_s: float

    def line(self, label: str, limit_s: float, recalls: tuple[float, float] | None = None) -> str:
        calls = len(self.wall_s)
        median, worst = np.quantile(self.wall_s, [0.5, 0.99])
        own, there = self.own_cpu_s / calls, self.server_cpu_s / calls
        text = f"{label:<34}{median * 1e3:9.2f}{worst * 1e3:10.2f}{own * 1e3:9.2f}{there * 1e3:10.2f}"
        text += f"{median / limit_s:10.1f}"
        return text + ("" if recalls is None else f"{recalls[0]:9.3f}{recalls[1]:9.3f}")


def measure(server: Server, calls: Sequence[Callable[[], Any]]) -> tuple[Measured, list[Any]]:
    for call in calls[:3]:
        call()
    gc.collect()
    answers, walls = [], []
    own, there = time.process_time(), server.cpu_s()
    for call in calls:
        begun = time.perf_counter()
        answers.append(call())
        walls.append(time.perf_counter() - begun)
    return Measured(walls, time.process_time() - own, server.cpu_s() - there), answers


def limit_s(rows: Factors) -> float:
    """A plain pass over these bytes by one thread, the best of several."""
    flat = rows.reshape(-1).view(np.uint64)
    times = []
    for _ in range(9):
        begun = time.perf_counter()
        np.bitwise_xor.reduce(flat)
        times.append(time.perf_counter() - begun)
    return min(times)


def resident_mb(pid: int | str = "self") -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1_024
    return float("nan")


def recall(terms: Sequence[Terms], truth: Sequence[Ordinals], lists: Sequence[Ordinals], k: int) -> float:
    """Mean share of the true top k that was found; equal scores are as good as each other."""
    shares = []
    for one, true, got in zip(terms, truth, lists, strict=True):
        worst = score(one, true[:k])[-1]
        shares.append(min(1.0, np.count_nonzero(score(one, got) >= worst) / len(true[:k])))
    return float(np.mean(shares))


def compare(server: Server, market: Market, given: argparse.Namespace, kind: str) -> None:
    """Every plan over one market."""
    size = len(market.jobs)
    jobs = documents(market, skills_of(size))
    gc.collect()
    before = resident_mb()
    mirror = mirror_of(jobs)
    mirror.id_order(np.array([1], dtype=np.uint32))
    held = resident_mb() - before
    side = Side(np.arange(1, size + 1, dtype=np.uint32), market.jobs, market.popularity.astype(np.float32))
    bias = Bias("popularity", market.popularity)
    terms = [Terms(side, dense=(Dense("interest", query),), bias=(bias,)) for query in market.queries]
    _ = side.norms
    rows = VectorRows(side, market.popularity, np.empty((0, 65)))
    print(f"\n{kind} factors, {size:,} jobs x {market.jobs.shape[1]}, top {K}, {len(terms)} lists each")
    print(f"in process: factors {market.jobs.nbytes / 2**20:,.0f} MB, mirror {held:,.0f} MB")
    indexes = {one: f"plans-{one.replace('_', '-')}" for one in given.indexes.split(",")}
    for one, name in indexes.items():
        seconds = fill(server, name, one, rows, jobs)
        stats = server.ask("GET", f"{name}/_stats/dense_vector,store,segments")["_all"]["primaries"]
        off_heap = stats["dense_vector"]["off_heap"]
        print(
            f"{one}: filled in {seconds:,.0f} s, disk {stats['store']['size_in_bytes'] / 2**20:,.0f} MB, "
            f"{stats['segments']['count']} segments, MB to be in memory: "
            + ", ".join(f"{part[6:9]} {size_bytes / 2**20:,.0f}" for part, size_bytes in off_heap.items()
                        if part not in ("total_size_bytes", "fielddata") and size_bytes)
        )  # fmt: skip
    del jobs
    print(f"{'plan':<34}{'median ms':>9}{'p99':>10}{'own CPU':>9}{'its CPU':>10}{'x limit':>10}{'r@20':>9}{'r@500':>9}")
    filters = {f"{share:.1%}": JobFilter(skills=TermFilter(all=(name,))) for name, share in SHARES.items()}
    filters["a trade"] = JobFilter(categories=("trade 3",))
    for label, wanted in filters.items():
        matching = mirror.matching(wanted, NOW_MS)
        limit = limit_s(np.ascontiguousarray(market.jobs[: max(len(matching), 64)]))

        def exact(one: Terms, wanted: JobFilter = wanted) -> npt.NDArray[np.uint32]:
            found = mirror.matching(wanted, NOW_MS) & mirror.eligible(NOW_MS)
            return best(one, ordinals_from_bitmap(found), K, mirror)[0]

        times, truth = measure(server, [partial(exact, one) for one in terms])
        print(times.line(f"{label} exact", limit, (1.0, 1.0)))
        clauses = vector_bodies.clauses(Kind.JOB, wanted, None, (), NOW_MS, str) or []
        first = next(iter(indexes.values()))

        def by_ids(one: Terms, name: str = first, clauses: Sequence[Any] = clauses) -> npt.NDArray[np.uint32]:
            return best(one, ids_by_pages(server, name, clauses), K, mirror)[0]

        times, _ = measure(server, [partial(by_ids, one) for one in terms[: given.naive]])
        print(times.line(f"{label} ids", limit, (1.0, 1.0)))
        for one, name in indexes.items():
            for candidates in (LEAST, 2 * LEAST, 5 * LEAST):

                def knn(
                    place: int, name: str = name, clauses: Sequence[Any] = clauses, candidates: int = candidates
                ) -> npt.NDArray[np.uint32]:
                    query = np.append(market.queries[place], 1.0)
                    vector = (query if name.endswith("-raw") else unit_query(query)).tolist()
                    found = nominees(server, name, vector_bodies.nearest(vector, LEAST, candidates, clauses))
                    return best(terms[place], found, K, mirror)[0]

                times, lists = measure(server, [partial(knn, place) for place in range(len(terms))])
                recalls = (recall(terms, truth, lists, 20), recall(terms, truth, lists, K))
                print(times.line(f"{label} knn {one} {candidates}", limit, recalls), flush=True)
    for name in indexes.values():
        server.ask("DELETE", name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:9200")
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--factors", default="trained,gaussian")
    parser.add_argument(
        "--indexes",
        default="hnsw,hnsw-raw,int8_hnsw,bbq_hnsw",
        help="`-raw`: the rows as they are, by max_inner_product",
    )
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--naive", type=int, default=5, help="lists by fetched ids: they take long")
    parser.add_argument("--pid", type=int, help="of the server, for its CPU")
    given = parser.parse_args()
    server = Server(given.url, given.pid)
    for size in (int(text) for text in given.sizes.split(",")):
        for kind in given.factors.split(","):
            begun = time.perf_counter()
            market = {"trained": trained, "gaussian": gaussian}[kind](size, given.queries)
            print(f"\nmade the factors in {time.perf_counter() - begun:,.0f} s")
            compare(server, market, given, kind)


if __name__ == "__main__":
    main()
