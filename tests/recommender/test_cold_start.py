"""Rows for what nobody acted on yet: what it is like lends it factors and neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.cold_start import ALIKE, alike, content_rows, lent_factors, places_in, widened
from recommender.features import DescribedItems, FeatureSpace
from recommender.model import Neighbours, Side


def rows(count: int, seed: int, features: int = 12) -> sp.csr_matrix:
    values = np.random.default_rng(seed).random((count, features)) ** 4
    values[values < 0.05] = 0
    values[-1] = 0  # one says nothing
    return sp.csr_matrix((values / np.maximum(np.linalg.norm(values, axis=1), 1e-9)[:, None]).astype(np.float32))


def learnt_side(count: int = 80) -> Side:
    rng = np.random.default_rng(1)
    neighbours = Neighbours(
        np.arange(count + 1, dtype=np.int64),
        ((np.arange(count) + 1) % count).astype(np.int32),
        rng.random(count).astype(np.float32) + 0.1,
    )
    return Side(
        np.arange(2, 2 * count + 2, 2, dtype=np.uint32),
        rng.normal(size=(count, 4)).astype(np.float32),
        rng.random(count).astype(np.float32),
        neighbours,
    )


def items_of(side: Side, cold: int) -> DescribedItems:
    """Every item of the side but the first, and `cold` others between and behind them."""
    ordinals = np.sort(np.concatenate([side.ordinals[1:], np.arange(101, 101 + 2 * cold, 2, dtype=np.uint32)]))
    space = FeatureSpace([str(place) for place in range(12)], np.ones(12, np.float32))
    return DescribedItems(ordinals, space, rows(len(ordinals), 5))


def dense(neighbours: Neighbours, count: int) -> np.ndarray:
    return sp.csr_matrix((neighbours.strengths, neighbours.columns, neighbours.starts), shape=(count, count)).toarray()


@settings(deadline=None)  # the first call may compile
@given(st.integers(1, 200), st.integers(1, 60))
def test_alike_are_the_largest_cosines_above_0_without_the_item_itself(known: int, targets: int) -> None:
    known_rows, target_rows = rows(known, 1), rows(targets, 2)
    itself = np.arange(targets) % (known + 1) - 1
    found = alike(target_rows, known_rows.T.tocsr(), itself).toarray()
    cosines = (target_rows @ known_rows.T).toarray()
    cosines[itself >= 0, itself[itself >= 0]] = 0
    for row, expected in zip(found, cosines, strict=True):
        assert np.count_nonzero(row) == min(ALIKE, np.count_nonzero(expected > 0))
        np.testing.assert_allclose(np.sort(row)[::-1][:ALIKE], np.sort(expected)[::-1][:ALIKE], atol=1e-6)


def test_factors_are_lent_by_squared_cosine_and_what_is_like_nothing_gets_none() -> None:
    factors = np.array([[1, 0], [0, 1]], np.float32)
    likeness = sp.csr_matrix(np.array([[0.5, 0.25], [0, 0.1], [0, 0]], np.float32))
    np.testing.assert_allclose(lent_factors(likeness, factors), [[0.8, 0.2], [0, 1], [0, 0]], rtol=1e-6)


def test_what_events_taught_stays_as_it_was_when_content_adds_nothing_to_it() -> None:
    side = learnt_side()
    items = items_of(side, 30)
    itself = places_in(side.ordinals, items.ordinals)
    likeness = alike(items.rows, items.at(side.ordinals).T.tocsr(), itself)
    wide = widened(side, items, likeness, 2.0, 0.0)
    own = places_in(wide.ordinals, side.ordinals)
    assert wide.learnt is not None
    assert np.flatnonzero(wide.learnt).tolist() == own.tolist()
    np.testing.assert_array_equal(wide.factors[own], side.factors)
    np.testing.assert_array_equal(wide.popularity[own], side.popularity)
    np.testing.assert_array_equal(wide.gram, side.gram)
    before, after = dense(side.neighbours, len(side.ordinals)), dense(wide.neighbours, len(wide.ordinals))
    np.testing.assert_array_equal(after[np.ix_(own, own)], before)
    assert bool(np.all(np.diff(wide.ordinals.astype(np.int64)) > 0))


def test_cold_items_get_rows_that_their_likes_lead_to() -> None:
    side = learnt_side()
    items = items_of(side, 30)
    itself = places_in(side.ordinals, items.ordinals)
    likeness = alike(items.rows, items.at(side.ordinals).T.tocsr(), itself)
    wide = widened(side, items, likeness, 2.0, 0.5)
    own, after = places_in(wide.ordinals, side.ordinals), dense(wide.neighbours, len(wide.ordinals))
    for place, ordinal in enumerate(items.ordinals.tolist()):
        row = int(places_in(wide.ordinals, np.array([ordinal], np.uint32))[0])
        of_it = likeness[place].toarray()[0]
        if itself[place] < 0:
            assert (row < 0) == (not of_it.any())
        if itself[place] < 0 and row >= 0:
            np.testing.assert_allclose(after[own, row], 2 * of_it, rtol=1e-6)
            np.testing.assert_allclose(wide.factors[row], lent_factors(likeness[place], side.factors)[0], rtol=1e-6)
            assert wide.popularity[row] == 0.0
        if itself[place] >= 0:
            before = dense(side.neighbours, len(side.ordinals))[:, itself[place]]
            np.testing.assert_allclose(after[own, row], before + of_it, rtol=1e-5)
    descriptions = sp.csr_matrix(
        (wide.descriptions.values, wide.descriptions.columns, wide.descriptions.starts), shape=(len(wide.ordinals), 12)
    )
    np.testing.assert_array_equal(descriptions[own].toarray(), items.at(side.ordinals).toarray())
    assert descriptions.nnz == items.at(side.ordinals).nnz


def test_content_rows_lead_from_each_known_item_to_those_it_is_among_the_likes_of() -> None:
    likeness = sp.csr_matrix(np.array([[0, 0.5, 0], [0.25, 0, 0], [0.1, 0, 0]], np.float32))
    found = content_rows(likeness, np.array([0, -1, 2])).toarray()
    np.testing.assert_allclose(found, np.array([[0, 0, 0.1], [0.5, 0, 0], [0, 0, 0]]))


def test_a_side_without_neighbours_gets_those_of_content_alone() -> None:
    side = replace(learnt_side(), neighbours=Neighbours.none())
    items = items_of(side, 5)
    itself = places_in(side.ordinals, items.ordinals)
    wide = widened(side, items, alike(items.rows, items.at(side.ordinals).T.tocsr(), itself), 1.0, 0.0)
    assert len(wide.neighbours.starts) == len(wide.ordinals) + 1
    assert set(wide.neighbours.columns.tolist()) <= set(np.flatnonzero(~wide.learnt).tolist())  # type: ignore[operator]
