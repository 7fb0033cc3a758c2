"""Documents as stored JSON: only what they have, under the names of their fields, and patches applied to that form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from recommender.documents import Budget, BudgetType, Document, Job, JobStatus, Kind, Level, Money, Patch, Talent
from recommender.errors import BadInputError

Stored = dict[str, Any]  # what JSON gives back; a field that is absent has its default

UPDATED_AT = "updated_at_ms"


@dataclass(frozen=True, slots=True)
class _Form:
    """How one field is stored: to JSON and back, and the value that needs no storing."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    default: Any = None


def _same(value: Any) -> Any:
    return value


def _decimal(number: Decimal | None) -> str | None:
    """Plain digits, the same for equal numbers: 40, 40.0 and 4E+1 are all "40"."""
    if number is None:
        return None
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _money(money: Money) -> list[Any]:
    return [_decimal(money.amount), money.currency]


def _money_from(stored: list[Any]) -> Money:
    return Money(Decimal(stored[0]), stored[1])


def _budget(budget: Budget) -> list[Any]:
    return [budget.type.value, _decimal(budget.min), _decimal(budget.max), budget.currency]


def _budget_from(stored: list[Any]) -> Budget:
    kind, low, high, currency = stored
    return Budget(
        BudgetType(kind), None if low is None else Decimal(low), None if high is None else Decimal(high), currency
    )


_PLAIN = _Form(_same, _same)
_LEVEL = _Form(lambda level: level.value, Level)
_SHARED = {
    "title": _PLAIN,
    "description": _PLAIN,
    "skills": _Form(list, tuple),
    "category": _PLAIN,
    "country": _PLAIN,
    "level": _LEVEL,
}
_FORMS: dict[Kind, dict[str, _Form]] = {
    Kind.TALENT: {
        **_SHARED,
        "hourly_rate": _Form(_money, _money_from),
        "is_available": _Form(bool, bool, default=True),
        "created_at_ms": _PLAIN,
    },
    Kind.JOB: {
        **_SHARED,
        "client_id": _PLAIN,
        "is_remote": _Form(bool, bool),
        "budget": _Form(_budget, _budget_from),
        "status": _Form(lambda status: status.value, JobStatus, default=JobStatus.OPEN),
        "posted_at_ms": _PLAIN,
        "expires_at_ms": _PLAIN,
    },
}
_BUILD: dict[Kind, Callable[..., Document]] = {Kind.TALENT: Talent, Kind.JOB: Job}
_ID = {Kind.TALENT: "talent_id", Kind.JOB: "job_id"}


def patched(kind: Kind, stored: Stored, patch: Patch) -> Stored:
    """The stored form after a patch; a new dictionary. Raises KeyError for a field that the kind does not have."""
    result = dict(stored)
    forms = _FORMS[kind]
    for name, value in patch.fields.items():
        if name == "attributes":
            _patch_attributes(result, value)
            continue
        form = forms[name]
        if value is None or value in ("", (), []) or value == form.default:
            result.pop(name, None)
        else:
            result[name] = form.encode(value)
    if patch.updated_at_ms is not None:
        result[UPDATED_AT] = patch.updated_at_ms
    return result


def stored_from_document(kind: Kind, document: Document) -> Stored:
    """The stored form of a document: what `document_from_stored` makes it of."""
    fields = {name: getattr(document, name) for name in (*_FORMS[kind], "attributes")}
    return patched(kind, {}, Patch(document.id, fields, document.updated_at_ms))


def _patch_attributes(result: Stored, changes: Mapping[str, str | None] | None) -> None:
    """Merge; a None (or empty) value removes one attribute, and None instead of a mapping removes all."""
    kept = dict(result.get("attributes", {})) if changes is not None else {}
    for name, value in (changes or {}).items():
        if value is None or value == "":
            kept.pop(name, None)
        else:
            kept[name] = value
    if kept:
        result["attributes"] = kept
    else:
        result.pop("attributes", None)


def content(stored: Stored) -> Stored:
    """The stored form without its bookkeeping: what makes two states of a document different."""
    return {name: value for name, value in stored.items() if name != UPDATED_AT}


def json_from(stored: Stored) -> bytes:
    """Stored form to JSON. Raises BadInputError for text that is not Unicode (a lone surrogate)."""
    try:
        return orjson.dumps(stored)
    except orjson.JSONEncodeError as error:
        raise BadInputError(f"a document must hold valid Unicode text and 64-bit integers; got {error}") from error


def stored_from(json: bytes) -> Stored:
    """JSON to stored form."""
    stored: Stored = orjson.loads(json)
    return stored


def document_from(kind: Kind, ordinal: int, document_id: str, json: bytes) -> Document:
    """A document from its row."""
    # Many documents are bare: known from events alone.
    return document_from_stored(kind, ordinal, document_id, {} if json == b"{}" else orjson.loads(json))


def document_from_stored(kind: Kind, ordinal: int, document_id: str, stored: Stored) -> Document:
    """A document from its stored form."""
    fields: dict[str, Any] = {"ordinal": ordinal, _ID[kind]: document_id}
    forms = _FORMS[kind]
    for name, value in stored.items():
        form = forms.get(name, _PLAIN)
        fields[name] = form.decode(value)
    return _BUILD[kind](**fields)
