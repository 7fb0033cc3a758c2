"""What each kind of column takes, and what it makes of it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.files.table import EpochMs, Unreadable
from gateway.files.values import (
    BadValueError,
    attribute_text,
    enum_parser,
    json_bytes,
    parse_bool,
    parse_currency,
    parse_id,
    parse_pay,
    parse_positive,
    parse_skills,
    parse_text,
    parse_time,
)
from recommender.documents import Level

DAY = datetime(2025, 3, 1, tzinfo=UTC)
DAY_START_MS = 1_740_787_200_000


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("t1", "t1"),
        ("007", "007"),
        (" t1", " t1"),
        ("é" * 128, "é" * 128),
        (7, "7"),
        (-7, "-7"),
        (2**70, str(2**70)),
        ("", None),
        (None, None),
    ],
)
def test_an_id_is_kept_to_the_byte_and_an_integer_becomes_decimal_text(cell: Any, expected: str | None) -> None:
    assert parse_id(cell) == expected


@pytest.mark.parametrize(
    "cell",
    ["x" * 257, "t\0", "é" * 129, 1.0, True, Decimal("1.5"), ["t1"], b"t1", math.nan, EpochMs(1), Unreadable("why")],
)
def test_what_is_no_text_or_integer_or_too_long_is_no_id(cell: Any) -> None:
    with pytest.raises(BadValueError, match="an id "):
        parse_id(cell)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=300))
def test_an_id_is_taken_exactly_when_it_has_at_most_256_bytes(text: str) -> None:
    if len(text.encode()) <= 256:
        assert parse_id(text) == text
    else:
        with pytest.raises(BadValueError):
            parse_id(text)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2025-03-01", DAY_START_MS),
        ("2025-03-01T00:00:00Z", DAY_START_MS),
        ("2025-03-01t00:00:00z", DAY_START_MS),
        ("2025-03-01 00:00:00 UTC", DAY_START_MS),
        ("2025-03-01 01:00:00+01:00", DAY_START_MS),
        ("2025-02-28T19:00:00-0500", DAY_START_MS),
        ("20250301T000000Z", DAY_START_MS),
        ("2025-W09-6", DAY_START_MS),
        ("2025-03-01T00:00:00.1239999999Z", DAY_START_MS + 123),
        ("1740787200", DAY_START_MS),
        ("1740787200.5", DAY_START_MS + 500),
        (" 1740787200000 ", DAY_START_MS),
        (1_740_787_200, DAY_START_MS),
        (1_740_787_200_000, DAY_START_MS),
        (1_740_787_200.25, DAY_START_MS + 250),
        (Decimal("1740787200.0009"), DAY_START_MS),
        (EpochMs(5), 5),
        (10**11 - 1, (10**11 - 1) * 1000),
        (10**11, 10**11),
        (-1, -1000),
        ("1969-12-31T23:59:59.9995Z", -1),
        ("", None),
        ("  ", None),
        (None, None),
    ],
)
def test_a_time_is_iso_8601_or_seconds_or_from_1e11_on_milliseconds(cell: Any, expected: int | None) -> None:
    assert parse_time(cell) == expected


@pytest.mark.parametrize(
    "cell",
    [
        *("yesterday", "2025-13-01", "2025-02-30", "01/03/2025", "2025-03-01T25:00:00Z", "1e400", "nan", True, [1]),
        *(math.nan, math.inf, 10**30, -(10**14), Decimal("Infinity"), EpochMs(10**16), Unreadable("why")),
    ],
)
def test_what_is_no_time_or_beyond_the_years_1_to_9999_is_refused(cell: Any) -> None:
    with pytest.raises(BadValueError, match="must be"):
        parse_time(cell)


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)))
def test_every_time_that_python_writes_is_read_back_to_the_millisecond(moment: datetime) -> None:
    expected = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // (DAY.resolution * 1000)
    assert parse_time(moment.isoformat()) == expected
    assert parse_time(moment.replace(tzinfo=None).isoformat(" ")) == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("50", "50"),
        ("50.10", "50.10"),
        ("0.1", "0.1"),
        (0.1, "0.1"),
        (Decimal("12345678901234.123456789012"), "12345678901234.123456789012"),
        ("5e1", "50"),
        (0, "0"),
        ("-0", "0"),
        (".5", "0.5"),
        ("+3.", "3"),
    ],
)
def test_an_amount_is_kept_exactly_as_it_is_written(cell: Any, expected: str) -> None:
    assert str(parse_pay(cell)) == expected


@pytest.mark.parametrize(
    "cell", ["-1", "1,000", "$5", "1_000", "nan", "inf", "٣", "1e15", "1e-13", -0.01, math.nan, math.inf, True, [1]]
)
def test_an_amount_that_is_negative_or_no_plain_number_is_refused(cell: Any) -> None:
    with pytest.raises(BadValueError, match=r"must .*; got"):
        parse_pay(cell)


@settings(deadline=None)
@given(st.decimals(min_value=0, max_value=10**14, places=2))
def test_an_amount_in_text_loses_nothing(amount: Decimal) -> None:
    assert str(parse_pay(str(amount))) == str(amount)


@pytest.mark.parametrize(("cell", "expected"), [("2", 2.0), (0.5, 0.5), (3, 3.0), (Decimal("1.5"), 1.5), ("", None)])
def test_a_value_is_a_number_above_zero(cell: Any, expected: float | None) -> None:
    assert parse_positive(cell) == expected


@pytest.mark.parametrize("cell", ["0", 0, -1, "nan", math.nan, math.inf, "1e999", 10**400, True, "many"])
def test_a_value_that_is_zero_negative_or_endless_is_refused(cell: Any) -> None:
    with pytest.raises(BadValueError):
        parse_positive(cell)


@pytest.mark.parametrize("yes", ["true", "TRUE", " Yes ", "1", 1, True])
@pytest.mark.parametrize("no", ["false", "False", "no", "0", 0, False])
def test_booleans_are_true_false_1_0_yes_no_in_any_case(yes: Any, no: Any) -> None:
    assert (parse_bool(yes), parse_bool(no), parse_bool(" "), parse_bool(None)) == (True, False, None, None)


@pytest.mark.parametrize("cell", ["y", "2", 2, 1.0, "wahr", [True]])
def test_another_word_for_a_boolean_is_refused_and_the_allowed_ones_are_named(cell: Any) -> None:
    with pytest.raises(BadValueError, match="must be one of true, 1, yes, false, 0, no; got"):
        parse_bool(cell)


def test_words_of_an_enum_are_taken_in_any_case_and_others_refused_with_those_allowed() -> None:
    parse = enum_parser(Level)
    assert [parse(cell) for cell in ("expert", " Entry ", "INTERMEDIATE", "", "  ", None)] == [
        Level.EXPERT,
        Level.ENTRY,
        Level.INTERMEDIATE,
        None,
        None,
        None,
    ]
    for cell in ("guru", 1, True, ["EXPERT"]):
        with pytest.raises(BadValueError, match="must be one of ENTRY, INTERMEDIATE, EXPERT; got"):
            parse(cell)


def test_a_currency_is_three_letters() -> None:
    assert (parse_currency("eur"), parse_currency(" USD "), parse_currency(""), parse_currency(None)) == (
        "EUR",
        "USD",
        None,
        None,
    )
    for cell in ("EURO", "€", "U5D", 840, "ÀÉÎ"):
        with pytest.raises(BadValueError, match="three letters"):
            parse_currency(cell)


def test_skills_are_a_list_or_text_between_semicolons_each_once() -> None:
    assert parse_skills("Go; Kubernetes ;;go ; C++") == ("Go", "Kubernetes", "C++")
    assert parse_skills(["Go", " SQL;x ", None, "", "GO", 7]) == ("Go", "SQL;x", "7")
    assert (parse_skills(""), parse_skills(None), parse_skills([])) == ((), (), ())
    for cell in (5, {"a": 1}, [["nested"]], [True]):
        with pytest.raises(BadValueError):
            parse_skills(cell)


def test_text_is_kept_as_it_is_and_blank_text_is_empty() -> None:
    assert [parse_text(cell) for cell in (" a b ", "x\ny", 5, Decimal("1.50"), " \n", "", None)] == [
        " a b ",
        "x\ny",
        "5",
        "1.50",
        None,
        None,
        None,
    ]
    for cell in ("x" * 131_073, True, [1], math.nan):
        with pytest.raises(BadValueError):
            parse_text(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("x", "x"),
        (True, "true"),
        (3, "3"),
        (0.1, "0.1"),
        (Decimal("1.50"), "1.50"),
        (EpochMs(DAY_START_MS), "2025-03-01T00:00:00Z"),
        (EpochMs(1), "1970-01-01T00:00:00.001Z"),
        (["a", 1], '["a",1]'),
        ({"a": None}, '{"a":null}'),
        ("", None),
        (None, None),
        (math.nan, None),
    ],
)
def test_an_attribute_is_the_text_of_its_value(cell: Any, expected: str | None) -> None:
    assert attribute_text(cell) == expected


def test_whatever_a_file_can_hold_can_be_written_as_json() -> None:
    held = {"at": EpochMs(0), "pay": Decimal("1.50"), "raw": b"\xff", "odd": Unreadable("why"), "n": math.nan}
    assert json_bytes(held) == (
        b'{"at":"1970-01-01T00:00:00Z","pay":"1.50","raw":"b\'\\\\xff\'","odd":"an unreadable value (why)","n":null}'
    )
    assert json_bytes({"big": 2**70}) == b'{"big":1180591620717411303424}'
