"""What a filter accepts and refuses."""

from __future__ import annotations

import pytest

from recommender.documents import BudgetType
from recommender.errors import BadInputError
from recommender.filters import AttributeFilter, JobFilter, PayFilter, TermFilter, number_of


def test_a_skill_in_both_all_and_none_is_refused_in_any_spelling() -> None:
    with pytest.raises(BadInputError, match="strasse"):
        TermFilter(all=("Straße",), none=("STRASSE",))


def test_min_above_max_is_refused_with_what_came() -> None:
    with pytest.raises(BadInputError, match="budget: min must not be above max; got min 5 and max 4"):
        PayFilter("USD", 5, 4, budget_type=BudgetType.FIXED)
    with pytest.raises(BadInputError, match="hourlyRate: min must not be above max"):
        PayFilter("USD", 5, 4)
    with pytest.raises(BadInputError, match="attribute 'score': min must not be above max"):
        AttributeFilter("score", min=2, max=1)


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_bounds_that_are_no_finite_numbers_are_refused(bound: float) -> None:
    with pytest.raises(BadInputError, match="finite"):
        PayFilter("USD", bound)


def test_equal_bounds_and_open_ends_are_fine() -> None:
    assert PayFilter("USD", 4, 4).min == 4
    assert AttributeFilter("score", max=1).min is None


def test_negative_days_are_refused() -> None:
    with pytest.raises(BadInputError, match="0 or more; got -1"):
        JobFilter(posted_within_days=-1)


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12.0), (" -1.5e3 ", -1500.0), (".5", 0.5), ("5.", 5.0), ("+1", 1.0)],
)
def test_numbers_in_attributes(text: str, number: float) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1_000", "1,000", "٣", "1e999", "0x1", "1 2", "."])
def test_what_is_no_number_in_an_attribute(text: str) -> None:
    assert number_of(text) is None
