"""DateTime and Decimal: what is read, what is written, what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.graphql.scalars import (
    decimal_from_float,
    parse_datetime,
    parse_decimal,
    serialize_datetime,
    serialize_decimal,
)
from recommender.errors import BadInputError


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_every_moment_that_is_written_is_read_back(moment: int) -> None:
    assert parse_datetime(serialize_datetime(moment)) == moment


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00Z"),
        ("2026-01-31T09:30:00", "2026-01-31T09:30:00Z"),
        ("2026-01-31t09:30:00z", "2026-01-31T09:30:00Z"),
        ("2026-01-31T09:30:00+02:00", "2026-01-31T07:30:00Z"),
        ("2026-01-31T09:30:00.5-01:30", "2026-01-31T11:00:00.500Z"),
        ("2026-01-31T09:30:00.123456789Z", "2026-01-31T09:30:00.123Z"),
        ("1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
    ],
)
def test_rfc_3339_is_read_and_written_in_utc(text: str, written: str) -> None:
    assert serialize_datetime(parse_datetime(text)) == written


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01",
        "2026-01-01 00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00+25:00",
        "0001-01-01T00:00:00+23:00",
        "٢٠٢٦-01-01T00:00:00Z",
        1_760_000_000,
        True,
        None,
        "2026-01-01T00:00:00Z\n",
    ],
)
def test_a_malformed_moment_is_refused(value: object) -> None:
    with pytest.raises(BadInputError, match="DateTime: expected"):
        parse_datetime(value)


@given(st.decimals("-1e9", "1e9", places=4))
def test_every_amount_that_is_written_is_read_back(amount: Decimal) -> None:
    assert parse_decimal(serialize_decimal(amount)) == amount


@pytest.mark.parametrize(
    "value", ["", "1e3", "NaN", "Infinity", "1,5", " 1", "1.", "0.1234567", "1" * 16, 1.5, True, None]
)
def test_a_malformed_amount_is_refused(value: object) -> None:
    with pytest.raises(BadInputError, match="Decimal: expected"):
        parse_decimal(value)


def test_an_integer_is_an_exact_amount() -> None:
    assert parse_decimal(40) == Decimal("40")


@pytest.mark.parametrize(("value", "text"), [(40.0, "40"), (0.1, "0.1"), (1e16, "10000000000000000")])
def test_a_bound_is_written_as_short_as_it_reads(value: float, text: str) -> None:
    assert serialize_decimal(decimal_from_float(value)) == text
