"""Rows as patches and events: which column is which field, what is kept, cleared, rejected."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.files.rows import (
    EVENT_COLUMNS,
    JOB_COLUMNS,
    TALENT_COLUMNS,
    BadRowError,
    DocumentRow,
    DocumentRows,
    EventRow,
    EventRows,
    pay_field,
)
from gateway.files.table import Row
from recommender.documents import Budget, BudgetType, JobStatus, Kind, Level, Money, Side
from recommender.events import RULES, EventType
from tests import factories

DAY_START_MS = 1_740_787_200_000


def row(**cells: Any) -> Row:
    return Row(2, tuple(cells), list(cells.values()))


def talent(**cells: Any) -> DocumentRow:
    return DocumentRows(TALENT_COLUMNS).parse(row(**cells))


def job(**cells: Any) -> DocumentRow:
    return DocumentRows(JOB_COLUMNS).parse(row(**cells))


def event(**cells: Any) -> EventRow:
    return EventRows().parse(row(**{"talent_id": "t1", "job_id": "j1", "type": "VIEW", **cells}))


def test_every_column_of_a_talent_becomes_its_field() -> None:
    said = talent(
        talent_id="t1",
        title="Gopher",
        description="Writes Go",
        skills="Go;SQL",
        category="Software",
        country="DE",
        hourly_rate="50.10",
        currency="eur",
        level="expert",
        available="no",
        created_at="2025-03-01",
        updated_at="2025-03-01T00:00:01Z",
    )
    assert said == DocumentRow(
        "t1",
        {
            "title": "Gopher",
            "description": "Writes Go",
            "skills": ("Go", "SQL"),
            "category": "Software",
            "country": "DE",
            "level": Level.EXPERT,
            "is_available": False,
            "created_at_ms": DAY_START_MS,
        },
        {"hourly_rate": Decimal("50.10"), "currency": "EUR"},
        needs_known_pay=False,
        updated_at_ms=DAY_START_MS + 1000,
    )


def test_every_column_of_a_job_becomes_its_field() -> None:
    said = job(
        job_id=7,
        client_id=9,
        title="Build it",
        skills=["Go"],
        remote=True,
        budget_type="hourly",
        budget_min=20,
        budget_max="30.5",
        currency="USD",
        level="Entry",
        status="paused",
        posted_at=1_740_787_200,
        expires_at="1740787200000",
    )
    assert (said.id, said.fields) == (
        "7",
        {
            "client_id": "9",
            "title": "Build it",
            "skills": ("Go",),
            "is_remote": True,
            "level": Level.ENTRY,
            "status": JobStatus.PAUSED,
            "posted_at_ms": DAY_START_MS,
            "expires_at_ms": DAY_START_MS,
        },
    )
    assert pay_field(Kind.JOB, said.pay, None, "EUR") == {
        "budget": Budget(BudgetType.HOURLY, Decimal(20), Decimal("30.5"), "USD")
    }


def test_an_absent_column_says_nothing_and_an_empty_cell_clears() -> None:
    assert (talent(talent_id="t1").fields, talent(talent_id="t1").pay) == ({}, {})
    empty = talent(talent_id="t1", title="", skills=None, available="", level=" ", hourly_rate="", currency="")
    assert empty.fields == {"title": None, "skills": (), "is_available": True, "level": None}
    assert pay_field(Kind.TALENT, empty.pay, None, "USD") == {"hourly_rate": None}
    assert job(job_id="j1", status=None, remote="", client_id="").fields == {
        "status": JobStatus.OPEN,
        "is_remote": None,
        "client_id": None,
    }


def test_unknown_columns_are_attributes_and_an_empty_one_is_absent() -> None:
    said = talent(talent_id="t1", city="Köln", score=4.5, tags=["a"], gone="", **{"": "no name"})
    assert said.fields == {"attributes": {"city": "Köln", "score": "4.5", "tags": '["a"]', "gone": None}}


def test_a_column_of_the_other_kind_is_an_attribute() -> None:
    assert talent(talent_id="t1", status="OPEN").fields == {"attributes": {"status": "OPEN"}}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"title": "x"}, "talent_id: is missing, and a row needs it"),
        ({"talent_id": ""}, "talent_id: is missing, and a row needs it"),
        ({"talent_id": 1.0}, "talent_id: an id is text or an integer; got 1.0"),
        ({"talent_id": "t", "level": "guru"}, "level: must be one of ENTRY, INTERMEDIATE, EXPERT; got 'guru'"),
        ({"talent_id": "t", "hourly_rate": "-1"}, "hourly_rate: must be 0 or more and below 10**15; got '-1'"),
        (
            {"talent_id": "t", "currency": "EURO"},
            "currency: must be a currency of three letters (ISO 4217), such as EUR;",
        ),
        ({"talent_id": "t", "updated_at": "x"}, "updated_at: must be a time such as 2025-03-01T12:30:00Z, a date, or"),
        ({"talent_id": "t", "raw": b"x"}, "raw: cannot be kept as text; got b'x'"),
        ({"talent_id": "t", "title": True}, "title: must be text; got True"),
    ],
)
def test_a_bad_cell_rejects_its_row_and_the_reason_names_the_column(cells: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError) as refused:
        talent(**cells)
    assert str(refused.value).startswith(reason)


def test_an_unknown_job_status_is_rejected_with_those_allowed() -> None:
    with pytest.raises(BadRowError, match=r"^status: must be one of DRAFT, OPEN, PAUSED, FILLED, CLOSED; got 'gone'$"):
        job(job_id="j", status="gone")


def test_an_amount_without_a_currency_is_in_the_default_one() -> None:
    for cells in ({"hourly_rate": "5"}, {"hourly_rate": "5", "currency": ""}):
        assert pay_field(Kind.TALENT, talent(talent_id="t", **cells).pay, None, "CHF") == {
            "hourly_rate": Money(Decimal(5), "CHF")
        }


def test_pay_columns_that_are_left_out_keep_what_is_known() -> None:
    known_talent = factories.talent(hourly_rate=Money(Decimal(50), "EUR"))
    known_job = factories.job(budget=Budget(BudgetType.HOURLY, Decimal(20), Decimal(30), "EUR"))
    rate = talent(talent_id="t1", hourly_rate="60")
    assert rate.needs_known_pay
    assert pay_field(Kind.TALENT, rate.pay, known_talent, "USD") == {"hourly_rate": Money(Decimal(60), "EUR")}
    currency = talent(talent_id="t1", currency="CHF")
    assert pay_field(Kind.TALENT, currency.pay, known_talent, "USD") == {"hourly_rate": Money(Decimal(50), "CHF")}
    more = job(job_id="j1", budget_max="40")
    assert pay_field(Kind.JOB, more.pay, known_job, "USD") == {
        "budget": Budget(BudgetType.HOURLY, Decimal(20), Decimal(40), "EUR")
    }
    with pytest.raises(BadRowError, match=r"^budget_min: must not be above budget_max; got 20 and 10$"):
        pay_field(Kind.JOB, job(job_id="j1", budget_max="10").pay, known_job, "USD")
    open_end = pay_field(Kind.JOB, job(job_id="j1", budget_min="").pay, known_job, "USD")
    assert open_end == {"budget": Budget(BudgetType.HOURLY, None, Decimal(30), "EUR")}
    assert not talent(talent_id="t1", hourly_rate="60", currency="EUR").needs_known_pay
    assert not talent(talent_id="t1", title="x").needs_known_pay


def test_a_budget_needs_its_type_where_the_file_has_the_column_and_is_fixed_where_it_has_not() -> None:
    with pytest.raises(
        BadRowError, match=r"^budget_type: is needed beside an amount, one of HOURLY, FIXED; got nothing$"
    ):
        pay_field(Kind.JOB, job(job_id="j", budget_type="", budget_min="5").pay, None, "USD")
    assert pay_field(Kind.JOB, job(job_id="j", budget_min="5").pay, None, "USD") == {
        "budget": Budget(BudgetType.FIXED, Decimal(5), None, "USD")
    }


def test_a_budget_type_without_an_amount_is_no_budget() -> None:
    said = job(job_id="j", budget_type="HOURLY", budget_min="", budget_max="", currency="USD")
    assert pay_field(Kind.JOB, said.pay, None, "USD") == {"budget": None}


def test_every_column_of_an_event_becomes_its_field() -> None:
    assert event(
        event_id="e1", actor="client", type="invite", occurred_at="2025-03-01", value="2.5", recommendation_id="r.1"
    ) == EventRow("e1", Side.CLIENT, EventType.INVITE, "t1", "j1", DAY_START_MS, 2.5, "r.1")


def test_ids_and_type_are_enough_for_an_event() -> None:
    bare = EventRow(None, Side.TALENT, EventType.VIEW, "t1", "j1", None, None, None)
    assert event() == bare
    assert event(event_id="", actor="", occurred_at="", value="", recommendation_id=None, anything="else") == bare
    assert event(talent_id=7, job_id=8)[3:5] == ("7", "8")


@pytest.mark.parametrize("kind", EventType)
def test_the_actor_follows_from_the_type_and_another_one_is_rejected(kind: EventType) -> None:
    rule = RULES[kind].actor
    assert event(type=kind.value.lower(), actor=None).actor is (rule or Side.TALENT)
    for side in Side:
        if rule in (None, side):
            assert event(type=kind.value, actor=side.value).actor is side
        else:
            with pytest.raises(BadRowError, match=rf"^actor: {kind.name} is done by {rule.name if rule else ''}; got "):
                event(type=kind.value, actor=side.value)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"talent_id": None}, "talent_id: is missing, and an event needs it"),
        ({"job_id": ""}, "job_id: is missing, and an event needs it"),
        ({"job_id": 1.5}, "job_id: an id is text or an integer; got 1.5"),
        ({"type": "LIKE"}, "type: must be one of IMPRESSION, VIEW, SAVE, UNSAVE, APPLY, WITHDRAW, DISMISS, UNDISMISS"),
        ({"type": ""}, "type: is missing, and an event needs it; allowed: IMPRESSION, VIEW,"),
        ({"type": None}, "type: is missing, and an event needs it; allowed: IMPRESSION, VIEW,"),
        ({"type": ["VIEW"]}, "type: must be one of"),
        ({"actor": "robot"}, "actor: must be one of TALENT, CLIENT; got 'robot'"),
        ({"actor": 1}, "actor: must be one of TALENT, CLIENT; got 1"),
        ({"value": "0"}, "value: must be a finite number above 0; got '0'"),
        ({"value": "nan"}, "value: must be a number; got 'nan'"),
        ({"occurred_at": "soon"}, "occurred_at: must be a time such as"),
        ({"event_id": "x" * 257}, "event_id: an id has 1 to 256 bytes; got 'xxx"),
        ({"recommendation_id": 1.5}, "recommendation_id: an id is text or an integer; got 1.5"),
    ],
)
def test_a_bad_cell_of_an_event_rejects_it_and_the_reason_names_the_column(cells: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRowError) as refused:
        event(**cells)
    assert str(refused.value).startswith(reason)
    assert len(str(refused.value)) < 300


def test_rows_with_ever_new_keys_fill_no_memory() -> None:
    documents, events = DocumentRows(TALENT_COLUMNS), EventRows()
    for number in range(3000):
        documents.parse(row(**{"talent_id": "t", f"column{number}": "x"}))
        events.parse(row(talent_id="t", job_id="j", type="VIEW", **{f"column{number}": "x"}))
    assert len(documents._plans) <= 1024
    assert len(events._pickers) <= 1024


def test_the_documentation_lists_every_column_of_every_kind_and_no_other() -> None:
    text = (Path(__file__).parents[2] / "docs" / "importing.md").read_text()
    listed = {
        part.partition("\n")[0]: re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) for part in text.split("\n### ")[1:]
    }
    for name, known in (("Talents", TALENT_COLUMNS), ("Jobs", JOB_COLUMNS)):
        assert sorted(listed[name]) == sorted([known.id, *known.columns, *known.pay, "updated_at"])
    assert sorted(listed["Events"]) == sorted(EVENT_COLUMNS)
