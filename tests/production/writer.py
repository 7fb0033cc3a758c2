"""A second process that changes documents: `python -m tests.production.writer URL NAMESPACE TALENTS JOBS`.

For each line `<seed> <changes>` on stdin it writes that many random changes, in calls of a few, and answers `done`.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from decimal import Decimal
from typing import Any

from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from recommender.documents import Budget, BudgetType, JobStatus, Kind, Level, Money, Patch
from tests import brute_force as vocabulary
from tests.factories import DAY_MS

TOGETHER = 5  # patches of one call


def fields_of(kind: Kind, chosen: random.Random, now_ms: int) -> dict[str, Any]:
    """Every field of a document, at random. No moment is near now: the clock goes on while answers are compared."""

    def words(most: int) -> str | None:
        return " ".join(chosen.sample(vocabulary.WORDS, chosen.randint(1, most))) if chosen.random() < 0.8 else None

    def maybe(values: list[Any]) -> Any:
        return chosen.choice([None, *values])

    fields: dict[str, Any] = {
        "title": words(3),
        "description": words(4),
        "skills": tuple(chosen.sample(vocabulary.SKILLS, chosen.randint(0, 4))),
        "category": maybe(vocabulary.CATEGORIES),
        "country": maybe(vocabulary.COUNTRIES),
        "level": maybe(list(Level)),
        "attributes": {"size": maybe(vocabulary.NUMBERS), "team": maybe(vocabulary.CATEGORIES)},
    }
    if kind is Kind.TALENT:
        rate = Money(Decimal(chosen.choice(vocabulary.AMOUNTS)), chosen.choice(vocabulary.CURRENCIES))
        created = now_ms - chosen.choice([1, 30, 300]) * DAY_MS
        return fields | {
            "hourly_rate": maybe([rate, rate]),
            "is_available": chosen.random() < 0.7,
            "created_at_ms": created,
        }
    low, high = sorted(chosen.sample(vocabulary.AMOUNTS, 2))
    bounds = chosen.choice([(low, high), (None, high), (low, None)])
    budget = Budget(
        chosen.choice(list(BudgetType)),
        *(None if bound is None else Decimal(bound) for bound in bounds),
        chosen.choice(vocabulary.CURRENCIES),
    )
    return fields | {
        "client_id": maybe(vocabulary.CLIENTS),
        "is_remote": maybe([True, False]),
        "budget": maybe([budget, budget]),
        "status": chosen.choice([JobStatus.OPEN] * 6 + list(JobStatus)),
        "posted_at_ms": maybe([now_ms - DAY_MS // 2, now_ms - 3 * DAY_MS, now_ms - 20 * DAY_MS]),
        "expires_at_ms": maybe([now_ms - DAY_MS, now_ms + DAY_MS, now_ms + 9 * DAY_MS]),
    }


async def change(
    catalogue: ElasticsearchCatalogue, chosen: random.Random, talents: int, jobs: int, changes: int
) -> None:
    """Random changes of the market's documents, some of them deletions that the next change lifts again."""
    for _ in range(changes):
        kind, size = chosen.choice([(Kind.TALENT, talents), (Kind.JOB, jobs), (Kind.JOB, jobs)])
        names = [f"{kind.value[0]}{number}" for number in chosen.sample(range(1, size + 1), TOGETHER)]
        now_ms = time.time_ns() // 1_000_000
        patches = [Patch(name, fields_of(kind, chosen, now_ms), updated_at_ms=now_ms + 1) for name in names]
        await catalogue.upsert(kind, patches)
        if kind is Kind.JOB and chosen.random() < 0.2:
            await catalogue.delete(kind, names[0], at_ms=now_ms)


async def main(url: str, namespace: str, talents: int, jobs: int) -> None:
    catalogue = ElasticsearchCatalogue.open(url, namespace=namespace, timeout_ms=10_000)
    while line := await asyncio.to_thread(sys.stdin.readline):
        seed, changes = line.split()
        await change(catalogue, random.Random(seed), talents, jobs, int(changes))
        print("done", flush=True)  # noqa: T201 - who asked waits for it
    catalogue.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
