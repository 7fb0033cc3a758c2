"""The semantic scalars: times as RFC 3339 text over epoch milliseconds, amounts as decimal text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from recommender.errors import BadInputError

DateTime = NewType("DateTime", int)
"""Epoch milliseconds, UTC: what the domain keeps; RFC 3339 text on the wire."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII
)
_DECIMAL = re.compile(r"-?\d{1,15}(\.\d{1,6})?", re.ASCII)
_MILLISECOND = timedelta(milliseconds=1)


def parse_datetime(value: object) -> DateTime:
    """Epoch milliseconds of RFC 3339 text; a time without an offset is UTC. Finer digits than ms are cut off."""
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BadInputError(f'DateTime: expected RFC 3339 text such as "2026-01-31T09:30:00Z"; got {_shown(value)}')
    *digits, fraction, offset = match.groups()
    try:
        moment = datetime(*map(int, digits), tzinfo=UTC)  # type: ignore[misc, arg-type]
        shift = _offset(offset)
        millis = (moment - shift - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError) as error:
        raise BadInputError(f"DateTime: expected a day and a time that exist; got {_shown(value)}") from error
    return DateTime(millis + int((fraction or "")[:3].ljust(3, "0")))


def _offset(text: str | None) -> timedelta:
    if text is None or text in "Zz":
        return timedelta()
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    return (1 if text[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes)


def serialize_datetime(value: int) -> str:
    """RFC 3339 text in UTC, with milliseconds only where there are any."""
    text = (_EPOCH + timedelta(milliseconds=value)).isoformat(timespec="milliseconds" if value % 1000 else "seconds")
    return text.removesuffix("+00:00") + "Z"


def parse_decimal(value: object) -> Decimal:
    """An exact amount from text, or from an integer; a binary fraction would not be exact."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise BadInputError(
            f'Decimal: expected text such as "42.50", with at most 15 digits and 6 decimals; got {_shown(value)}'
        )
    return Decimal(value)


def serialize_decimal(value: Decimal) -> str:
    """Plain digits: no exponent."""
    return f"{value:f}"


def decimal_from_float(value: float) -> Decimal:
    """The shortest decimal that reads back as this float, without a trailing `.0`."""
    return Decimal(repr(value).removesuffix(".0"))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


SCALARS: dict[object, ScalarDefinition] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description='A moment as RFC 3339 text, e.g. `"2026-01-31T09:30:00Z"`. Answers are in UTC.',
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=serialize_datetime,
        parse_value=parse_datetime,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description='An exact decimal number as text, e.g. `"42.50"`. Input may also be an integer, e.g. `40`.',
        serialize=serialize_decimal,
        parse_value=parse_decimal,
    ),
}
