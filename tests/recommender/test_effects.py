"""The effect of an acted-on item is what solving again without it gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.als import fold_in
from recommender.effects import effects, neighbour_effects
from recommender.interest import Interest, shares
from recommender.model import Hyperparameters
from recommender.neighbours import neighbour_shares, neighbour_term
from recommender.scoring import Terms, score
from tests.recommender.fakes import blended, model

MODEL = blended(model(), weight=2.0)
SIDE, HYPER = MODEL.jobs, MODEL.manifest.hyperparameters
ROWS = np.array([3, -1, 0, 119], dtype=np.int32)
FACTORS = SIDE.factors_of(np.where(ROWS >= 0, SIDE.ordinals[ROWS], 0).astype(np.uint32))


def solved(rows: npt.NDArray[np.int32], weights: npt.NDArray[np.float64], hyper: Hyperparameters = HYPER) -> Interest:
    return Interest(rows, weights, fold_in(SIDE, rows, weights, hyper))


def without(interest: Interest, place: int, hyper: Hyperparameters = HYPER) -> Interest:
    return solved(np.delete(interest.rows, place), np.delete(interest.weights, place), hyper)


def dense(interest: Interest) -> npt.NDArray[np.float64]:
    return np.where(ROWS >= 0, SIDE.factors[ROWS].astype(float) @ interest.vector, 0.0)


def near(interest: Interest, weight: float = 2.0) -> npt.NDArray[np.float64]:
    ordinals = np.where(ROWS >= 0, SIDE.ordinals[ROWS], 0).astype(np.uint32)
    return score(Terms(SIDE, sparse=(neighbour_term(interest, SIDE, weight),)), ordinals)


@st.composite
def interests(draw: st.DrawFn, hyper: Hyperparameters = HYPER) -> Interest:
    rows = sorted(draw(st.sets(st.integers(0, 119), max_size=30)))
    weights = [draw(st.sampled_from([-3.0, -0.1, 0.01, 0.5, 1.0, 7.0, 90.0])) for _ in rows]
    return solved(np.array(rows, np.int32), np.array(weights), hyper)


@settings(max_examples=80, deadline=None)
@given(interests())
def test_the_effect_on_the_factors_is_that_of_solving_without_the_item(interest: Interest) -> None:
    found = effects(interest, SIDE, HYPER, FACTORS)
    assert found.shape == (4, len(interest.rows))
    for place in range(len(interest.rows)):
        expected = dense(interest) - dense(without(interest, place))
        assert found[:, place] == pytest.approx(expected, rel=1e-8, abs=1e-8)


@settings(max_examples=80, deadline=None)
@given(interests())
def test_the_effect_on_the_neighbours_is_that_of_summing_without_the_item(interest: Interest) -> None:
    found = neighbour_effects(interest, neighbour_shares(interest, SIDE, 2.0, ROWS))
    for place in range(len(interest.rows)):
        expected = near(interest) - near(without(interest, place))
        assert found[:, place] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1e3, 1e6])
def test_extreme_confidence_leaves_the_effect_exact(alpha: float) -> None:
    hyper = replace(HYPER, alpha=alpha)
    interest = solved(np.array([3, 8, 40], np.int32), np.array([9.0, -2.0, 1.0]), hyper)
    found = effects(interest, SIDE, hyper, FACTORS)
    for place in range(3):
        expected = dense(interest) - dense(without(interest, place, hyper))
        assert found[:, place] == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_what_was_turned_down_has_an_effect_although_it_has_no_share() -> None:
    interest = solved(np.array([3, 8], np.int32), np.array([2.0, -5.0]))
    assert shares(interest, SIDE, HYPER, FACTORS)[0, 1] == 0.0
    assert effects(interest, SIDE, HYPER, FACTORS)[0, 1] != 0.0


def test_the_largest_share_may_be_of_an_item_that_holds_the_score_down() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        rows = np.sort(rng.choice(120, 12, replace=False)).astype(np.int32)
        interest = solved(rows, rng.choice([0.5, 1.0, 7.0], 12))
        parts = neighbour_effects(interest, neighbour_shares(interest, SIDE, 2.0, ROWS)) + effects(
            interest, SIDE, HYPER, FACTORS
        )
        largest = shares(interest, SIDE, HYPER, FACTORS).argmax(axis=1)
        if (parts[[0, 2, 3], largest[[0, 2, 3]]] < 0).any():
            return
    pytest.fail("no share was found that misleads")
