"""One cell of a file becomes one value of the domain: a parser per kind of column.

Every parser takes what a file can hold (text, numbers, booleans, lists, EpochMs, None), gives None for an empty cell,
and raises BadValueError, whose text says what was allowed and what came.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import orjson

from gateway.files.table import MAX_FIELD_CHARS, EpochMs
from recommender.documents import MAX_ID_BYTES
from recommender.text import fold

Parser = Callable[[Any], Any]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (a naive time is UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST_MS = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_LAST_MS = (datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_MS_FROM = 10**11  # a number from here on is milliseconds: as seconds it would be the year 5138
_PAY_LIMIT = Decimal(10) ** 15  # float64, in which pay is compared, still tells cents apart here
_PAY_DECIMALS = 12
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class BadValueError(ValueError):
    """A cell that its column does not take."""


def parse_id(value: Any) -> str | None:
    """An id: text of 1 to 256 bytes of UTF-8 without NUL as it is, or an integer as decimal text."""
    kind = type(value)
    if kind is str:
        if (len(value) if value.isascii() else len(value.encode())) > MAX_ID_BYTES:
            raise BadValueError(f"an id has 1 to {MAX_ID_BYTES} bytes; got {_shown(value)}")
        if "\0" in value:
            raise BadValueError(f"an id has no NUL byte; got {_shown(value)}")
        return value or None
    if value is None:
        return None
    if kind is int:
        return parse_id(str(value))
    raise BadValueError(f"an id is text or an integer; got {_shown(value)}")


def parse_text(value: Any) -> str | None:
    """Text as it is; a number as its digits; blank text is empty."""
    kind = type(value)
    if kind is str:
        if len(value) > MAX_FIELD_CHARS:
            raise BadValueError(f"text has at most {MAX_FIELD_CHARS} characters; got {len(value)}")
        return value if value and not value.isspace() else None
    if value is None:
        return None
    if kind is int or kind is Decimal or (kind is float and math.isfinite(value)):
        return str(value)
    raise BadValueError(f"must be text; got {_shown(value)}")


def parse_skills(value: Any) -> tuple[str, ...]:
    """A list of texts, or one text with `;` between them; trimmed, each once (as `fold` compares), in order."""
    if value is None:
        return ()
    if type(value) is str:
        parts = (parse_text(value) or "").split(";")
    elif type(value) is list:
        parts = [parse_text(part) or "" for part in value]
    else:
        raise BadValueError(f"must be a list of texts, or text with `;` between them; got {_shown(value)}")
    once: dict[str, str] = {}
    for part in parts:
        trimmed = part.strip()
        if trimmed:
            once.setdefault(fold(trimmed), trimmed)
    return tuple(once.values())


def parse_bool(value: Any) -> bool | None:
    """true, false, 1, 0, yes or no, in any case."""
    kind = type(value)
    if kind is bool:
        return bool(value)
    if value is None:
        return None
    if kind is str or kind is int:
        word = str(value).strip().lower()
        if not word:
            return None
        if word in _BOOLEANS:
            return _BOOLEANS[word]
    raise BadValueError(f"must be one of {', '.join(_BOOLEANS)}; got {_shown(value)}")


_E = TypeVar("_E", bound=enum.Enum)


def enum_parser(members: type[_E]) -> Callable[[Any], _E | None]:
    """A parser for one word of an enum, in any case."""
    words = {member.name: member for member in members}
    allowed = ", ".join(words)

    def parse(value: Any) -> _E | None:
        if value is None or value == "":
            return None
        if type(value) is str:
            word = value.strip().upper()
            if not word:
                return None
            if word in words:
                return words[word]
        raise BadValueError(f"must be one of {allowed}; got {_shown(value)}")

    return parse


def parse_currency(value: Any) -> str | None:
    """Three letters (ISO 4217), given back in upper case."""
    if value is None:
        return None
    text = value.strip() if type(value) is str else value
    if text == "":
        return None
    if type(text) is str and _CURRENCY.fullmatch(text):
        return text.upper()
    raise BadValueError(f"must be a currency of three letters (ISO 4217), such as EUR; got {_shown(value)}")


def parse_pay(value: Any) -> Decimal | None:
    """An amount of money, exactly as written: finite, not negative, below 10**15, of at most 12 decimals."""
    number = _number(value)
    if number is None:
        return None
    if not 0 <= number < _PAY_LIMIT:
        raise BadValueError(f"must be 0 or more and below 10**15; got {_shown(value)}")
    exponent = int(number.as_tuple().exponent)
    if exponent < -_PAY_DECIMALS:
        raise BadValueError(f"must have at most {_PAY_DECIMALS} decimals; got {_shown(value)}")
    # abs, because -0 is 0; and 5E+1 is 50.
    return abs(number) if exponent <= 0 else number.quantize(Decimal(1))


def parse_positive(value: Any) -> float | None:
    """A finite number above 0."""
    kind = type(value)
    number = value if kind is float or kind is int else _number(value)
    if number is None:
        return None
    try:
        result = float(number)
    except OverflowError:
        result = math.inf
    if not 0.0 < result < math.inf:
        raise BadValueError(f"must be a finite number above 0; got {_shown(value)}")
    return result


def parse_time(value: Any) -> int | None:
    """Epoch milliseconds of an ISO 8601 time or date (UTC where it says no zone) or of a number (seconds, from 1e11 on
    milliseconds); what is finer than a millisecond is cut off."""
    kind = type(value)
    if value is None:
        return None
    if kind is str:
        # Eight digits are a date to `fromisoformat` and a number to us: only text with a dash goes the fast way.
        instant = _iso_ms(value) if value[4:5] == "-" else _other_time_ms(value)
        if instant is None:
            return None
    elif kind is EpochMs:
        instant = int(value)
    else:
        number = value if kind is int else _number(value, "a time (ISO 8601, or a number of seconds since 1970)")
        assert number is not None  # noqa: S101 (None and text are dealt with above)
        instant = _number_ms(number)
    if not _FIRST_MS <= instant <= _LAST_MS:
        raise BadValueError(f"must be in the years 1 to 9999; got {_shown(value)}")
    return instant


def _iso_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        # RFC 3339 allows a small z; databases like to write " UTC".
        trimmed = text.strip().upper().removesuffix(" UTC")
        try:
            moment = datetime.fromisoformat(trimmed)
        except ValueError:
            raise BadValueError(
                f"must be a time such as 2025-03-01T12:30:00Z, a date, or a number of seconds since 1970;"
                f" got {_shown(text)}"
            ) from None
    return (moment - (_EPOCH if moment.tzinfo is not None else _NAIVE_EPOCH)) // _MILLISECOND


def _other_time_ms(text: str) -> int | None:
    """A time that does not begin with a year and a dash: a number, spaces, or another form of ISO 8601."""
    trimmed = text.strip()
    if not trimmed:
        return None
    return _number_ms(Decimal(trimmed)) if _NUMBER.fullmatch(trimmed) else _iso_ms(trimmed)


def _number_ms(number: int | Decimal) -> int:
    if not -(10**15) < number < 10**15:
        raise BadValueError(f"must be in the years 1 to 9999; got {_shown(number)}")
    return math.floor(number * 1000 if -_MS_FROM < number < _MS_FROM else number)


def _number(value: Any, what: str = "a number") -> Decimal | None:
    """A finite number, exactly; None for an empty cell."""
    kind = type(value)
    if kind is str:
        text = value.strip()
        if not text:
            return None
        if _NUMBER.fullmatch(text):
            return Decimal(text)
    elif value is None:
        return None
    elif kind is int:
        return Decimal(value)
    elif kind is float and math.isfinite(value):
        # The shortest digits that say this float: what the writer of the file meant.
        return Decimal(repr(value))
    elif kind is Decimal and value.is_finite():
        return Decimal(value)
    raise BadValueError(f"must be {what}; got {_shown(value)}")


def attribute_text(value: Any) -> str | None:
    """The text of a column that we do not know; None when it is empty. Lists and objects as JSON."""
    kind = type(value)
    if kind is str or value is None:
        return parse_text(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is Decimal:
        return str(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else None
    if kind is EpochMs:
        return _time_text(value)
    if kind is list or kind is dict:
        return parse_text(json_bytes(value).decode())
    raise BadValueError(f"cannot be kept as text; got {_shown(value)}")


def json_bytes(value: Any) -> bytes:
    """JSON of anything a file can hold; what JSON has no form for becomes text."""
    try:
        return orjson.dumps(value, default=_json_form, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS)
    except TypeError:
        # An integer beyond 64 bits.
        return json.dumps(value, default=_json_form, ensure_ascii=False, separators=(",", ":")).encode()


def _json_form(value: Any) -> str:
    return _time_text(value) if type(value) is EpochMs else str(value)


def _time_text(instant: int) -> str:
    if not _FIRST_MS <= instant <= _LAST_MS:
        return str(int(instant))
    moment = _EPOCH + instant * _MILLISECOND
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
