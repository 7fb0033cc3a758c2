"""What each step of steering adds to the first page of a list, beside the same page without it.

    OPENBLAS_NUM_THREADS=1 .venv/bin/python -m benchmarks.steering --jobs 50000

CPU milliseconds of the process for one list, without a cache, over ports in memory: the medians of interleaved passes.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Annotated

import typer

from recommender.documents import Kind
from recommender.events import EventType
from recommender.exposure import Floor
from recommender.fatigue import Fatigue
from recommender.filters import JobFilter, TalentFilter, TermFilter
from recommender.query import ListQuery, Mode
from recommender.rules import Rule, RuleKind
from recommender.steering import Steering
from tests.factories import DAY_MS, NOW_MS, event, job, talent
from tests.recommender.fakes import World, model

RULES = 20
IMPRESSIONS = 500


def steerings(jobs: int) -> dict[str, Steering]:
    """What is compared."""
    excluding = tuple(
        Rule(name=f"out {n}", kind=RuleKind.EXCLUDE, items=JobFilter(skills=TermFilter(all=(f"s{n}",))))
        for n in range(RULES)
    )
    others = tuple(
        Rule(name=f"pin {n}", kind=RuleKind.PIN, items=JobFilter(ids=(f"j{n + 1}",)), position=n + 1) for n in range(5)
    ) + tuple(
        Rule(
            name=f"up {n}",
            kind=RuleKind.BOOST,
            items=JobFilter(client_ids=(f"c{n}",)),
            subjects=TalentFilter(skills=TermFilter(all=("t1",))),
            factor=1.5,
        )
        for n in range(RULES)
    )
    fatigue, floor = Fatigue(0.8, 7), Floor(0.2, 7)
    return {
        "nothing": Steering(),
        f"{RULES} rules that exclude": Steering(rules=excluding),
        f"5 pins and {RULES} boosts": Steering(rules=others),
        "at most 2 of a client": Steering(max_per_client=2),
        f"fatigue, {IMPRESSIONS} impressions": Steering(fatigue=fatigue),
        "a floor of 20 %": Steering(new_jobs=floor),
        "all of it": Steering(rules=excluding + others, max_per_client=2, fatigue=fatigue, new_jobs=floor),
    }


def main(
    jobs: Annotated[int, typer.Option(help="Open jobs.")] = 10_000,
    passes: Annotated[int, typer.Option(help="Lists of each kind.")] = 15,
) -> None:
    """Print the table."""
    documents = [
        job(
            n,
            skills=(f"s{n % 400}", f"t{n % 7}"),
            client_id=f"c{n % 300}",
            posted_at_ms=NOW_MS - (n * 7919 % 90) * DAY_MS,
        )
        for n in range(1, jobs + 1)
    ]
    history = [event(EventType.SAVE, "t1", f"j{n * 37 + 1}") for n in range(30)]
    history += [event(EventType.IMPRESSION, "t1", f"j{n % jobs + 1}", event_id=str(n)) for n in range(IMPRESSIONS)]
    world = World([talent(1, skills=("t1",)), *documents], history, model(jobs=jobs, width=64))
    query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id="t1", filter=JobFilter())
    made = {}
    for name, steering in steerings(jobs).items():
        world.steering = steering
        made[name] = world.replica()
    taken: dict[str, list[float]] = {name: [] for name in made}

    async def run() -> None:
        for _ in range(passes):
            for name, recommender in made.items():
                world.now_ms += 1  # a list of its own
                began = time.process_time()
                await recommender.lists([query])
                taken[name].append(time.process_time() - began)

    asyncio.run(run())
    bare = median(taken["nothing"])
    print(f"{jobs:,} open jobs, 64 factors, 30 events; CPU ms of the first page")
    for name, seconds in taken.items():
        print(f"{name:<28}  {median(seconds) * 1_000:>7.2f}  {median(seconds) / bare:>5.2f}")


if __name__ == "__main__":
    typer.run(main)
