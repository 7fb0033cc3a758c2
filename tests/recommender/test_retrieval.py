"""Exact top-k against brute force: adversarial ties, zero vectors, duplicated rows, keyset pages, ranks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender import kernels, scoring
from recommender.coarse import fixed
from recommender.model import Ordinals, Side
from recommender.retrieval import After, best, best_of_each, rank_of
from recommender.scoring import Bias, Dense, Sparse, Terms, approximate, contributions, score, sums
from recommender.shared_pass import nominate_each


class Names:
    """Ids of ordinals whose byte order is unrelated to the ordinals'."""

    def id_of(self, ordinal: int) -> str:
        return f"{ordinal * 7919 % 1009}é{ordinal}"

    def ids_of(self, ordinals: Ordinals) -> list[str]:
        return [self.id_of(int(ordinal)) for ordinal in ordinals]

    def id_order(self, ordinals: Ordinals) -> np.ndarray:
        ids = [document_id.encode() for document_id in self.ids_of(ordinals)]
        return np.argsort(np.argsort(np.array(ids, dtype=object))).astype(np.uint64)


NAMES = Names()


def side_of(factors: np.ndarray, ordinals: np.ndarray | None = None) -> Side:
    ordinals = np.arange(1, len(factors) + 1, dtype=np.uint32) if ordinals is None else ordinals
    return Side(ordinals, np.ascontiguousarray(factors, dtype=np.float32), np.zeros(len(factors), dtype=np.float32))


def brute_force(terms: Terms, candidates: Ordinals) -> list[tuple[int, float]]:
    one_by_one = [float(score(terms, candidates[i : i + 1])[0]) for i in range(len(candidates))]
    return sorted(
        ((int(ordinal), value) for ordinal, value in zip(candidates, one_by_one, strict=True)),
        key=lambda row: (-row[1], NAMES.id_of(row[0]).encode()),
    )


def listed(
    terms: Terms, candidates: Ordinals, k: int, after: After | None = None, few: int = 0
) -> list[tuple[int, float]]:
    """few: candidates that are all scored in float64, without being nominated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "FEW", few)
        ordinals, scores = best(terms, candidates, k, NAMES, after)
    return list(zip(ordinals.tolist(), scores.tolist(), strict=True))


@st.composite
def problems(draw: st.DrawFn) -> tuple[Terms, Ordinals]:
    """Rows of few distinct values, so that exact ties and near ties abound; some candidates have no row."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, width = draw(st.integers(1, 900)), draw(st.sampled_from([1, 2, 5, 9, 16, 21, 40, 131]))
    kind = draw(st.sampled_from(["gauss", "copies", "near", "zeros"]))
    factors = rng.standard_normal((rows, width))
    if kind == "copies":
        factors = factors[rng.integers(0, min(rows, 3), rows)]
    elif kind == "near":  # differ in the last bit of a float32
        factors = np.float32(1) + rng.integers(0, 3, (rows, width)) * np.float32(2**-23)
    elif kind == "zeros":
        factors *= 0
    ordinals = np.sort(rng.choice(np.arange(1, rows * 2 + 1), rows, replace=False)).astype(np.uint32)
    side = side_of(factors, ordinals)
    vector = rng.standard_normal(width) * draw(st.sampled_from([0.0, 1e-30, 1.0, 1e30]))
    scale = draw(st.sampled_from([None, rng.random(rows)]))
    universe = np.arange(1, rows * 2 + 1, dtype=np.uint32)
    terms = Terms(
        side,
        dense=draw(
            st.sampled_from([(), (Dense("d", vector, scale),), (Dense("d", vector), Dense("e", vector, scale))])
        ),
        sparse=tuple(
            Sparse(f"s{step}", universe[step::step], (rng.integers(0, 3, len(universe[step::step])) / 10).astype(float))
            for step in draw(st.sampled_from([(), (3,), (2, 5)]))
        ),
        bias=tuple(
            Bias(f"b{parts}", rng.integers(0, 2, rows) / parts) for parts in draw(st.sampled_from([(), (2,), (3, 10)]))
        ),
    )
    share = draw(st.sampled_from([0.0, 0.01, 0.5, 1.0]))
    return terms, universe[rng.random(len(universe)) <= share]


@settings(max_examples=120, deadline=None)
@given(problems(), st.integers(1, 40))
def test_the_best_k_are_those_of_a_full_sort(problem: tuple[Terms, Ordinals], k: int) -> None:
    terms, candidates = problem
    expected = brute_force(terms, candidates)[:k]
    assert listed(terms, candidates, k) == expected
    assert listed(terms, candidates, k, few=len(candidates)) == expected


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(1, 120))
def test_pages_tile_the_whole_order(problem: tuple[Terms, Ordinals], k: int) -> None:
    terms, candidates = problem
    expected, seen, after = brute_force(terms, candidates), [], None
    while page := listed(terms, candidates, k, after, few=k * (len(seen) % 2) * len(candidates)):
        seen += page
        after = After(page[-1][1], NAMES.id_of(page[-1][0]))
        if len(seen) > 400:  # deep enough to have crossed many ties
            break
    assert seen == expected[: len(seen)]
    assert len(seen) == len(expected) or len(seen) > 400


@settings(max_examples=60, deadline=None)
@given(problems(), st.data())
def test_the_rank_of_an_item_is_its_place_in_a_full_sort(problem: tuple[Terms, Ordinals], data: st.DataObject) -> None:
    terms, candidates = problem
    if not len(candidates):
        return
    expected = [ordinal for ordinal, _ in brute_force(terms, candidates)]
    place = data.draw(st.integers(0, len(expected) - 1))
    assert rank_of(terms, candidates, expected[place], NAMES) == place + 1


@settings(max_examples=60, deadline=None)
@given(problems())
def test_no_approximation_is_further_off_than_its_bound(problem: tuple[Terms, Ordinals]) -> None:
    terms, candidates = problem
    rough, errors = approximate(terms, candidates)
    assert np.all(np.abs(rough - score(terms, candidates)) <= errors)


@settings(max_examples=40, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_a_score_is_bit_for_bit_the_same_in_every_batch(problem: tuple[Terms, Ordinals], seed: int) -> None:
    terms, candidates = problem
    whole = dict(zip(candidates.tolist(), score(terms, candidates).tolist(), strict=True))
    some = np.random.default_rng(seed).permutation(candidates)[: len(candidates) // 3]
    assert [whole[ordinal] for ordinal in some.tolist()] == score(terms, some).tolist()


@pytest.mark.parametrize("tiny", [1e-18, 1e-9, 1.0])
def test_terms_much_larger_than_the_products_round_within_the_bound(tiny: float) -> None:
    """Beside a prior of 1, products of 1e-18 are lost in the last bit, on one way of summing sooner than on another."""
    rng = np.random.default_rng(8)
    side = side_of(rng.standard_normal((5_000, 16)))
    picks = side.ordinals[::3]
    terms = Terms(
        side,
        dense=(Dense("d", rng.standard_normal(16) * tiny),),
        sparse=(Sparse("neighbours", picks, rng.random(len(picks)) * 1e3),),
        bias=(Bias("prior", rng.random(5_000)),),
    )
    rough, errors = approximate(terms, side.ordinals)
    assert np.all(np.abs(rough - score(terms, side.ordinals)) <= errors)
    assert listed(terms, side.ordinals, 300) == brute_force(terms, side.ordinals)[:300]


def test_terms_sum_to_the_score_in_their_named_order() -> None:
    side = side_of(np.array([[1.0, 2.0], [3.0, 4.0]]))
    terms = Terms(
        side,
        dense=(Dense("interest", np.array([1.0, 10.0])),),
        sparse=(Sparse("neighbours", np.array([2, 5], dtype=np.uint32), np.array([100.0, 200.0])),),
        bias=(Bias("price", np.array([0.5, 0.25])),),
    )
    ordinals = np.array([1, 2, 5], dtype=np.uint32)
    assert terms.names == ("interest", "neighbours", "price")
    assert [part.tolist() for part in contributions(terms, ordinals)] == [
        [21.0, 43.0, 0.0],
        [0.0, 100.0, 200.0],
        [0.5, 0.25, 0.0],
    ]
    assert score(terms, ordinals).tolist() == [21.5, 143.25, 200.0]


SCORES = st.one_of(
    st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, 5e-324, -5e-324, np.inf, -np.inf, 1.0, 1.0 + 2**-52])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(SCORES, max_size=80), st.integers(1, 90))
def test_scores_descend_as_sorted_ones_do_and_ties_are_told(scores: list[float], k: int) -> None:
    given_scores = np.array(scores)
    ordinals, found, is_settled = kernels.descending(np.arange(len(scores), dtype=np.uint32), given_scores, k)
    assert found.tolist() == sorted(scores, reverse=True)
    assert given_scores[ordinals].tolist() == found.tolist()
    assert is_settled == (len({*found[: k + 1].tolist()}) == len(found[: k + 1]))


@pytest.mark.parametrize("size", [600, 70_000])
@pytest.mark.parametrize("spread", [1.0, 1e-12])
def test_near_scores_beside_one_far_away_are_sorted_too(size: int, spread: float) -> None:
    scores = 5.0 + spread * np.random.default_rng(size).standard_normal(size)
    scores[size // 2] = -1e300
    ordinals, found, _ = kernels.descending(np.arange(size, dtype=np.uint32), scores, size)
    assert found.tolist() == np.sort(scores)[::-1].tolist()
    assert scores[ordinals].tolist() == found.tolist()


def test_the_score_is_the_true_inner_product_to_float64() -> None:
    rng = np.random.default_rng(3)
    side, vector = side_of(rng.standard_normal((5, 64))), rng.standard_normal(64)
    terms = Terms(side, dense=(Dense("d", vector),))
    for ordinal in range(1, 6):
        row = side.factors[ordinal - 1].tolist()
        true = float(sum(Fraction(a) * Fraction(b) for a, b in zip(row, vector.tolist(), strict=True)))
        assert score(terms, np.array([ordinal], dtype=np.uint32))[0] == pytest.approx(true, abs=1e-13)


@pytest.mark.parametrize("share", [0.02, 1.0])  # gathered rows, and one product over all of them
def test_a_large_catalogue_is_not_scored_exactly_as_a_whole(share: float) -> None:
    rng = np.random.default_rng(5)
    side = side_of(rng.standard_normal((40_000, 64)))
    terms = Terms(side, dense=(Dense("d", rng.standard_normal(64)),))
    candidates = side.ordinals[rng.random(40_000) < share]
    _held, parts = sums(terms)
    nominees = kernels.nominate(fixed(candidates), parts, 100, np.inf)
    assert 100 <= len(nominees) <= 200
    nominees = kernels.nominate(fixed(candidates), parts, 100, 0.0)
    # Most scores are near 0: what lies closer to it than the coarse rows tell apart is scored.
    assert 100 <= np.count_nonzero(score(terms, nominees) < 0.0) <= len(nominees) <= 4_000


def test_a_vector_or_bias_of_another_length_than_the_rows_is_refused() -> None:
    side = side_of(np.ones((3, 2)))
    for terms in (
        Terms(side, dense=(Dense("d", np.ones(3)),)),
        Terms(side, bias=(Bias("b", np.ones(2)),)),
        Terms(side, dense=(Dense("d", np.ones(2), scale=np.ones(2)),)),
    ):
        with pytest.raises(ValueError, match=r"for (rows of 2|3 rows)"):
            best(terms, side.ordinals, 1, NAMES)


def test_one_candidate_without_a_row_is_still_listed() -> None:
    terms = Terms(side_of(np.ones((1, 2))), dense=(Dense("d", np.ones(2)),))
    assert listed(terms, np.array([9], dtype=np.uint32), 20) == [(9, 0.0)]


def test_a_model_without_rows_lists_everything_by_id() -> None:
    terms = Terms(side_of(np.empty((0, 2))), dense=(Dense("d", np.ones(2)),), bias=(Bias("b", np.empty(0)),))
    candidates = np.arange(1, 1001, dtype=np.uint32)
    assert listed(terms, candidates, 1000) == brute_force(terms, candidates)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["gauss", "copies", "near", "zeros", "long"]), st.integers(1, 300))
def test_lists_that_share_a_pass_are_those_that_each_gets_alone(seed: int, kind: str, k: int) -> None:
    """Two tables of unlike rows, sparse values of both signs, silent vectors, and items without any row."""
    rng = np.random.default_rng(seed)
    rows, lists = 6_000, int(rng.integers(2, 7))
    factors = rng.standard_normal((rows, 8))
    if kind == "copies":
        factors = factors[rng.integers(0, 3, rows)]
    elif kind == "near":
        factors = np.float32(1) + rng.integers(0, 3, (rows, 8)) * np.float32(2**-23)
    elif kind == "zeros":
        factors *= 0
    elif kind == "long":
        factors[0] *= 1e32
    universe = np.arange(1, 2 * rows, dtype=np.uint32)
    first = side_of(factors, np.sort(rng.choice(universe, rows, replace=False)))
    second = side_of(rng.standard_normal((rows // 2, 5)), np.sort(rng.choice(universe, rows // 2, replace=False)))
    bias = (Bias("b", rng.random(rows) / 4),) if rng.random() < 0.5 else ()
    candidates = universe[rng.random(len(universe)) < rng.choice([0.4, 0.9, 1.0])]
    asked = []
    for _ in range(lists):
        picks = np.sort(rng.choice(universe, 40, replace=False))
        dense = (
            Dense("d", rng.standard_normal(8) * (rng.random() < 0.9)),
            Dense("e", rng.standard_normal(5), side=second),
        )
        sparse = (Sparse("s", picks, rng.standard_normal(40) * rng.choice([0.0, 1.0, 9.0])),)
        asked.append((Terms(first, dense=dense, sparse=sparse, bias=bias), k))
    alone = [best(terms, candidates, k, NAMES) for terms, k in asked]
    together = best_of_each(asked, candidates, NAMES)
    assert [(found.tolist(), scores.tolist()) for found, scores in together] == [
        (found.tolist(), scores.tolist()) for found, scores in alone
    ]


def test_many_lists_are_nominated_for_in_one_pass() -> None:
    rng = np.random.default_rng(5)
    side = side_of(rng.standard_normal((20_000, 16)))
    asked = [(Terms(side, dense=(Dense("d", rng.standard_normal(16)),)), 100) for _ in range(8)]
    found = nominate_each(asked, side.ordinals)
    assert [100 <= len(nominees) <= 110 for nominees in found if nominees is not None] == [True] * 8
    alike = Terms(side, dense=(Dense("d", np.ones(16), scale=np.ones(20_000)),))
    assert [one is None for one in nominate_each([*asked, (alike, 100)], side.ordinals)] == [False] * 8 + [True]
