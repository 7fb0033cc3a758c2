from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender import sparse_rows
from recommender.compiled import parts_of, spread
from recommender.sparse_rows import largest_products


def positive(rows: int, columns: int, density: float, seed: int) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 5, (rows, columns)) / 4  # of which many sums tie
    return sp.csr_matrix((values * (rng.random((rows, columns)) < density)).astype(np.float32))


@settings(deadline=None)  # the first call may compile
@given(st.integers(0, 40), st.integers(1, 2500), st.sampled_from([0.001, 0.05, 0.6]), st.integers(1, 30))
def test_each_row_keeps_its_largest_and_of_those_that_tie_the_first(
    rows: int, columns: int, density: float, most: int
) -> None:
    left, right = positive(rows, 8, 0.5, 1), positive(8, columns, density, 2)
    without = np.arange(rows) % (columns + 1) - 1
    of_row, of_column = np.arange(1.0, rows + 1), 1.0 + np.arange(columns) % 3
    asked = [(of_row, of_column, 0.5), (np.zeros(rows), np.zeros(columns), 1.0)]
    product = (left @ right).toarray()
    product[without >= 0, without[without >= 0]] = 0
    for found, (by_row, by_column, more) in zip(
        largest_products(left, right, most, without, asked), asked, strict=True
    ):
        values = (product / (by_row[:, None] * by_column + more)).astype(np.float32)
        best = np.argsort(-values, axis=1, kind="stable")[:, :most]
        expected = np.zeros_like(values)
        np.put_along_axis(expected, best, np.take_along_axis(values, best, axis=1), axis=1)
        assert np.array_equal(found.toarray(), expected)


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = positive(300, 40, 0.3, 3), positive(40, 500, 0.3, 4)
    (alone,) = largest_products(left, right, 20, np.full(300, -1))
    monkeypatch.setattr(sparse_rows, "FEW_CELLS", 0)
    monkeypatch.setattr(sparse_rows, "CORES", 3)
    (together,) = largest_products(left, right, 20, np.full(300, -1))
    assert (alone != together).nnz == 0


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 10))
def test_parts_are_consecutive_and_none_is_empty(work: list[int], most: int) -> None:
    parts = parts_of(np.array(work, dtype=np.int64), most)
    assert [row for first, end in parts for row in range(first, end)] == list(range(len(work)))
    assert all(first < end for first, end in parts)
    assert len(parts) <= most


def test_what_goes_wrong_in_a_part_is_raised() -> None:
    def loop(first: int, end: int) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        spread(loop, [(0, 1), (1, 2)], 2)


def test_loops_run_where_no_cache_can_be_written(tmp_path: Path) -> None:
    script = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "from recommender.compiled import compiled\n"
        "print(compiled()(lambda x: x + 1)(2))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout == "3\n"
