"""Coarse rows: how far they are off is measured and never understated, whatever the rows are like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender import kernels
from recommender.coarse import Coarse, coarse_from_factors, coarse_query, fixed, measured
from recommender.model import Side
from recommender.scoring import Dense, Terms, approximate


def rows_of(seed: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((rng.integers(1, 60), rng.integers(1, 140)))
    if kind == "skewed":
        rows *= 10.0 ** rng.uniform(-44, 36, (len(rows), 1))
    elif kind == "spiked":  # one factor beside which the others vanish
        rows[:, 0] *= 1e6
    elif kind == "zeros":
        rows *= rng.random((len(rows), 1)) < 0.5
    return rows.astype(np.float32)


KINDS = st.sampled_from(["gauss", "skewed", "spiked", "zeros"])


def off_by(rows: np.ndarray, coarse: Coarse, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far each rough product is off, and how far it may be."""
    query = coarse_query(vector, coarse)
    sums = coarse.codes.astype(np.int64) @ query.codes.astype(np.int64)
    assert np.abs(sums).max() < 2**31
    scales = coarse.scales.astype(np.float64)
    rough = scales * (query.step * sums)
    true = (rows.astype(np.longdouble) * vector).sum(axis=1)
    slack = np.abs(rough) * kernels.FLOAT64_SLACK
    return np.abs(rough - true).astype(np.float64), scales * query.coarseness + query.floor + slack


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), KINDS, st.sampled_from([1e-300, 1e-30, 1.0, 1e30]))
def test_no_product_is_further_off_than_its_bound(seed: int, kind: str, size: float) -> None:
    rows = rows_of(seed, kind)
    vector = np.random.default_rng(seed + 1).standard_normal(rows.shape[1]) * size
    off, bound = off_by(rows, measured(rows, *coarse_from_factors(rows)), vector)
    assert np.all(off <= bound)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), KINDS)
def test_rows_times_a_number_are_within_their_bound_too(seed: int, kind: str) -> None:
    rows = rows_of(seed, kind)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    by = np.divide(1.0, norms, out=np.zeros(len(norms)), where=norms > 0)
    vector = np.random.default_rng(seed + 1).standard_normal(rows.shape[1])
    coarse = measured(rows, *coarse_from_factors(rows)).scaled(by, norms)
    off, bound = off_by(rows * by[:, None], coarse, vector)
    assert np.all(off <= bound)


def test_codes_that_are_wrong_widen_the_bound_and_change_no_list() -> None:
    rows = rows_of(7, "gauss")
    codes, scales = coarse_from_factors(rows)
    vector = np.ones(rows.shape[1])
    off, bound = off_by(rows, measured(rows, np.zeros_like(codes), scales), vector)
    assert np.all(off <= bound)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    rows = rows_of(3, "gauss")
    codes, scales = coarse_from_factors(rows)
    rows[-1, -1] = bad
    with pytest.raises(ValueError, match="finite"):
        measured(rows, codes, scales)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 63, 64, 127, 128])
def test_the_compiled_score_is_that_of_numpy_to_the_last_bit(width: int) -> None:
    rng = np.random.default_rng(width)
    factors, vector = rng.standard_normal((50, width)).astype(np.float32), rng.standard_normal(width)
    rows = np.append(rng.integers(0, 50, 200), -1).astype(np.int32)
    found = np.zeros(len(rows))
    kernels.exact_products(rows, fixed(factors), fixed(vector), found)
    assert found.tolist() == [*(factors[rows[:-1]].astype(np.float64) * vector).sum(axis=1).tolist(), 0.0]


@pytest.mark.parametrize("width", [1, 15, 16, 17, 31, 32, 47, 48, 64, 80, 127])  # of 32, of 16 and of single columns
@pytest.mark.parametrize("count", [1, 3, 4, 700])
def test_the_compiled_rough_score_is_that_of_numpy_to_the_last_bit(width: int, count: int) -> None:
    rng = np.random.default_rng(width)
    factors, vector = rng.standard_normal((800, width)).astype(np.float32), rng.standard_normal(width)
    side = Side(np.arange(2, 1602, 2, dtype=np.uint32), factors, np.zeros(800, np.float32))
    ordinals = np.sort(rng.choice(1_700, count, replace=False)).astype(np.uint32)
    values, _errors = approximate(Terms(side, dense=(Dense("d", vector),)), ordinals)
    coarse, query = side.coarse, coarse_query(vector, side.coarse)
    dots = coarse.codes.astype(np.int64) @ query.codes.astype(np.int64)
    rough = np.append(coarse.scales.astype(np.float64) * (query.step * dots), 0.0)
    assert values.tolist() == rough[side.rows(ordinals)].tolist()
