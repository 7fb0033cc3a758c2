"""What a training costs: solvers side by side, and a start from an earlier model beside one from chance.

    OPENBLAS_NUM_THREADS=1 .venv/bin/python -m benchmarks.training [solvers|warm] [--events 5000000] [--talents 100000]
        [--jobs 50000] [--factors 64] [--iterations 3] [--json FILE] [--irspack PYTHON]

solvers: CPU seconds per iteration, the process's peak memory and the objective after some iterations from the same
initial factors, each in a process of its own, all on the same synthetic log. --irspack names the interpreter of a
virtual environment that has irspack, which is no dependency; it starts from factors of its own.
warm: the demo market's events before the cut; a model of the first 95 % of them is the start for all of them. After
each number of iterations the objective and NDCG@20 of factors alone on what came after the cut.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

SOLVERS = ("tandem", "implicit", "cholesky", "irspack")
REGULARIZATION, ALPHA = 10.0, 10.0


def log_of(talents: int, jobs: int, events: int) -> sp.csr_matrix:
    """Confidences of a log whose lengths and popularities fall off as power laws."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(rng.pareto(1.5, talents) + 0.3, 60).cumsum()
    popular = ((np.arange(jobs) + 20.0) ** -0.8).cumsum()
    rows = np.searchsorted(lengths, rng.random(events) * lengths[-1]).astype(np.int32)
    columns = np.searchsorted(popular, rng.random(events) * popular[-1]).astype(np.int32)
    matrix = sp.csr_matrix((np.ones(events, np.float32), (rows, columns)), shape=(talents, jobs))
    matrix.data = 1 + np.float32(ALPHA) * matrix.data
    return matrix


def objective(matrix: sp.csr_matrix, talents: npt.NDArray[np.float32], jobs: npt.NDArray[np.float32]) -> float:
    """Σ c (1 − x·y)² + Σ over silent pairs (x·y)² + λ (Σ‖x‖² + Σ‖y‖²), for confidences above 0."""
    rows, total = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), 0.0
    for start in range(0, matrix.nnz, 100_000):
        part = slice(start, start + 100_000)
        scores = np.einsum("ij,ij->i", talents[rows[part]], jobs[matrix.indices[part]], dtype=np.float64)
        total += float((matrix.data[part] * (1 - scores) ** 2 - scores**2).sum())
    grams = [gram(of) for of in (talents, jobs)]
    return total + float((grams[0] * grams[1]).sum()) + REGULARIZATION * float(np.trace(grams[0]) + np.trace(grams[1]))


def gram(factors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """FᵀF."""
    total = np.zeros((factors.shape[1], factors.shape[1]))
    for start in range(0, len(factors), 10_000):
        block = factors[start : start + 10_000].astype(np.float64)
        total += block.T @ block
    return total


def measured(solver: str, given: argparse.Namespace) -> dict[str, float]:
    """One solver, in this process."""
    matrix = log_of(given.talents, given.jobs, given.events)
    rng = np.random.default_rng(1)
    talents, jobs = (rng.random((of, given.factors), dtype=np.float32) * 0.01 for of in (given.talents, given.jobs))
    if solver == "tandem":
        from recommender.compiled import one_blas_thread
        from recommender.conjugate_gradients import alternate

        with one_blas_thread():
            alternate(matrix[:10], talents[:10].copy(), jobs.copy(), REGULARIZATION, 1)  # compiles, or reads what was
            cpu, wall = time.process_time(), time.perf_counter()
            alternate(matrix, talents, jobs, REGULARIZATION, given.iterations)
    elif solver == "irspack":
        from irspack import IALSRecommender

        learner = IALSRecommender(
            (matrix > 0).astype(np.float64),
            n_components=given.factors,
            alpha0=1.0,
            reg=REGULARIZATION,
            train_epochs=given.iterations,
            max_cg_steps=3,
            n_threads=2,
        )
        cpu, wall = time.process_time(), time.perf_counter()
        learner.learn()
    else:
        from implicit.cpu.als import AlternatingLeastSquares

        learner = AlternatingLeastSquares(
            factors=given.factors,
            regularization=REGULARIZATION,
            alpha=1.0,
            iterations=given.iterations,
            use_cg=solver == "implicit",
        )
        learner.user_factors, learner.item_factors = talents, jobs
        cpu, wall = time.process_time(), time.perf_counter()
        learner.fit(matrix, show_progress=False)
        talents, jobs = learner.user_factors, learner.item_factors
    found = {
        "cpu_seconds": (time.process_time() - cpu) / given.iterations,
        "wall_seconds": (time.perf_counter() - wall) / given.iterations,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    return found if solver == "irspack" else found | {"objective": objective(matrix, talents, jobs)}


def solvers(given: argparse.Namespace) -> dict[str, Any]:
    """Each in a process of its own."""
    found: dict[str, Any] = {}
    for solver in SOLVERS:
        python = given.irspack if solver == "irspack" else sys.executable
        if python is None:
            continue
        sizes = [f"--{name}={getattr(given, name)}" for name in ("talents", "jobs", "events", "factors", "iterations")]
        command = [python, str(Path(__file__)), "one", f"--solver={solver}", *sizes]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - itself
        found[solver] = json.loads(done.stdout.splitlines()[-1])
    print(f"{'solver':10} {'CPU s':>8} {'ratio':>6} {'wall s':>8} {'MB':>6} {'objective':>14}   per iteration")
    for solver, of in found.items():
        ratio = of["cpu_seconds"] / found["tandem"]["cpu_seconds"]
        print(
            f"{solver:10} {of['cpu_seconds']:8.2f} {ratio:6.2f} {of['wall_seconds']:8.2f} {of['megabytes']:6.0f} "
            f"{of.get('objective', float('nan')):14,.0f}"
        )
    return found


def warm(_: argparse.Namespace) -> list[dict[str, float]]:
    """A start from an earlier fit beside one from chance."""
    from dataclasses import replace

    from benchmarks.demo_market import END_MS, table_of
    from gateway.market.market import generate_market
    from gateway.market.spec import MarketSpec
    from recommender.als import WARM_SHARE, Start, fit, side_of
    from recommender.blend import ALONE, FoldedIn
    from recommender.evaluation import build_trial, measure, top_lists
    from recommender.interactions import affinity
    from recommender.recipe import default_recipe, resolve
    from recommender.splits import split_events

    split = split_events(table_of(generate_market(MarketSpec(end_ms=END_MS))))
    trial = build_trial(split)
    recipe = replace(default_recipe(affinity(split.train, None, None)), half_life_days=30.0)
    before = split_events(split.train, 1 / 20).train
    matrix = affinity(split.train, recipe.half_life_days, split.train.newest_ms)
    old = affinity(before, recipe.half_life_days, before.newest_ms)
    hyper = resolve(recipe, matrix)
    earlier = fit(old, resolve(recipe, old))
    start = Start(*earlier, np.diff(old.indptr) > 0, np.bincount(old.indices, minlength=old.shape[1]) > 0)
    found = []
    print(f"{'iterations':>10} {'cold loss':>12} {'warm loss':>12} {'cold NDCG@20':>13} {'warm NDCG@20':>13}")
    for iterations in (1, 2, 3, 5, 10, 15, 30):
        row: dict[str, float] = {"iterations": iterations}
        for name, of in (("cold", None), ("warm", start)):
            steps = iterations * (WARM_SHARE if of is not None else 1)
            talents, jobs = fit(matrix, replace(hyper, iterations=steps), None, of)
            scorer = FoldedIn(matrix, side_of(jobs), hyper).with_popularity(ALONE)
            weighed = 1 + hyper.alpha * matrix.data.astype(np.float64)
            rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
            scores = np.einsum("ij,ij->i", talents[rows], jobs[matrix.indices], dtype=np.float64)
            wanted = matrix.data > 0
            weighed[~wanted] = 1 + hyper.alpha * np.abs(matrix.data[~wanted])
            silent = float(((talents.T @ talents) * (jobs.T @ jobs)).sum() - (scores**2).sum())
            row[f"{name}_loss"] = (
                float((weighed * (wanted - scores) ** 2).sum())
                + silent
                + hyper.regularization * float((talents**2).sum() + (jobs**2).sum())
            )
            row[f"{name}_ndcg"] = measure(top_lists(scorer, trial, 20), trial, (20,)).metrics["ndcg@20"]
        print(
            f"{iterations:10} {row['cold_loss']:12,.0f} {row['warm_loss']:12,.0f} {row['cold_ndcg']:13.4f} "
            f"{row['warm_ndcg']:13.4f}",
            flush=True,
        )
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("solvers", "warm", "one"))
    sizes = {"talents": 100_000, "jobs": 50_000, "events": 5_000_000, "factors": 64, "iterations": 3}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--irspack")
    parser.add_argument("--solver", choices=SOLVERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part == "one":
        print(json.dumps(measured(given.solver, given)))
        return
    found = {name: part(given) for name, part in (("solvers", solvers), ("warm", warm)) if given.part in (None, name)}
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
