"""Races of writes against queries over two replicas: what one acknowledged and a later answer of either does not show.

Of every race the write goes to one replica while queries for what it changes run on both; once it is acknowledged, both
are asked again. An answer to a query that was sent after the acknowledgement must show the write: else it is stale.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.production.stack import JOBS, TALENTS, Client, Replica

JOBS_OF_TALENT = """query($id: ID!) {
  subject: talent(talentId: $id) { list: recommendedJobs(first: 5) { totalCount nodes { id: jobId } } } }"""
TALENTS_OF_JOB = """query($id: ID!) {
  subject: job(jobId: $id) { list: recommendedTalents(first: 5) { totalCount nodes { id: talentId } } } }"""
JOB_EVERYWHERE = """query($talent: ID!, $like: ID!, $job: ID!) {
  talent(talentId: $talent) { recommendedJobs(first: 100) { nodes { jobId }
 } }
  job(jobId: $like) { similarJobs(first: 100) { nodes { jobId } } }
  jobs(first: 100) { nodes { jobId } }
  found: jobs(filter: { ids: [$job] }) { totalCount facets(fields: [CATEGORIES]) { buckets { count } } } }"""
TALENT_EVERYWHERE = """query($talent: ID!, $like: ID!, $job: ID!) {
  job(jobId: $job) { recommendedTalents(first: 100) { nodes { talentId } } }
  talent(talentId: $like) { similarTalents(first: 100) { nodes { talentId } } }
  talents(first: 100, filter: { isAvailable: true }) { nodes { talentId } }
  found: talents(filter: { isAvailable: true, ids: [$talent] }) {
    totalCount facets(fields: [CATEGORIES]) { buckets { count } } } }"""

UNDONE_BY = {"DISMISS": "UNDISMISS", "APPLY": "WITHDRAW"}


@dataclass
class Tally:
    """What became of the races. delays_ms: from each acknowledgement to the end of an answer that shows the write."""

    races: Counter[str] = field(default_factory=Counter)
    stale: list[str] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)

    def quantile_ms(self, share: float) -> float:
        """A quantile of the delays."""
        return sorted(self.delays_ms)[min(len(self.delays_ms) - 1, int(share * len(self.delays_ms)))]


async def _race(
    tally: Tally,
    kind: str,
    replicas: Sequence[Replica],
    *,
    write: Callable[[], Awaitable[str]],
    ask: Callable[[Replica, str | None], Coroutine[Any, Any, dict[str, Any]]],
    wrong: Callable[[dict[str, Any]], list[str]],
    chosen: random.Random,
) -> None:
    """One write against a query on either replica. wrong: what an answer shows that it must not show any more."""

    async def see(replica: Replica, acknowledged: float, token: str | None) -> None:
        looks = 0
        while faults := wrong(await ask(replica, token)):
            looks += 1
            if looks == 1:
                tally.stale.append(f"{kind}: {', '.join(faults)}")
            assert time.perf_counter() - acknowledged < 10, f"{kind} is never shown: {faults}"
        tally.delays_ms.append((time.perf_counter() - acknowledged) * 1_000)

    async with asyncio.TaskGroup() as group:
        group.create_task(ask(chosen.choice(replicas), None))
        await asyncio.sleep(0)  # that query is on its way first
        given = await write()
        acknowledged = time.perf_counter()
        token = given if chosen.random() < 0.5 else None
        for replica in replicas:
            group.create_task(see(replica, acknowledged, token))
    tally.races[kind] += 1


async def race_events(
    client: Client, replicas: Sequence[Replica], races: int, *, workers: int = 8, seed: int = 0
) -> Tally:
    """Dismissals and applications, and what undoes them, against the lists of talent and job and their totals.

    Each worker has talents and jobs of its own, so that it knows what is hidden from whom. Undoes all in the end.
    """
    tally = Tally()
    left = iter(range(races))
    applied = {(f"t{number}", f"j{number * 7 % JOBS + 1}") for number in range(1, TALENTS + 1)}  # before the races

    async def work(number: int) -> None:
        chosen = random.Random(f"{seed}.{number}")
        talents = [f"t{n}" for n in range(1 + number, TALENTS + 1, workers)]
        jobs = [f"j{n}" for n in range(1 + number, JOBS + 1, workers)]
        pairs = [(talent, job) for talent in talents for job in jobs if (talent, job) not in applied]
        hidden: dict[tuple[str, str], str] = {}
        for race in left:
            if len(hidden) == len(pairs) or (hidden and chosen.random() < 0.5):
                talent, job = pair = chosen.choice(list(hidden))
                kind, is_shown = UNDONE_BY[hidden.pop(pair)], True
            else:
                talent, job = pair = chosen.choice([one for one in pairs if one not in hidden])
                kind, is_shown = chosen.choice(list(UNDONE_BY)), False
                hidden[pair] = kind
            every = applied | hidden.keys()
            if chosen.random() < 0.5:
                query, subject, item, total = JOBS_OF_TALENT, talent, job, JOBS - sum(one[0] == talent for one in every)
            else:
                query, subject, item, total = TALENTS_OF_JOB, job, talent, TALENTS - sum(one[1] == job for one in every)
            event = event_of(f"race-{seed}-{number}-{race}", kind, *pair)
            await _race(
                tally,
                kind,
                replicas,
                write=partial(client.record, chosen.choice(replicas), event),
                ask=partial(_asked, client, query, {"id": subject}),
                wrong=partial(_wrong_list, item, is_shown, total),
                chosen=chosen,
            )
        for place, (pair, kind) in enumerate(hidden.items()):
            await client.record(replicas[0], event_of(f"end-{seed}-{number}-{place}", UNDONE_BY[kind], *pair))

    await asyncio.gather(*(work(number) for number in range(workers)))
    return tally


def event_of(event_id: str, kind: str, talent: str, job: str) -> dict[str, Any]:
    """What a talent did, as `recordEvents` takes it."""
    return {"eventId": event_id, "actor": "TALENT", "type": kind, "talentId": talent, "jobId": job}


def _asked(
    client: Client, query: str, variables: Mapping[str, Any], replica: Replica, token: str | None
) -> Coroutine[Any, Any, dict[str, Any]]:
    return client.data(replica, query, variables, token)


def _wrong_list(item: str, is_shown: bool, total: int, answer: Mapping[str, Any]) -> list[str]:
    """What is wrong in a list. Whether an item is back shows in the total: it may stand anywhere."""
    found = answer["subject"]["list"]
    right = {"total": found["totalCount"] == total, "list": is_shown or {"id": item} not in found["nodes"]}
    return [name for name, is_right in right.items() if not is_right]


async def race_upserts(
    client: Client, replicas: Sequence[Replica], races: int, *, workers: int = 4, seed: int = 0
) -> Tally:
    """Jobs closed, opened and posted, talents away and back, against lists, searches, totals and facets.

    Leaves what was there as it was, and what it posted closed.
    """
    tally = Tally()
    left = iter(range(races))

    async def race(kind: str, chosen: random.Random, document_id: str, is_shown: bool) -> None:
        is_job = kind in ("close", "open", "post")
        variables = {
            "talent": "t1" if is_job else document_id,
            "job": document_id if is_job else "j1",
            "like": "j1" if is_job else "t1",  # no race changes the first of each
        }
        query, id_field = (JOB_EVERYWHERE, "jobId") if is_job else (TALENT_EVERYWHERE, "talentId")

        def wrong(answer: Mapping[str, Any]) -> list[str]:
            talent, job = answer["talent"], answer["job"]
            lists = {
                "recommended": talent["recommendedJobs"] if is_job else job["recommendedTalents"],
                "search": answer["jobs" if is_job else "talents"],
            }
            if kind != "post":  # nothing is similar to what no model knows
                lists["similar"] = job["similarJobs"] if is_job else talent["similarTalents"]
            seen = {
                name: any(one[id_field] == document_id for one in found["nodes"]) == is_shown
                for name, found in lists.items()
            }
            found = answer["found"]
            counted = sum(bucket["count"] for facet in found["facets"] for bucket in facet["buckets"])
            seen |= {"total": found["totalCount"] == is_shown, "facet": counted == is_shown}
            return [name for name, right in seen.items() if not right]

        def write() -> Awaitable[str]:
            replica = chosen.choice(replicas)
            if is_job:
                body = {"jobId": document_id, "status": "OPEN" if is_shown else "CLOSED"}
                posted = {"title": "Go project", "category": "Software", "skills": ["Go"]} if kind == "post" else {}
                return client.upsert_jobs(replica, [body | posted])
            return client.upsert_talents(replica, [{"talentId": document_id, "isAvailable": is_shown}])

        ask = partial(_asked, client, query, variables)
        await _race(tally, kind, replicas, write=write, ask=ask, wrong=wrong, chosen=chosen)

    async def work(number: int) -> None:
        chosen = random.Random(f"{seed}.{number}")
        # The first of each is asked for the lists; with whom it is in touch is in none of them.
        jobs = [f"j{n}" for n in range(2 + number, JOBS + 1, workers) if n != 7 % JOBS + 1]
        talents = [f"t{n}" for n in range(2 + number, TALENTS + 1, workers) if n * 7 % JOBS]
        for turn in left:
            match chosen.randrange(4):
                case 0:
                    name = f"posted-{seed}-{turn}"
                    await race("post", chosen, name, True)
                    await race("close", chosen, name, False)
                case 1:
                    name = chosen.choice(talents)
                    await race("away", chosen, name, False)
                    await race("back", chosen, name, True)
                case _:
                    name = chosen.choice(jobs)
                    await race("close", chosen, name, False)
                    await race("open", chosen, name, True)

    await asyncio.gather(*(work(number) for number in range(workers)))
    return tally
