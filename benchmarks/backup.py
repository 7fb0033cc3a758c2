"""Whether a restored system answers the same: lists of sampled talents and jobs before a backup and after a restore.

    .venv/bin/python -m benchmarks.backup DATA [--requests 1000] [--seed 7]

DATA: a directory that `tandem demo --no-serve` has built. The backup is made of it while it is left as it is, and put
back into a directory of its own, which is removed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.backup import back_up, restore
from gateway.cli.serve import build_services
from gateway.settings import Settings
from gateway.wiring import open_stores
from recommender.documents import Kind
from recommender.filters import JobFilter, TalentFilter
from recommender.query import ListQuery, Mode, RankedPage

FILTERS = {Kind.TALENT: JobFilter(), Kind.JOB: TalentFilter()}


async def answers(settings: Settings, requests: int, seed: int) -> list[Any]:
    """A page of each sampled list: its total, ids, ranks and scores to the last bit."""
    stores = open_stores(settings, must_exist=True)
    try:
        recommender = build_services(stores).recommender
        recommender.refresh_model()
        dice, queries = random.Random(seed), []  # noqa: S311 - a sample
        for number in range(requests):
            kind = list(Kind)[number % 2]
            mirror = await stores.catalogue.mirror(kind)
            (subject,) = mirror.ids_of([dice.choice(list(mirror.eligible(time.time_ns() // 1_000_000)))])
            queries.append(
                ListQuery(mode=Mode.RECOMMENDED, subject_kind=kind, subject_id=subject, filter=FILTERS[kind])
            )
        pages = [page for query in queries for page in await recommender.lists([query], recorded=False)]
    finally:
        stores.close()
    assert all(isinstance(page, RankedPage) for page in pages)
    return [
        (page.total, [(item.id, item.rank, item.score) for item in page.items])
        for page in pages
        if isinstance(page, RankedPage)
    ]


def main() -> None:
    """Compare, and print how long each step took."""
    parser = argparse.ArgumentParser(description="Compare a restored system with the one that was backed up.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    patient: dict[str, Any] = {"deadline_ms": 60_000}
    before = asyncio.run(answers(Settings(data_dir=given.data, **patient), given.requests, given.seed))
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        size = back_up(Settings(data_dir=given.data), Path(folder) / "copy", lambda *_: None, 0)
        copied = time.perf_counter()
        restore(Settings(data_dir=Path(folder) / "data"), Path(folder) / "copy", lambda *_: None)
        restored = time.perf_counter()
        after = asyncio.run(answers(Settings(data_dir=Path(folder) / "data", **patient), given.requests, given.seed))
    rows = sum(len(items) for _, items in before)
    same = sum(one == other for one, other in zip(before, after, strict=True))
    print(f"{size / 1e6:.1f} MB backed up in {copied - begun:.2f} s, restored in {restored - copied:.2f} s")
    print(f"{same} of {len(before)} lists the same ({rows} rows, with totals, ranks and scores)")
    assert same == len(before)


if __name__ == "__main__":
    main()
