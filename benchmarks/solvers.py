"""Conjugate gradients and Cholesky side by side: what each costs until lists are as good, and the objective they reach.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python -m benchmarks.solvers [--talents 8000] [--jobs 6000]

On the demo market and on a synthetic log whose lengths and popularities follow power laws, learnt from the part before
the cut under the hyper-parameters that the shape of the log suggests. Both solvers start from the same factors. After
each iteration the jobs' factors are taken out, talents are solved exactly against them, and the objective, recall@20
and ndcg@20 of factors alone are measured; the clock is the process's CPU time and stands still meanwhile.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares

from benchmarks.demo_market import END_MS, table_of
from gateway.market.market import generate_market
from gateway.market.spec import MarketSpec
from recommender.als import confidence, fold_in_many, side_of
from recommender.blend import ALONE, FoldedIn
from recommender.evaluation import Trial, build_trial, measure, top_lists
from recommender.events import EventType
from recommender.interactions import UNKNOWN_TIME, EventTable, affinity
from recommender.model import Factors, Hyperparameters
from recommender.recipe import default_recipe, resolve
from recommender.splits import split_events

ITERATIONS = 20
ASKED = 2_000
CLOSE = 0.995  # of the best quality that either reaches: "the same"


@dataclass(frozen=True, slots=True)
class Step:
    """After so many iterations. cpu: seconds; quality: recall@20 + ndcg@20."""

    iteration: int
    cpu: float
    objective: float
    recall: float
    quality: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("talents", 8_000), ("jobs", 6_000), ("each", 12), ("factors", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    logs = {
        "demo market": table_of(generate_market(MarketSpec(end_ms=END_MS))),
        f"power law {given.talents:,} × {given.jobs:,}": power_law(given.talents, given.jobs, given.each),
    }
    for name, table in logs.items():
        split = split_events(table)
        trial = build_trial(split, ASKED)
        matrix = affinity(split.train, None, None)
        hyper = resolve(replace(default_recipe(matrix), factors=given.factors, iterations=ITERATIONS), matrix)
        steps = {solver: walk(matrix, hyper, trial, solver == "cg") for solver in ("cg", "cholesky")}
        show(name, matrix, hyper, steps)


def walk(matrix: sp.csr_matrix, hyper: Hyperparameters, trial: Trial, conjugate_gradients: bool) -> list[Step]:
    """One fit, looked at after each iteration."""
    steps: list[Step] = []
    spent, since = 0.0, time.process_time()
    model = AlternatingLeastSquares(
        factors=hyper.factors,
        regularization=hyper.regularization,
        alpha=1.0,
        iterations=hyper.iterations,
        use_cg=conjugate_gradients,
        random_state=hyper.seed,
        num_threads=1,
    )

    def look(done: int, *_: object) -> None:
        nonlocal spent, since
        spent += time.process_time() - since
        jobs = np.array(model.item_factors, dtype=np.float32)
        talents = fold_in_many(side_of(jobs), matrix, hyper)
        scorer = FoldedIn(matrix, side_of(jobs), hyper).with_popularity(ALONE)
        measured = measure(top_lists(scorer, trial, 20), trial, (20,)).metrics
        recall = measured["recall@20"]
        steps.append(
            Step(done + 1, spent, objective(matrix, hyper, talents, jobs), recall, recall + measured["ndcg@20"])
        )
        since = time.process_time()

    model.fit(confidence(matrix, hyper.alpha), show_progress=False, callback=look)
    return steps


def objective(matrix: sp.csr_matrix, hyper: Hyperparameters, talents: npt.NDArray[np.float64], jobs: Factors) -> float:
    """Σ c (p − x·y)² over all pairs + λ (Σ‖x‖² + Σ‖y‖²); of silent pairs (c = 1, p = 0) by the two Gram matrices."""
    wide = jobs.astype(np.float64)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    scores = np.einsum("ij,ij->i", talents[rows], wide[matrix.indices])
    weights = matrix.data.astype(np.float64)
    errors = (1 + hyper.alpha * np.abs(weights)) * ((weights > 0) - scores) ** 2
    silent = float(np.sum((talents.T @ talents) * (wide.T @ wide)) - np.sum(scores**2))
    return float(errors.sum()) + silent + hyper.regularization * float(np.sum(talents**2) + np.sum(wide**2))


def power_law(talents: int, jobs: int, each: int, seed: int = 0) -> EventTable:
    """Talents of a dozen tastes; lengths and popularities fall off as power laws. No times: split by chance."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.standard_normal((talents, 12)), rng.standard_normal((jobs, 12))
    popular = -0.9 * np.log(rng.permutation(jobs) + 1)
    lengths = np.clip((each / 3 * (rng.pareto(1.5, talents) + 1)).astype(int), 1, jobs // 2)
    pairs = []
    for talent in range(talents):
        wanted = kind @ taste[talent] * 0.45 + popular + rng.gumbel(size=jobs)
        chosen = np.argpartition(-wanted, lengths[talent])[: lengths[talent]]
        pairs.append(np.column_stack([np.full(len(chosen), talent), chosen]))
    rows = np.concatenate(pairs)
    return views(talents, jobs, rows[:, 0], rows[:, 1])


def views(talents: int, jobs: int, talent: npt.NDArray[np.integer], job: npt.NDArray[np.integer]) -> EventTable:
    """A log of those views, in their order and without times."""
    count = len(talent)
    return EventTable(
        tuple(f"t{n}" for n in range(talents)),
        tuple(f"j{n}" for n in range(jobs)),
        talent.astype(np.int32),
        job.astype(np.int32),
        np.full(count, list(EventType).index(EventType.VIEW), np.int8),
        np.zeros(count, np.int8),
        np.full(count, UNKNOWN_TIME),
        np.ones(count),
        np.arange(1, count + 1),
    )


def show(name: str, matrix: sp.csr_matrix, hyper: Hyperparameters, steps: dict[str, list[Step]]) -> None:
    best = max(step.quality for of in steps.values() for step in of)
    print(
        f"{name}: {matrix.nnz:,} pairs, {hyper.factors} factors, regularization {hyper.regularization:.1f}, "
        f"alpha {hyper.alpha:.1f}"
    )
    print(f"  {'':9} {'15 iterations':>40}   {'until 99.5 % of the best':>26}")
    print(f"  {'':9} {'CPU s':>8} {'recall@20':>10} {'quality':>9} {'objective':>10}   {'iterations':>12} {'CPU s':>8}")
    for solver, of in steps.items():
        usual = of[14]
        close = next((step for step in of if step.quality >= CLOSE * best), None)
        until = f"{close.iteration:12} {close.cpu:8.2f}" if close else f"{'never':>12} {'':8}"
        print(
            f"  {solver:9} {usual.cpu:8.2f} {usual.recall:10.4f} {usual.quality:9.4f} {usual.objective:10.0f}   {until}"
        )
    ratio = steps["cholesky"][14].cpu / steps["cg"][14].cpu
    print(f"  Cholesky takes {ratio:.1f} times the CPU of conjugate gradients.", flush=True)


if __name__ == "__main__":
    main()
