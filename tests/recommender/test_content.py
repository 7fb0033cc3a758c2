"""Traits, their weights and the units that items share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from recommender.content import Trait, TraitField, WeightedTrait, content_term, popularity_bias, traits_from, weigh
from recommender.documents import Kind, Level
from recommender.filters import JobFilter, TermFilter
from recommender.model import Side
from recommender.query import Profile
from tests.factories import job, talent


def test_traits_of_a_document_are_folded_and_distinct() -> None:
    document = job(skills=("Go", "GO", "C++"), category="Data", country="DE", level=Level.EXPERT, title="Data Engineer")
    assert [(trait.field.value, trait.value) for trait in traits_from(document)] == [
        ("skills", "go"),
        ("skills", "c++"),
        ("category", "data"),
        ("country", "de"),
        ("level", "expert"),
        ("title", "data"),
        ("title", "engineer"),
    ]


def test_a_bare_or_missing_subject_has_no_traits() -> None:
    assert traits_from(None) == traits_from(talent()) == traits_from(Profile()) == ()


def test_a_trait_knows_whom_to_ask_for() -> None:
    assert Trait(TraitField.SKILLS, "go").request(Kind.JOB) == (JobFilter(skills=TermFilter(all=("go",))), None)
    assert Trait(TraitField.LEVEL, "expert").request(Kind.JOB) == (JobFilter(levels=(Level.EXPERT,)), None)
    assert Trait(TraitField.TITLE, "data").request(Kind.JOB) == (JobFilter(), "data")


def test_rare_traits_weigh_more_in_whole_units_and_absent_ones_nothing() -> None:
    everybody = BitMap(range(1, 65))
    rare, common, absent = (Trait(TraitField.SKILLS, name) for name in ("rare", "common", "absent"))
    land, word = Trait(TraitField.COUNTRY, "de"), Trait(TraitField.TITLE, "data")
    postings = {
        rare: BitMap([1]),
        common: everybody,
        absent: BitMap([99]),  # somebody has it who cannot be listed
        land: BitMap([2]),
        word: BitMap([3, 4]),
    }
    weighted = weigh(tuple(postings), postings, everybody)
    assert [(item.trait.value, item.units) for item in weighted] == [
        ("rare", 12),
        ("common", 2),
        ("de", 1),
        ("data", 5),
    ]
    term = content_term(weighted, postings)
    assert dict(zip(term.ordinals.tolist(), term.values.tolist(), strict=True)) == {
        1: 14.0,
        2: 3.0,
        3: 7.0,
        4: 7.0,
        **dict.fromkeys(range(5, 65), 2.0),
    }


@given(st.data())
def test_units_among_some_are_those_among_all_bit_for_bit(data: st.DataObject) -> None:
    """Beside the sum over a table as long as the catalogue, written plainly."""
    spread = data.draw(st.sampled_from((1, 3, 50, 4_000)))
    some = st.builds(BitMap, st.lists(st.integers(1, 300), max_size=60).map(lambda ns: [spread * n for n in ns]))
    postings = {Trait(TraitField.SKILLS, str(place)): data.draw(some) for place in range(data.draw(st.integers(0, 5)))}
    weighted = [WeightedTrait(trait, data.draw(st.integers(1, 40))) for trait in postings]
    among = data.draw(st.none() | some)
    expected: dict[int, float] = {}
    for item in weighted:
        for ordinal in postings[item.trait]:
            if among is None or ordinal in among:
                expected[ordinal] = expected.get(ordinal, 0.0) + item.units
    term = content_term(weighted, postings, among)
    assert term.ordinals.dtype == np.uint32
    assert dict(zip(term.ordinals.tolist(), term.values.tolist(), strict=True)) == expected
    assert term.ordinals.tolist() == sorted(expected)


def test_popularity_stays_below_a_unit() -> None:
    ordinals = np.arange(1, 5, dtype=np.uint32)
    popularity = np.array([0.0, 1e9, 5e8, -3.0], dtype=np.float32)
    side = Side(ordinals, np.zeros((4, 2), np.float32), popularity)
    assert popularity_bias(side).values.tolist() == [0.0, 0.5, 0.25, 0.0]
    nobody = Side(ordinals, np.zeros((4, 2), np.float32), np.zeros(4, np.float32))
    assert popularity_bias(nobody).values.tolist() == [0.0] * 4
    assert popularity_bias(side, most=0.2).values.tolist() == [0.0, 0.2, 0.1, 0.0]
