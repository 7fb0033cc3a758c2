"""What the reasons of a page cost: effects (one solve for each acted-on item) beside mere shares (one for each row).

    .venv/bin/python benchmarks/reasons.py --rows 100000

CPU milliseconds for a page of 20 items, by the length of the history, the best of several runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from recommender.effects import effects, neighbour_effects
from recommender.interest import Interest, shares
from recommender.model import Hyperparameters, Neighbours, Side
from recommender.neighbours import neighbour_shares

PAGE = 20
NEIGHBOURS = 100


def main(
    rows: Annotated[int, typer.Option(help="Items of the model.")] = 20_000,
    width: Annotated[int, typer.Option(help="Factors.")] = 64,
    repeats: Annotated[int, typer.Option(help="Runs of each.")] = 15,
) -> None:
    """Print the table."""
    rng = np.random.default_rng(1)
    columns = rng.integers(0, rows, rows * NEIGHBOURS).astype(np.int32)
    near = Neighbours(np.arange(rows + 1) * NEIGHBOURS, columns, rng.random(len(columns)).astype(np.float32))
    factors = (rng.standard_normal((rows, width)) / width).astype(np.float32)
    side = Side(np.arange(1, rows + 1, dtype=np.uint32), factors, np.zeros(rows, np.float32), near)
    hyper = Hyperparameters(factors=width, regularization=1.0, alpha=5.0)
    _ = side.gram
    page = rng.integers(0, rows, PAGE).astype(np.int32)
    of_page = factors[page].astype(np.float64)
    print(f"{rows:,} items, {width} factors, {NEIGHBOURS} neighbours each, a page of {PAGE}; CPU ms")
    print(f"{'history':>8}  {'shares':>8}  {'effects':>8}  {'ratio':>6}")
    for length in (5, 20, 100, 500, 2_000):
        acted = np.sort(rng.choice(rows, length, replace=False)).astype(np.int32)
        interest = Interest(acted, rng.choice([1.0, 3.0, 5.0, -1.0], length), rng.standard_normal(width))

        def by_share(interest: Interest = interest) -> None:
            shares(interest, side, hyper, of_page) + neighbour_shares(interest, side, 2.0, page)

        def by_effect(interest: Interest = interest) -> None:
            near = neighbour_effects(interest, neighbour_shares(interest, side, 2.0, page))
            effects(interest, side, hyper, of_page) + near

        with threadpool_limits(limits=1, user_api="blas"):
            mere, exact = best_ms(by_share, repeats), best_ms(by_effect, repeats)
        print(f"{length:>8,}  {mere:>8.2f}  {exact:>8.2f}  {exact / mere:>6.2f}")


def best_ms(work: Callable[[], None], repeats: int) -> float:
    """CPU time of the quickest run."""
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken) * 1_000


if __name__ == "__main__":
    typer.run(main)
