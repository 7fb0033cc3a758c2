"""How the catalogue does on Elasticsearch: deep pages, whole scans, postings, the mirror's memory, a cold server.

    python -m benchmarks.catalogue [--documents 100000] [--rounds 7]

Starts a server of its own. What is compared takes turns within one run: medians of the time that passed, and means of
the processor's time, this process and the server together, which says more on a machine that does other things as well.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.adapters.elasticsearch import bodies
from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from recommender.documents import Budget, BudgetType, JobStatus, Kind, Level, Patch
from recommender.errors import UnavailableError
from recommender.filters import JobFilter
from recommender.search import SearchPosition, SearchRequest, Sort
from tests.elasticsearch_server import free_port, launcher

JOB = Kind.JOB
NOW_MS = 1_760_000_000_000
PAGE = 100
PATIENT_MS = 30_000
Timed = tuple[str, Callable[[], Awaitable[Any]]]


def patches(count: int) -> list[Patch]:
    """Jobs with everything that a job can say, about 1,000 characters each."""
    chance = random.Random(1)  # noqa: S311 - the same jobs each time
    words = [f"word{number}" for number in range(2_000)]
    return [
        Patch(
            f"job-{number:07d}",
            {
                "client_id": f"client-{number % 5_000}",
                "title": " ".join(chance.sample(words, 6)),
                "description": " ".join(chance.choices(words, k=120)),
                "skills": tuple(chance.sample(words[:300], 5)),
                "category": f"category {chance.randrange(20)}",
                "country": chance.choice(["DE", "FR", "US", "GB"]),
                "is_remote": chance.random() < 0.5,
                "budget": Budget(BudgetType.HOURLY, Decimal(chance.randrange(10, 50)), Decimal(99), "USD"),
                "level": chance.choice(list(Level)),
                "posted_at_ms": NOW_MS - chance.randrange(10**10),
                "attributes": {"visa": "yes"},
            },
        )
        for number in range(count)
    ]


class Turns:
    """Measures what takes turns."""

    def __init__(self, server: int) -> None:
        self._server = Path(f"/proc/{server}/stat")

    def _processor_ms(self) -> float:
        ticks = self._server.read_text().rpartition(")")[2].split()[11:13]
        return 1_000 * (time.process_time() + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"))

    async def take(self, rounds: int, timed: Sequence[Timed], *, repeat: int = 1) -> dict[str, str]:
        """What each took, in words, one after the other in every round, so many times at a time."""
        took: dict[str, list[float]] = {name: [] for name, _ in timed}
        spent = dict.fromkeys(took, 0.0)
        for _ in range(rounds):
            for name, work in timed:
                before = self._processor_ms()
                for _ in range(repeat):
                    began = time.perf_counter()
                    await work()
                    took[name].append(1_000 * (time.perf_counter() - began))
                spent[name] += self._processor_ms() - before
        return {
            name: f"{statistics.median(values):,.1f} ms ({spent[name] / len(values):,.1f} ms of processor)"
            for name, values in took.items()
        }


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


async def deep_pages(store: ElasticsearchCatalogue, turns: Turns, documents: int, rounds: int) -> None:
    """One page of 100, newest first: by the mirror's keys, and by search_after on a point in time."""
    cluster, index = store._cluster, f"{store._layout.alias[JOB]}"
    everything = JobFilter(statuses=(JobStatus.OPEN,))
    (whole,) = await store.search(JOB, [SearchRequest(everything, sort=Sort.NEWEST, first=documents)], NOW_MS)
    body = {"query": {"bool": {"filter": [{"term": {"status": "OPEN"}}]}}, "_source": False, "docvalue_fields": ["id"]}
    sort = [{"since_ms": {"order": "desc", "missing": "_last"}}, "id"]
    ask = store._connection.run
    point = (await ask(store._connection.ask(lambda client: client.open_point_in_time(index=index, keep_alive="5m"))))[
        "id"
    ]
    print(f"a page of {PAGE} at a depth of, by the mirror's keys and by search_after on a point in time:")
    for depth in (0, documents // 10, documents // 2, documents - PAGE):
        after = whole.positions[depth - 1] if depth else None
        values = None if after is None else [int(after.value or 0), after.id]

        async def mirrored(after: SearchPosition | None = after) -> Any:
            return await store.search(JOB, [SearchRequest(everything, None, Sort.NEWEST, PAGE, after)], NOW_MS)

        async def searched(values: list[Any] | None = values) -> Any:
            return await ask(cluster._page(point, {**body, "size": PAGE, "sort": sort}, values))

        (page,), found = await mirrored(), await searched()
        assert [one.id for one in page.positions] == [hit["fields"]["id"][0] for hit in found["hits"]["hits"]]
        took = await turns.take(rounds, [("mirror", mirrored), ("search_after", searched)], repeat=10)
        print(f"  {depth:>9,}: {took['mirror']:>40} {took['search_after']:>40}")


async def scans(store: ElasticsearchCatalogue, turns: Turns, rounds: int) -> None:
    """Every record: by ranges of the sequence number, and by search_after on a point in time."""
    cluster, index = store._cluster, await store._connection.run(store._layout.index(JOB))

    async def ranges() -> int:
        at, count = -1, 0
        while True:
            (hits,) = await cluster.search(index, [bodies.written_after(at, 2_000)], is_request=False)
            count += len(hits)
            if len(hits) < 2_000:
                return count
            at = hits[-1]["_seq_no"]

    async def point() -> int:
        return sum([len(hits) async for hits in cluster.scan(index, bodies.everything(), ["_shard_doc"], 2_000)])

    assert await store._connection.run(ranges()) == await store._connection.run(point())
    took = await turns.take(
        rounds,
        [("ranges", lambda: store._connection.run(ranges())), ("point", lambda: store._connection.run(point()))],
    )
    print(f"every record in pages of 2,000: ranges {took['ranges']}, a point in time {took['point']}")


async def postings(store: ElasticsearchCatalogue, turns: Turns, rounds: int) -> None:
    """The documents of a word: without stored fields, and with the ids that a hit has by default."""
    cluster, index = store._cluster, await store._connection.run(store._layout.index(JOB))
    numbers = iter(range(2_000))

    def asks(*, with_ids: bool, is_new: bool) -> Callable[[], Awaitable[Any]]:
        async def ask() -> Any:
            body = bodies.having_term(f"word{next(numbers) if is_new else 7}", 0)
            if with_ids:
                body = {**body, "_source": False}
                del body["stored_fields"]
            return await store._connection.run(cluster.search(index, [body], is_request=False, only=("sort", "_score")))

        return ask

    for what, is_new in (("a word that comes again", False), ("a word for the first time", True)):
        timed = [("without", asks(with_ids=False, is_new=is_new)), ("with", asks(with_ids=True, is_new=is_new))]
        took = await turns.take(rounds, timed, repeat=10)
        print(f"{what}: without stored fields {took['without']}, with ids {took['with']}")


async def cold(url: str) -> None:
    """The first questions to a server that has just started."""
    store = ElasticsearchCatalogue.open(url, namespace="bench")
    try:
        for name, work in (
            ("the first look", lambda: store.changes(JOB, 2**40 - 1)),
            ("20 documents", lambda: store.get_many(JOB, list(range(1, 21)))),
            ("a word's postings", lambda: store._connection.run(store._followers[JOB]._fetch(["word7"]))),
            ("20 documents again", lambda: store.get_many(JOB, list(range(21, 41)))),
            ("another word's postings", lambda: store._connection.run(store._followers[JOB]._fetch(["word8"]))),
        ):
            began = time.perf_counter()
            try:
                await work()
                what = ""
            except UnavailableError as error:
                what = f" ({error})"
            print(f"  {name}: {1_000 * (time.perf_counter() - began):.0f} ms{what}")
    finally:
        store.close()


async def main(documents: int, rounds: int) -> None:
    run, port = launcher(), free_port()
    url = run.start(port, "1g", run.DEFAULT_DIRECTORY, ends_with_caller=True).replace("http", "elasticsearch")
    try:
        store = ElasticsearchCatalogue.open(url, namespace="bench", timeout_ms=PATIENT_MS)
        some = patches(documents)
        began = time.perf_counter()
        for at in range(0, documents, 5_000):
            await store.upsert(JOB, some[at : at + 5_000])
        seconds = time.perf_counter() - began
        print(f"{documents:,} jobs written in {seconds:.0f} s, {documents / seconds:,.0f} a second")
        del some
        before, began = resident_mb(), time.perf_counter()
        await store.mirror(JOB)
        print(f"mirror: {resident_mb() - before:.0f} MB, loaded in {time.perf_counter() - began:.1f} s")
        turns = Turns(int((run.DEFAULT_DIRECTORY / f"node-{port}" / "pid").read_text()))
        await deep_pages(store, turns, documents, rounds)
        await postings(store, turns, rounds)
        await scans(store, turns, max(2, rounds // 2))
        store.close()
        run.stop(port, run.DEFAULT_DIRECTORY, keep_data=True)
        run.start(port, "1g", run.DEFAULT_DIRECTORY, keep_data=True, ends_with_caller=True)
        print("a server that has just started again on this data, within 120 ms a round trip:")
        await cold(url)
    finally:
        run.stop(port, run.DEFAULT_DIRECTORY)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    asyncio.run(main(**vars(parser.parse_args())))
