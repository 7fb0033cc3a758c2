"""What the gate of `tandem train` finds and costs: verdicts on models made worse or better on purpose, and CPU seconds.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python -m benchmarks.gate [--talents 35000] [--jobs 156000]

First on a small log: models of unlike recipes beside one of the formula's, asked by the gate ("learnt": learnt again
without those who are asked) and asked what they have learnt themselves ("model"), which is what a gate must not go by.
Then on a large sparse log: an equal model, one with shuffled factors, and one of a log to which noise was added.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.solvers import power_law, views
from recommender.gate import judge
from recommender.interactions import EventTable, affinity
from recommender.model import Model, Ordinals
from recommender.recipe import Recipe, default_recipe
from recommender.training import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("talents", 35_000), ("jobs", 156_000), ("each", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    unlike_recipes(power_law(3_000, 2_000, 12))
    unlike_recipes(power_law(6_000, 5_000, 3))
    large(clustered(given.talents, given.jobs, given.each))


def unlike_recipes(table: EventTable) -> None:
    """Of one log, and nothing but the recipe differs."""
    formula = default_recipe(affinity(table, None, None))
    serving = trained(table, formula)
    print(f"{len(table.talent_ids):,} talents × {len(table.job_ids):,} jobs, {len(table):,} events")
    print(f"  {'':34} {'learnt':>8} {'model':>8} {'difference of learnt, 95 %':>28}")
    for name, recipe in {
        "the formula's, serving": formula,
        "a sixth of the shrinkage": replace(formula, shrinkage=formula.shrinkage / 6),
        "128 factors, a third": replace(formula, factors=128, shrinkage=formula.shrinkage / 3),
        "four times the shrinkage": replace(formula, shrinkage=4 * formula.shrinkage),
        "neighbours at 10": replace(formula, neighbours=10.0),
        "8 factors, next to no shrinkage": replace(formula, factors=8, shrinkage=0.02, neighbours=0.0),
    }.items():
        found = judge(table, serving.manifest, trained(table, recipe), ordinals(table.job_ids), seed=42)
        assert found is not None
        lead = found.leads["learnt"]
        verdict = "refused" if found.refused_for else "published"
        print(
            f"  {name:34} {found.values['learnt']:8.4f} {found.values['model']:8.4f} "
            f"{lead.low:+13.4f} to {lead.high:+.4f}  {verdict}",
            flush=True,
        )


def large(table: EventTable) -> None:
    """What it costs where a job has few talents."""
    formula = default_recipe(affinity(table, None, None))
    began = time.process_time()
    serving = trained(table, formula)
    print(f"{len(table.talent_ids):,} talents × {len(table.job_ids):,} jobs, {len(table):,} events")
    print(f"  one training without any choice: {time.process_time() - began:.1f} s of CPU")
    shuffled = np.random.default_rng(1).permutation(serving.jobs.factors)
    noisy = with_noise(table)
    for name, log, model in (
        ("an equal model", table, serving),
        ("shuffled factors", table, replace(serving, jobs=replace(serving.jobs, factors=shuffled))),
        ("as much noise as there was", noisy, trained(noisy, formula)),
    ):
        cpu, wall = time.process_time(), time.perf_counter()
        found = judge(log, serving.manifest, model, ordinals(log.job_ids), seed=42)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        assert found is not None
        values = ", ".join(f"{part} {value:.4f}" for part, value in found.values.items())
        verdict = "refused" if found.refused_for else "published"
        print(f"  {name}: {verdict}; {values}; {found.asked:,} asked, {cpu:.1f} s of CPU, {wall:.1f} s", flush=True)


def trained(table: EventTable, recipe: Recipe) -> Model:
    """A model of a whole table."""
    return train(
        table,
        recipe,
        talent_ordinals=ordinals(table.talent_ids),
        job_ordinals=ordinals(table.job_ids),
        as_of_ms=None,
        watermark=len(table),
        trained_at_ms=1_760_000_000_000,
        nonce="n",
    )


def ordinals(ids: Sequence[str]) -> Ordinals:
    return np.arange(1, len(ids) + 1, dtype=np.uint32)


def clustered(talents: int, jobs: int, each: int, seed: int = 0) -> EventTable:
    """Four of five events are in a trade of some 300 jobs, the rest anywhere; popular jobs first, as Zipf has it."""
    rng = np.random.default_rng(seed)
    trades = max(jobs // 300, 1)
    lengths = np.maximum(rng.poisson(rng.gamma(0.8, each / 0.8, talents)), 1)
    talent = np.repeat(np.arange(talents), lengths)
    trade = (talent * 7919) % trades
    within = np.minimum(rng.pareto(0.7, len(talent)) * 4, jobs // trades - 1).astype(int)
    job = np.where(rng.random(len(talent)) < 0.8, trade + trades * within, rng.integers(0, jobs, len(talent)))
    return views(talents, jobs, talent, job)


def with_noise(table: EventTable) -> EventTable:
    """As many events again, of pairs drawn by chance."""
    rng = np.random.default_rng(9)
    talents, jobs, count = len(table.talent_ids), len(table.job_ids), len(table)
    return views(
        talents,
        jobs,
        np.concatenate([table.talent, rng.integers(0, talents, count)]),
        np.concatenate([table.job, rng.integers(0, jobs, count)]),
    )


if __name__ == "__main__":
    main()
