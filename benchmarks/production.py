"""Two gateways on a real Elasticsearch and a real Redis: how fresh and exact, and what a kill costs.

By hand.

    python -m benchmarks.production freshness [--number 2000]   from an acknowledgement to an answer that shows it
    python -m benchmarks.production events [--number 10000]     races of an event against queries, stale answers counted
    python -m benchmarks.production documents [--number 1000]   the same for jobs and talents that change
    python -m benchmarks.production filters [--number 5000]     random filters against brute force, documents changing
    python -m benchmarks.production kills [--number 20]         gateways and servers killed while clients write

Starts its own servers; ELASTICSEARCH_TEST_URL names an Elasticsearch that runs already. Needs what `make test` needs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.elasticsearch_server import launcher, running_elasticsearch
from tests.production.exactness import running_writer, try_questions
from tests.production.kills import Victim, gateway, kill_and_count
from tests.production.races import JOBS_OF_TALENT, Tally, event_of, race_events, race_upserts
from tests.production.stack import TALENTS, Client, Replica, http_client, running_stack
from tests.servers import free_port

SIZE = (30, 36)  # talents and jobs under random filters


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"freshness": 2_000, "events": 10_000, "documents": 1_000, "filters": 5_000, "kills": 20}
    parser.add_argument("what", choices=defaults)
    parser.add_argument("--number", type=int, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    number = given.number or defaults[given.what]
    begun, cpu = time.perf_counter(), os.times()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        if given.what == "kills":
            kills(directory, number, given.seed)
        else:
            with elasticsearch() as url:
                if given.what == "filters":
                    filters(directory, url, number)
                else:
                    measure(given.what, directory, url, number, given.seed)
    busy = os.times().children_user + os.times().user - cpu.user - cpu.children_user
    print(f"took {time.perf_counter() - begun:.0f} s, of which {busy:.0f} s of processor, without Elasticsearch")
    return 0


@contextmanager
def elasticsearch() -> Iterator[str]:
    """A server for the length of a block."""
    if given := os.environ.get("ELASTICSEARCH_TEST_URL"):
        yield given
        return
    with running_elasticsearch() as url:
        yield url


def measure(what: str, directory: Path, url: str, number: int, seed: int) -> None:
    """One of the measurements on the market as it is."""
    with running_stack(directory, url) as stack:
        asyncio.run(measured(what, [stack.replica(), stack.replica()], number, seed))


async def measured(what: str, replicas: list[Replica], number: int, seed: int) -> None:
    """See `measure`."""
    async with http_client() as client:
        await race_events(client, replicas, 50, seed=seed + 1_000)  # first calls compile and connect
        match what:
            case "freshness":
                await freshness(client, replicas, number, seed)
            case "events":
                report(await race_events(client, replicas, number, seed=seed))
            case "documents":
                report(await race_upserts(client, replicas, number, seed=seed))


def report(tally: Tally) -> None:
    """Print what became of the races."""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(tally.races.items()))
    print(
        f"{tally.races.total():,} races ({kinds}), {len(tally.delays_ms):,} answers checked, {len(tally.stale)} stale"
    )
    for one in tally.stale[:20]:
        print(f"  {one}")
    print(f"from acknowledgement to an answer that shows it: {quantiles(tally.delays_ms)}")


async def freshness(client: Client, replicas: list[Replica], number: int, seed: int) -> None:
    """An event or a change of a job to one replica, then the talent's list from the other; nothing else goes on."""
    chosen = random.Random(seed)  # noqa: S311
    written_ms: dict[str, list[float]] = {"event": [], "job": []}
    shown_ms: dict[str, list[float]] = {"event": [], "job": []}
    plain_ms, stale = [], 0
    for turn in range(number):
        writer, reader = chosen.sample(replicas, 2)
        talent = f"t{chosen.randint(1, TALENTS)}"
        begun = time.perf_counter()
        before = (await client.data(reader, JOBS_OF_TALENT, {"id": talent}))["subject"]["list"]
        plain_ms.append((time.perf_counter() - begun) * 1_000)
        job, total = before["nodes"][0]["id"], before["totalCount"]
        for what, change, expected in (
            ("event", "DISMISS", total - 1),
            ("event", "UNDISMISS", total),
            ("job", "CLOSED", total - 1),
            ("job", "OPEN", total),
        ):
            begun = time.perf_counter()
            if what == "event":
                await client.record(writer, event_of(f"{seed}-{turn}-{change}", change, talent, job))
            else:
                await client.upsert_jobs(writer, [{"jobId": job, "status": change}])
            acknowledged = time.perf_counter()
            written_ms[what].append((acknowledged - begun) * 1_000)
            while True:
                seen = await client.data(reader, JOBS_OF_TALENT, {"id": talent})
                if seen["subject"]["list"]["totalCount"] == expected:
                    break
                stale += 1
            shown_ms[what].append((time.perf_counter() - acknowledged) * 1_000)
    print(f"{4 * number:,} writes to one replica, the talent's list from the other; {stale} answers without them")
    print(f"recordEvents                                   {quantiles(written_ms['event'])}")
    print(f"from its acknowledgement to the changed list   {quantiles(shown_ms['event'])}")
    print(f"upsertJobs                                     {quantiles(written_ms['job'])}")
    print(f"from its acknowledgement to the changed list   {quantiles(shown_ms['job'])}")
    print(f"the same query with no write before it         {quantiles(plain_ms)}")


def filters(directory: Path, url: str, number: int) -> None:
    """Random filters, on two replicas that are started anew with nothing now and then."""
    with running_stack(directory, url, talents=SIZE[0], jobs=SIZE[1]) as stack:
        replicas = [stack.replica(), stack.replica()]
        with running_writer(stack, *SIZE) as writer:
            done = 0
            while done < number:
                try_questions(stack, replicas, writer, SIZE, batches=25)
                done += 250
                replicas[done // 250 % 2].restart_with_nothing()
                print(f"{done:,} questions of 3 filters each, on two replicas: all exact", flush=True)


def kills(directory: Path, number: int, seed: int) -> None:
    """Victims in random order, each killed and started again on its data while clients write."""
    run, port = launcher(), free_port()

    def start_elasticsearch() -> None:
        # Its data outside of its home, which every start makes anew.
        run.start(port, "512m", run.DEFAULT_DIRECTORY, settings={"path.data": str(directory / "elasticsearch")})

    def kill_elasticsearch() -> None:
        process = int((run.DEFAULT_DIRECTORY / f"node-{port}" / "pid").read_text())
        os.kill(process, signal.SIGKILL)
        run.stop(port, run.DEFAULT_DIRECTORY)  # it is gone, and is to be forgotten

    start_elasticsearch()
    try:
        with running_stack(directory, f"elasticsearch://127.0.0.1:{port}") as stack:
            replicas = [stack.replica(), stack.replica()]
            every = [
                *(gateway(f"gateway {place}", replica) for place, replica in enumerate(replicas)),
                Victim("redis", stack.redis.kill, stack.redis.start),
                Victim("elasticsearch", kill_elasticsearch, start_elasticsearch),
            ]
            chosen = random.Random(seed)  # noqa: S311
            victims = [chosen.choice(every) for _ in range(number)]
            toll = asyncio.run(kill_and_count(stack, replicas, victims, dead_seconds=0.5, seed=seed))
    finally:
        run.stop(port, run.DEFAULT_DIRECTORY)
    print(f"killed: {dict(toll.kills)}")
    print(f"acknowledged: {len(toll.event_ids):,} events, {toll.upserts:,} upserts; refused: {dict(toll.refusals)}")
    print(f"acknowledged by one gateway while the other was dead: {toll.while_other_was_dead:,}")
    print(f"from the victim's start to an answer of both gateways: {quantiles(toll.recovery_ms)}")
    print(f"lost, doubled or wrong in the end: {len(toll.faults)}")
    for fault in toll.faults[:20]:
        print(f"  {fault}")


def quantiles(values_ms: list[float]) -> str:
    """Median, 99th percentile and worst."""
    cuts = statistics.quantiles(values_ms, n=100)
    return f"p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, worst {max(values_ms):.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
