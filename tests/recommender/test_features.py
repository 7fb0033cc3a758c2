"""What documents share, as sparse rows of length 1."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from recommender.documents import Budget, BudgetType, Job, Level, Money, Talent
from recommender.features import HEAVIEST, FeatureTable, features_of

BAKER = Job(ordinal=1, job_id="a", title="Baker of bread", skills=("Baking",), category="Food")


def test_a_document_says_its_skills_field_place_level_pay_attributes_and_words_each_once() -> None:
    job = replace(
        BAKER,
        client_id="c",
        country="de",
        level=Level.EXPERT,
        is_remote=False,
        budget=Budget(BudgetType.HOURLY, Decimal(10), Decimal(64), "EUR"),
        attributes={"shift": "Night"},
        description="bread, BREAD",
    )
    found = features_of(job)
    assert len(found) == len(set(found))
    assert set(found) == {
        *("skill baking", "category food", "country de", "level EXPERT", "remote False", "client c"),
        *("pay HOURLY EUR 11", "pay HOURLY EUR 12", "pay HOURLY EUR 13", "attribute shift=night"),
        *("word baker", "word of", "word bread", "word baking"),
    }
    talent = Talent(ordinal=1, talent_id="t", hourly_rate=Money(Decimal(64), "EUR"))
    assert set(features_of(talent)) & set(found) == {f"pay HOURLY EUR {step}" for step in (11, 12, 13)}


@pytest.mark.parametrize("amount", ["0", "-1", "1e12", "NaN"])
def test_pay_that_is_no_sane_number_says_nothing(amount: str) -> None:
    job = Job(ordinal=1, job_id="a", budget=Budget(BudgetType.FIXED, None, Decimal(amount), "EUR"))
    assert features_of(job) == []


def test_a_hostile_document_says_a_bounded_amount_and_nothing_that_divides_names() -> None:
    words = " ".join(f"w{number}" for number in range(100_000))
    attributes = {f"a{number}": "x" for number in range(1_000)} | {"long": "x" * 10_000}
    found = features_of(replace(BAKER, description=words, skills=("a\0b",) * 1_000, attributes=attributes))
    assert len(found) < 700
    assert not any("\0" in name or "long" in name for name in found)


def test_rows_have_length_1_and_the_rarest_features_weigh_most() -> None:
    table = FeatureTable()
    table.add([replace(BAKER, ordinal=9), replace(BAKER, ordinal=2, title="Baker"), Job(ordinal=5, job_id="b")])
    found = table.build()
    assert found.ordinals.tolist() == [2, 5, 9]
    assert "word bread" not in found.space.names  # of one document alone
    lengths = np.linalg.norm(found.rows.toarray(), axis=1)
    np.testing.assert_allclose(lengths, [1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(found.space.weights, np.log(3 / 2))
    np.testing.assert_array_equal(found.at(np.array([9, 3, 2], np.uint32)).toarray()[1], 0)
    np.testing.assert_array_equal(found.space.rows([features_of(BAKER)]).toarray()[0], found.rows.toarray()[2])


def test_of_a_document_that_comes_again_the_last_state_counts() -> None:
    table = FeatureTable()
    table.add([BAKER, replace(BAKER, ordinal=2)])
    table.add([replace(BAKER, title="Cook", skills=(), category=None), Job(ordinal=3, job_id="c")])
    found = table.build()
    assert found.ordinals.tolist() == [1, 2, 3]
    assert found.rows[0].nnz == 0


def test_only_the_heaviest_features_are_kept() -> None:
    many = tuple(f"s{number}" for number in range(HEAVIEST))
    table = FeatureTable()
    table.add([replace(BAKER, ordinal=1, skills=many, title=None, category="x")])
    table.add([replace(BAKER, ordinal=2, skills=many, title=None, category="x")])
    table.add([replace(BAKER, ordinal=3 + number, skills=(), title=None, category="x") for number in range(5)])
    table.add([Job(ordinal=99, job_id="z")])
    found = table.build()
    kept = {found.space.names[column] for column in found.rows[0].indices}
    assert len(kept) == HEAVIEST
    assert "category x" not in kept  # held by seven of eight
