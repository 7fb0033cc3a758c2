"""Rows become patches and events: which column is which field, and what each one takes. The only place that knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from gateway.files.table import Row
from gateway.files.values import (
    BadValueError,
    Parser,
    attribute_text,
    enum_parser,
    parse_bool,
    parse_currency,
    parse_id,
    parse_pay,
    parse_positive,
    parse_skills,
    parse_text,
    parse_time,
)
from recommender.documents import Budget, BudgetType, Document, Job, JobStatus, Kind, Level, Money, Side, Talent
from recommender.events import RULES, EventType, actor_of

_MAX_PLANS = 1024  # sets of JSON keys whose plan is remembered


class BadRowError(ValueError):
    """A row that is not taken; its text names the column and says what was allowed and what came."""


class Column(NamedTuple):
    """One column of talents or jobs: the field it fills, its parser, and what an empty cell makes of the field."""

    field: str
    parse: Parser
    empty: Any = None


@dataclass(frozen=True)
class DocumentColumns:
    """The columns of one kind of document. Every other one is an attribute.

    pay: columns that make up one field together; see `pay_field`.
    """

    kind: Kind
    id: str
    columns: Mapping[str, Column]
    pay: Mapping[str, Parser]


_SHARED = {
    "title": Column("title", parse_text),
    "description": Column("description", parse_text),
    "skills": Column("skills", parse_skills, ()),
    "category": Column("category", parse_text),
    "country": Column("country", parse_text),
    "level": Column("level", enum_parser(Level)),
}
TALENT_COLUMNS = DocumentColumns(
    Kind.TALENT,
    "talent_id",
    {
        **_SHARED,
        "available": Column("is_available", parse_bool, True),
        "created_at": Column("created_at_ms", parse_time),
    },
    {"hourly_rate": parse_pay, "currency": parse_currency},
)
JOB_COLUMNS = DocumentColumns(
    Kind.JOB,
    "job_id",
    {
        **_SHARED,
        "client_id": Column("client_id", parse_id),
        "remote": Column("is_remote", parse_bool),
        "status": Column("status", enum_parser(JobStatus), JobStatus.OPEN),
        "posted_at": Column("posted_at_ms", parse_time),
        "expires_at": Column("expires_at_ms", parse_time),
    },
    {
        "budget_type": enum_parser(BudgetType),
        "budget_min": parse_pay,
        "budget_max": parse_pay,
        "currency": parse_currency,
    },
)
DOCUMENT_COLUMNS = {Kind.TALENT: TALENT_COLUMNS, Kind.JOB: JOB_COLUMNS}
_UPDATED_AT = "updated_at"

EVENT_REQUIRED = ("talent_id", "job_id", "type")
EVENT_COLUMNS = (*EVENT_REQUIRED, "event_id", "actor", "occurred_at", "value", "recommendation_id")


class DocumentRow(NamedTuple):
    """What a row says about one document.

    fields: as in Patch, without the pay.
    pay: the pay columns that the row has, parsed; empty when it has none.
    needs_known_pay: it has some of them: what it leaves out keeps its value.
    """

    id: str
    fields: dict[str, Any]
    pay: Mapping[str, Any]
    needs_known_pay: bool
    updated_at_ms: int | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where each column of a table stands: worked out once per set of columns, not per row."""

    id_at: int
    steps: tuple[tuple[int, str, Column], ...]
    pay: tuple[tuple[int, str, Parser], ...]
    updated_at: int | None
    attributes: tuple[tuple[int, str], ...]


class DocumentRows:
    """Reads the rows of talents or jobs."""

    def __init__(self, known: DocumentColumns) -> None:
        self._known = known
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def parse(self, row: Row) -> DocumentRow:
        """What the row says. Raises BadRowError for the first cell that its column does not take."""
        plan = self._plans.get(row.columns) or self._plan(row.columns)
        values = row.values
        column = self._known.id
        fields: dict[str, Any] = {}
        try:
            document_id = parse_id(values[plan.id_at]) if plan.id_at >= 0 else None
            if document_id is None:
                raise BadValueError("is missing, and a row needs it")
            for at, column, known in plan.steps:  # noqa: B007 (the except clause names it)
                value = known.parse(values[at])
                fields[known.field] = known.empty if value is None else value
            pay = {}
            for at, column, parse in plan.pay:
                pay[column] = parse(values[at])
            updated_at_ms = None
            if plan.updated_at is not None:
                column = _UPDATED_AT
                updated_at_ms = parse_time(values[plan.updated_at])
            if plan.attributes:
                attributes = fields["attributes"] = {}
                for at, column in plan.attributes:
                    attributes[column] = attribute_text(values[at])
        except BadValueError as error:
            raise BadRowError(f"{column}: {error}") from error
        return DocumentRow(document_id, fields, pay, 0 < len(pay) < len(self._known.pay), updated_at_ms)

    def _plan(self, columns: tuple[str, ...]) -> _Plan:
        known = self._known
        places = {column: at for at, column in enumerate(columns) if column}
        taken = {known.id, _UPDATED_AT, *known.columns, *known.pay}
        plan = _Plan(
            id_at=places.get(known.id, -1),
            steps=tuple((places[name], name, column) for name, column in known.columns.items() if name in places),
            pay=tuple((places[name], name, parse) for name, parse in known.pay.items() if name in places),
            updated_at=places.get(_UPDATED_AT),
            attributes=tuple((at, column) for column, at in places.items() if column not in taken),
        )
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[columns] = plan
        return plan


def pay_field(kind: Kind, pay: Mapping[str, Any], known: Document | None, default_currency: str) -> dict[str, Any]:
    """The field that the pay columns of a row make together, as Patch wants it; {} when there is none of them.

    known: the document as it is kept; a column that is not in `pay` keeps what it says there.
    Raises BadRowError when the columns contradict each other.
    """
    if not pay:
        return {}
    if kind is Kind.TALENT:
        return {"hourly_rate": _rate(pay, known.hourly_rate if isinstance(known, Talent) else None, default_currency)}
    return {"budget": _budget(pay, known.budget if isinstance(known, Job) else None, default_currency)}


def _rate(pay: Mapping[str, Any], known: Money | None, default_currency: str) -> Money | None:
    amount: Decimal | None = pay.get("hourly_rate", known and known.amount)
    currency: str | None = pay.get("currency", known and known.currency)
    return None if amount is None else Money(amount, currency or default_currency)


def _budget(pay: Mapping[str, Any], known: Budget | None, default_currency: str) -> Budget | None:
    low: Decimal | None = pay.get("budget_min", known and known.min)
    high: Decimal | None = pay.get("budget_max", known and known.max)
    budget_type: BudgetType | None = pay.get("budget_type", known and known.type)
    currency: str | None = pay.get("currency", known and known.currency)
    if low is None and high is None:
        # A type alone says nothing about pay, and a range open at both ends would match every filter.
        return None
    if low is not None and high is not None and low > high:
        raise BadRowError(f"budget_min: must not be above budget_max; got {low} and {high}")
    if budget_type is None:
        if "budget_type" in pay:
            allowed = ", ".join(BudgetType.__members__)
            raise BadRowError(f"budget_type: is needed beside an amount, one of {allowed}; got nothing")
        # A marketplace whose files have no such column knows one kind of pay: what the whole job is worth.
        budget_type = BudgetType.FIXED
    return Budget(budget_type, low, high, currency or default_currency)


class EventRow(NamedTuple):
    """What a row says about one event, in the order of Event's fields; `event_id` None where the row has none."""

    event_id: str | None
    actor: Side
    type: EventType
    talent_id: str
    job_id: str
    occurred_at_ms: int | None
    value: float | None
    recommendation_id: str | None


class EventRows:
    """Reads the rows of events. Columns that events do not have are passed over."""

    def __init__(self) -> None:
        self._pickers: dict[tuple[str, ...], Callable[[Any], tuple[Any, ...]]] = {}
        self._kinds: dict[tuple[Any, Any], tuple[EventType, Side]] = {}

    def parse(self, row: Row) -> EventRow:
        """What the row says. Raises BadRowError for the first cell that its column does not take."""
        pick = self._pickers.get(row.columns) or self._picker(row.columns)
        talent, job, kind, event, actor, occurred_at, value, recommendation = pick(row.values)
        column = "talent_id"
        try:
            talent_id = parse_id(talent)
            if talent_id is None:
                raise BadValueError("is missing, and an event needs it")
            column = "job_id"
            job_id = parse_id(job)
            if job_id is None:
                raise BadValueError("is missing, and an event needs it")
            known = (
                self._kinds.get((kind, actor)) if type(kind) is str and (actor is None or type(actor) is str) else None
            )
            if known is None:
                known = self._kind(kind, actor)
            column = "occurred_at"
            occurred_at_ms = parse_time(occurred_at)
            column = "value"
            weight = parse_positive(value)
            column = "event_id"
            event_id = parse_id(event)
            column = "recommendation_id"
            recommendation_id = parse_id(recommendation)
        except BadValueError as error:
            raise BadRowError(f"{column}: {error}") from error
        return EventRow(event_id, known[1], known[0], talent_id, job_id, occurred_at_ms, weight, recommendation_id)

    def _kind(self, kind: Any, actor: Any) -> tuple[EventType, Side]:
        """Type and actor of an event, remembered by how they were spelled."""
        try:
            event_type = _parse_type(kind)
        except BadValueError as error:
            raise BadRowError(f"type: {error}") from error
        if event_type is None:
            raise BadRowError(f"type: is missing, and an event needs it; allowed: {', '.join(EventType.__members__)}")
        try:
            side = _parse_side(actor)
        except BadValueError as error:
            raise BadRowError(f"actor: {error}") from error
        rule = RULES[event_type].actor
        if side is not None and rule is not None and side is not rule:
            raise BadRowError(f"actor: {event_type.name} is done by {rule.name}; got {actor!r}")
        known = (event_type, side or actor_of(event_type))
        if len(self._kinds) < _MAX_PLANS:
            self._kinds[kind, actor] = known
        return known

    def _picker(self, columns: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
        """A function from a row's values to those of EVENT_COLUMNS, None for an absent one."""
        places = [columns.index(column) if column in columns else None for column in EVENT_COLUMNS]

        def pick(values: Any) -> tuple[Any, ...]:
            return tuple([None if at is None else values[at] for at in places])

        if len(self._pickers) >= _MAX_PLANS:
            self._pickers.clear()
        self._pickers[columns] = pick
        return pick


_parse_type = enum_parser(EventType)
_parse_side = enum_parser(Side)
