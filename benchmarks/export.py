"""Everyone's top 100 at once, as `tandem export` finds it, beside what the processor and the memory allow; run by hand.

    OPENBLAS_NUM_THREADS=1 .venv/bin/python -m benchmarks.export [--talents 20000] [--jobs 50000] [--share 1]
        [--neighbours 0] [--json FILE]

Random factors, 64 wide. share: of the jobs that match. neighbours: sparse values of each talent. One thread; figures
are CPU seconds. Two limits are measured in the same run: `products`, the float32 matrix products alone, in tiles of the
same size, as no exact way does without as many multiplications, and `memory`, a compiled loop that reads the rows as
often as they are read here, once for each 128 talents, and only adds them up.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.retrieval import Names, stream
from recommender.batch import BLOCK
from recommender.model import Side
from recommender.retrieval import best, best_of_each
from recommender.scoring import Dense, Sparse, Terms
from recommender.shared_pass import TILE

K, WIDTH, CHECKED = 100, 64, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talents", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--neighbours", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    jobs = Side(
        np.arange(1, given.jobs + 1, dtype=np.uint32),
        rng.standard_normal((given.jobs, WIDTH), dtype=np.float32),
        np.zeros(given.jobs, np.float32),
    )
    talents = rng.standard_normal((given.talents, WIDTH))
    candidates = jobs.ordinals[rng.random(given.jobs) < given.share]
    _ = (jobs.coarse, jobs.longest, jobs.row_of)

    def lists(start: int) -> list[tuple[Terms, int]]:
        found = []
        for vector in talents[start : start + BLOCK]:
            near = np.unique(rng.integers(1, given.jobs + 1, given.neighbours).astype(np.uint32))
            sparse = (Sparse("neighbours", near, rng.random(len(near))),) if len(near) else ()
            found.append((Terms(jobs, dense=(Dense("interest", vector),), sparse=sparse), K))
        return found

    block = lists(0)
    for (terms, _), one in zip(block[:CHECKED], best_of_each(block, candidates, Names())[:CHECKED], strict=True):
        assert one[0].tolist() == best(terms, candidates, K, Names())[0].tolist()
    ours = 0.0
    for start in range(0, given.talents, BLOCK):
        block = lists(start)
        began = time.process_time()
        best_of_each(block, candidates, Names())
        ours += time.process_time() - began
    rows, out = jobs.factors[candidates - 1], np.empty((TILE, BLOCK), np.float32)
    began = time.process_time()
    for start in range(0, given.talents, BLOCK):
        vectors = np.ascontiguousarray(talents[start : start + BLOCK].T, np.float32)
        for first in range(0, len(rows), TILE):
            tile = rows[first : first + TILE]
            np.matmul(tile, vectors, out=out[: len(tile), : vectors.shape[1]])
    products = time.process_time() - began
    flat = rows.ravel()
    stream(flat)  # compiles it
    began = time.process_time()
    for _ in range(0, given.talents, BLOCK):
        stream(flat)
    memory = time.process_time() - began
    block = lists(0)[:CHECKED]
    began = time.process_time()
    for terms, _ in block:
        best(terms, candidates, K, Names())
    alone = (time.process_time() - began) / CHECKED * given.talents
    pairs = given.talents * len(candidates)
    figures = {
        "pairs": pairs,
        "ours_seconds": ours,
        "products_seconds": products,
        "memory_seconds": memory,
        "one_by_one_seconds": alone,
        "gigabytes": -(-given.talents // BLOCK) * rows.nbytes / 1e9,
    }
    print(f"{given.talents:,} talents, {len(candidates):,} of {given.jobs:,} jobs, {given.neighbours} neighbours")
    print(f"ours {ours:.2f} s, {pairs * WIDTH * 2 / ours / 1e9:.0f} GFLOP/s, {given.talents / ours:,.0f} lists/s")
    print(f"products alone {products:.2f} s: x {ours / products:.2f}; one by one {alone:.1f} s: x {alone / ours:.1f}")
    print(f"memory alone {memory:.2f} s: x {ours / memory:.1f}; {figures['gigabytes'] / memory:.0f} GB/s")
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
