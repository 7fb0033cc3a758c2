"""A second process that changes jobs: `python -m tests.elasticsearch_writer URL NAMESPACE SEED ROUNDS`."""

from __future__ import annotations

import asyncio
import random
import sys

from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from recommender.documents import JobStatus, Kind, Patch
from tests.gateway.served_market import CATEGORIES, COUNTRIES, JOBS, SKILLS


async def main(url: str, namespace: str, seed: int, rounds: int) -> None:
    """Close, reopen, move, delete and create jobs at random, a few at a time."""
    chosen = random.Random(seed)
    catalogue = ElasticsearchCatalogue.open(url, namespace=namespace, timeout_ms=10_000)
    for turn in range(rounds):
        patches = []
        for number in chosen.sample(range(1, JOBS + 1), 3):
            fields = {
                "status": chosen.choice([JobStatus.OPEN, JobStatus.OPEN, JobStatus.CLOSED]),
                "category": chosen.choice(CATEGORIES),
                "country": chosen.choice(COUNTRIES),
                "title": f"{chosen.choice(SKILLS)} work",
                "attributes": {f"writer{seed}": str(turn)},
            }
            patches.append(Patch(f"j{number}", fields))
        patches.append(Patch(f"new-{seed}-{turn}", {"title": "Go work", "category": "Design"}))
        await catalogue.upsert(Kind.JOB, patches)
        if turn % 5 == 4:
            await catalogue.delete(Kind.JOB, f"new-{seed}-{turn - 2}")
    catalogue.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
