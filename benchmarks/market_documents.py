"""A demo market's talents and jobs as documents, for benchmarks that do without a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from gateway.market.documents import job_rows, talent_rows
from gateway.market.market import Market
from recommender.documents import Budget, BudgetType, Document, Job, Kind, Level, Money, Talent

_TALENT_ATTRIBUTES = ("name", "timezone", "years_experience")
_JOB_ATTRIBUTES = ("client_name", "industry", "contract_months")


def documents_of(market: Market) -> dict[Kind, Sequence[Document]]:
    """All of them, in order of their ordinals, which count from 1 as ids do."""
    return {
        Kind.TALENT: [_talent(place, row) for place, row in enumerate(talent_rows(market), 1)],
        Kind.JOB: [_job(place, row) for place, row in enumerate(job_rows(market), 1)],
    }


def _shared(row: dict[str, Any], attributes: Sequence[str]) -> dict[str, Any]:
    return {
        "title": row["title"],
        "description": row["description"],
        "skills": tuple(row["skills"] or ()),
        "category": row["category"],
        "country": row["country"],
        "level": Level(row["level"]) if row["level"] else None,
        "attributes": {name: str(row[name]) for name in attributes if row.get(name) is not None},
    }


def _talent(ordinal: int, row: dict[str, Any]) -> Talent:
    rate = row["hourly_rate"]
    return Talent(
        ordinal=ordinal,
        talent_id=row["talent_id"],
        hourly_rate=None if rate is None else Money(Decimal(rate), row["currency"]),
        **_shared(row, _TALENT_ATTRIBUTES),
    )


def _job(ordinal: int, row: dict[str, Any]) -> Job:
    least, most = (None if row[name] is None else Decimal(row[name]) for name in ("budget_min", "budget_max"))
    kind = row.get("budget_type")
    return Job(
        ordinal=ordinal,
        job_id=row["job_id"],
        client_id=row["client_id"],
        is_remote=row["remote"],
        budget=None if not kind else Budget(BudgetType(kind), least, most, row["currency"]),
        **_shared(row, _JOB_ATTRIBUTES),
    )
