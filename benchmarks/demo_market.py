"""What the demo market is like, in the figures of docs/demo-market.md and its decision record; run by hand.

    python benchmarks/demo_market.py [--talents 5000] [--jobs 3000] [--events 250000] [--seed 7]

First its shape, then the spectrum of its taste over every talent and as many jobs, then who finds what talents did in
the newest fifth of the log: the methods of `tandem evaluate`, popularity within the talent's own trade, and the hidden
taste itself, among all jobs known at the cut and among those of them that were open.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gateway.market.documents import event_rows, job_id, talent_id
from gateway.market.ledger import CODE, SIDE_CODE
from gateway.market.market import STATUSES, Market, generate_market
from gateway.market.spec import DAY_MS, MarketSpec
from gateway.market.taste import Taste
from recommender.choice import choose_recipe
from recommender.documents import Side
from recommender.evaluation import build_trial, measure, top_lists
from recommender.events import Event, EventType
from recommender.interactions import EventTable, EventTableBuilder
from recommender.metrics import gini
from recommender.splits import Split, split_events
from recommender.training import contenders

END_MS = 1_760_000_000_000
RECENT_DAYS = 7  # of views that make a job popular
Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("talents", "jobs", "events", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(MarketSpec(end_ms=END_MS), name))
    begun = time.process_time()
    market = generate_market(MarketSpec(end_ms=END_MS, **vars(parser.parse_args())))
    print(f"generated in {time.process_time() - begun:.1f} s of CPU")
    print_shape(market)
    print_spectrum(market)
    print_recall(market)


def print_shape(market: Market) -> None:
    events, spec = market.events, market.spec
    share = {kind: (events.type == CODE[kind]).mean() for kind in EventType}
    print("events: " + ", ".join(f"{kind.value} {part:.1%}" for kind, part in share.items()))
    print(
        "jobs: "
        + ", ".join(f"{status.value} {(market.status == place).sum()}" for place, status in enumerate(STATUSES))
    )
    views = events.take((events.type == CODE[EventType.VIEW]) & (events.actor == SIDE_CODE[Side.TALENT]))
    per_job = np.sort(np.bincount(views.job, minlength=spec.jobs))[::-1]
    top_fifth = per_job[: spec.jobs // 5].sum() / len(views)
    repeats = 1 - len(np.unique(views.talent.astype(np.int64) << 32 | views.job)) / len(views)
    idle = 1 - len(np.unique(views.talent)) / spec.talents
    print(
        f"views: Gini over jobs {gini(per_job):.2f}, the top fifth has {top_fifth:.0%}, repeats {repeats:.0%}, "
        f"none of {idle:.0%} of talents and {(per_job == 0).mean():.0%} of jobs"
    )


def print_spectrum(market: Market, most: int = 3_000) -> None:
    """How much of the variance of taste no factorisation of a rank can hold, main effects removed."""
    rng = np.random.default_rng(0)
    size = min(most, market.spec.talents, market.spec.jobs)
    talents, jobs = (
        np.sort(rng.choice(count, size, replace=False)).astype(np.int32)
        for count in (market.spec.talents, market.spec.jobs)
    )
    liking = taste_of(market, talents, jobs)
    liking -= liking.mean(axis=0) + liking.mean(axis=1)[:, None] - liking.mean()
    strength = np.linalg.svd(liking, compute_uv=False) ** 2
    beyond = ", ".join(f"{strength[rank:].sum() / strength.sum():.1%} beyond {rank}" for rank in (16, 64, 128))
    print(f"variance of taste over {size} × {size}: {beyond} singular values")


def taste_of(market: Market, talents: Rows, jobs: Rows) -> Floats:
    """talents × jobs, in logits."""
    taste = Taste(market.people, market.postings, market.clients)
    return np.stack([taste.talent_likes(np.full(len(jobs), talent, np.int32), jobs) for talent in talents])


def print_recall(market: Market) -> None:
    table = table_of(market)
    split = split_events(table, seed=42)
    trial = build_trial(split, seed=42)
    jobs = np.array([int(name.rpartition("-")[2]) - 1 for name in table.job_ids], dtype=np.int32)
    talents = np.array([int(name.rpartition("-")[2]) - 1 for name in table.talent_ids], dtype=np.int32)
    assert split.cut_ms is not None
    assert job_id(int(jobs[0])) == table.job_ids[0]
    assert talent_id(int(talents[0])) == table.talent_ids[0]
    was_open = (market.ended_ms[jobs] > split.cut_ms) & (market.postings.posted_ms[jobs] <= split.cut_ms)
    algorithms = contenders(split, choose_recipe(split.train, seed=42), seed=42) | {
        "popularity within the trade": lambda: ByPair(popularity_within_trade(market, split, talents, jobs)),
        "the hidden taste": lambda: ByPair(lambda rows: taste_of(market, talents[rows], jobs)),
    }
    print(f"recall@20 of {len(trial.talents)} talents: among {trial.candidates.sum()} jobs, "
          f"among the {(trial.candidates & was_open).sum()} open ones")  # fmt: skip
    for name, build in algorithms.items():
        scorer = build()
        found = [
            measure(top_lists(scorer, replace(trial, candidates=among), 20), trial, [20]).metrics["recall@20"]
            for among in (trial.candidates, trial.candidates & was_open)
        ]
        print(f"  {name:28} {found[0]:.3f} {found[1]:.3f}")


class ByPair:
    """Scores of a function from rows of talents to talents × jobs."""

    def __init__(self, scores: Callable[[npt.NDArray[np.intp]], Floats]) -> None:
        self._scores = scores

    def scores(self, talents: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        return self._scores(talents).astype(np.float32)


def popularity_within_trade(
    market: Market, split: Split, talents: Rows, jobs: Rows
) -> Callable[[npt.NDArray[np.intp]], Floats]:
    """Events of the last days before the cut, of jobs in the talent's own category first."""
    assert split.cut_ms is not None
    recent = split.train.at_ms > split.cut_ms - RECENT_DAYS * DAY_MS
    popular = np.log1p(np.bincount(split.train.job[recent], minlength=len(jobs)))
    category = market.trades.category
    of_job = category[market.postings.occupation[jobs]]
    of_talent = category[market.people.occupation[talents]]
    return lambda rows: popular[None, :] + 100.0 * (of_talent[rows][:, None] == of_job[None, :])


def table_of(market: Market) -> EventTable:
    builder = EventTableBuilder()
    for rows in event_rows(market):
        builder.add(
            [
                Event(
                    event_id=row["event_id"],
                    actor=Side(row["actor"]),
                    type=EventType(row["type"]),
                    talent_id=row["talent_id"],
                    job_id=row["job_id"],
                    occurred_at_ms=round(row["occurred_at"].timestamp() * 1000),
                )
                for row in rows
            ]
        )
    return builder.build()


if __name__ == "__main__":
    main()
