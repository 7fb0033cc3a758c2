"""The exact best 500 of a large catalogue under a filter, beside other ways and the limits of the machine, in one run.

    OPENBLAS_NUM_THREADS=1 .venv/bin/python -m benchmarks.retrieval [--sizes 50000,500000,2000000]
        [--shares 1,.1,.01,.001] [--factors gaussian|skewed] [--viewers 32] [--repeats 7] [--json FILE]

Jobs have two tables of 64 float32 factors (the talents' interest and the clients') and a popularity; a query is two
vectors. Each figure is CPU ms for one list: the least of the repeats, in which every way takes its turn; medians are in
the JSON. 2,000,000 jobs take 1.8 GB.

- ours: `retrieval.best` from the bitmap of what matches to the list in order; `each of 32` from one pass for 32 lists.
- NumPy: one matrix of 129 columns, `@` and argpartition; of rows gathered by the same bitmap where not all match.
- implicit: its `topk` over that matrix, or over the gathered rows.
- limits: compiled kernels that only add up. `stream` every float32 of all rows, `gather` those of the rows that match
  by their ids, where ours has them: in both tables; `stream8` and `gather8` the same over the bytes that ours goes by
  first. `nothing`: from the bitmap to a compiled loop that looks at none of it and returns a list of zeros.

`x limit` is ours beside the float32 limit (stream where all match, else gather), `x limit8` beside that of its own
bytes. Every list is compared with a full sort of float64 scores.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numba
import numpy as np
import numpy.typing as npt
from implicit.cpu.topk import topk
from pyroaring import BitMap

from recommender.model import Ordinals, Side, share_rows
from recommender.retrieval import best, best_of_each, ordinals_from_bitmap
from recommender.scoring import Bias, Dense, Terms, score

K, WIDTH = 500, 64


class Names:
    """Ids in the order of the ordinals."""

    def id_order(self, ordinals: Ordinals) -> npt.NDArray[np.uint64]:
        return ordinals.astype(np.uint64)

    def ids_of(self, ordinals: Ordinals) -> list[str]:
        return [f"{ordinal:010}" for ordinal in ordinals.tolist()]


@dataclass(frozen=True, eq=False)
class Market:
    """The tables of jobs, and the same as one matrix with the popularity as its last column."""

    tables: tuple[Side, Side]
    bias: Bias
    matrix: npt.NDArray[np.float32]

    def terms(self, query: npt.NDArray[np.float64]) -> Terms:
        first, second = self.tables
        dense = (Dense("interest", query[:WIDTH]), Dense("mutual", query[WIDTH:], side=second))
        return Terms(first, dense=dense, bias=(self.bias,))


def market(size: int, kind: str) -> Market:
    rng = np.random.default_rng(size)
    matrix = rng.standard_normal((size, 2 * WIDTH + 1), dtype=np.float32)
    if kind == "skewed":  # most rows are short, as in a trained model
        matrix *= rng.lognormal(sigma=1.0, size=(size, 1)).astype(np.float32)
    matrix[:, -1] = rng.random(size) * 0.1
    ordinals = np.arange(1, size + 1, dtype=np.uint32)
    none = np.zeros(size, np.float32)
    tables = tuple(Side(ordinals, np.ascontiguousarray(matrix[:, start : start + WIDTH]), none) for start in (0, WIDTH))
    share_rows(tables)
    for side in tables:
        _ = (side.coarse, side.row_of)
    return Market((tables[0], tables[1]), Bias("popularity", matrix[:, -1].astype(np.float64)), matrix)


@numba.njit(fastmath={"reassoc", "nsz", "contract"})
def stream(values: npt.NDArray[np.float32]) -> float:
    total = np.float32(0)
    for at in range(len(values)):
        total += values[at]
    return total


@numba.njit(fastmath={"reassoc", "nsz", "contract"})
def gather(first, second, bias, rows):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for row in rows:
        for j in range(first.shape[1]):
            total += first[row, j]
        for j in range(second.shape[1]):
            total += second[row, j]
        total += np.float32(bias[row])
    return total


@numba.njit
def nothing(ordinals, k):  # type: ignore[no-untyped-def]
    return np.empty(k, np.uint32), np.empty(k)


@numba.njit
def stream8(codes: npt.NDArray[np.int8]) -> int:
    total = np.int32(0)
    for at in range(len(codes)):
        total = np.int32(total + codes[at])
    return total


@numba.njit
def gather8(first, second, first_scales, second_scales, rows):  # type: ignore[no-untyped-def]
    total, scales = np.int32(0), np.float32(0)
    for row in rows:
        for j in range(first.shape[1]):
            total = np.int32(total + first[row, j])
        for j in range(second.shape[1]):
            total = np.int32(total + second[row, j])
        scales += first_scales[row] + second_scales[row]
    return total + scales


def numpy_scan(matrix: npt.NDArray[np.float32], query: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    scores = matrix @ query
    if len(scores) <= K:
        return np.argsort(-scores)
    found = np.argpartition(-scores, K)[:K]
    return found[np.argsort(-scores[found])]


def check(terms: Terms, candidates: Ordinals, found: Ordinals) -> None:
    scores = score(terms, candidates)
    expected = candidates[np.lexsort((candidates, -scores))[:K]]
    assert found.tolist() == expected.tolist(), "not the list of a full sort"


def measure(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """CPU ms of each way, the least and the median. Rounds are interleaved."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            calls, began = 0, time.process_time()
            while calls == 0 or time.process_time() - began < 0.005:  # the clock has a grain
                way()
                calls += 1
            spent[name].append((time.process_time() - began) / calls * 1e3)
    return {name: {"least": min(some[1:]), "median": median(some[1:])} for name, some in spent.items()}


def cell(
    here: Market, queries: npt.NDArray[np.float64], ordinals: Ordinals, repeats: int
) -> dict[str, dict[str, float]]:
    """What every way takes for the first query's list of those that match; `each of 32` for those of all queries."""
    narrow = queries.astype(np.float32)
    lists = [here.terms(query[:-1]) for query in queries]
    first, second = (side.coarse for side in here.tables)
    factors = [side.factors for side in here.tables]
    rows = (ordinals - 1).astype(np.int32)
    matching, matrix, all_match = BitMap(ordinals), here.matrix, len(ordinals) == len(here.matrix)
    check(lists[0], ordinals, best(lists[0], ordinals_from_bitmap(matching), K, Names())[0])

    def ours() -> None:
        best(lists[0], ordinals_from_bitmap(matching), K, Names())

    def each() -> None:
        candidates = ordinals_from_bitmap(matching)
        best_of_each([(terms, K) for terms in lists], candidates, Names())

    def among() -> npt.NDArray[np.float32]:
        return matrix if all_match else matrix[ordinals_from_bitmap(matching) - 1]

    def by_numpy() -> None:
        numpy_scan(among(), narrow[0])

    def by_implicit() -> None:
        rows_of_filter = among()
        topk(rows_of_filter, narrow[:1], min(K, len(rows_of_filter)), num_threads=1)

    return measure(
        {
            "ours": ours,
            "each": each,
            "NumPy": by_numpy,
            "implicit": by_implicit,
            "stream": lambda: stream(matrix.ravel()),
            "gather": lambda: gather(*factors, here.bias.values, rows),
            "stream8": lambda: (stream8(first.codes.ravel()), stream8(second.codes.ravel())),
            "nothing": lambda: nothing(ordinals_from_bitmap(matching), min(K, len(rows))),
            "gather8": lambda: gather8(first.codes, second.codes, first.scales, second.scales, rows),
        },
        repeats,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="50000,500000,2000000")
    parser.add_argument("--shares", default="1,.1,.01,.001")
    parser.add_argument("--factors", choices=("gaussian", "skewed"), default="gaussian")
    parser.add_argument("--viewers", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    columns = ("ours", "each", "NumPy", "implicit", "stream", "gather", "stream8", "gather8", "nothing")
    print(f"{'jobs':>9} {'match':>6}" + "".join(f"{name:>9}" for name in columns) + "  x limit  x limit8")
    kept = []
    for size in map(int, given.sizes.split(",")):
        here = market(size, given.factors)
        rng = np.random.default_rng(1)
        queries = rng.standard_normal((given.viewers, 2 * WIDTH + 1))
        queries[:, -1] = 1.0
        for share in map(float, given.shares.split(",")):
            ordinals = np.flatnonzero(rng.random(size) < share).astype(np.uint32) + 1
            found = cell(here, queries, ordinals, given.repeats)
            found["each"] = {name: value / given.viewers for name, value in found["each"].items()}
            least = {name: values["least"] for name, values in found.items()}
            limit, limit8 = ("stream", "stream8") if share >= 1 else ("gather", "gather8")
            print(
                f"{size:>9,} {share:>6.1%}"
                + "".join(f"{least[name]:9.3f}" for name in columns)
                + f"{least['ours'] / least[limit]:9.2f}{least['ours'] / least[limit8]:10.2f}",
                flush=True,
            )
            kept.append({"jobs": size, "share": share, "factors": given.factors, "cpu_ms": found})
    if given.json is not None:
        given.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
