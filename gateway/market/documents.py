"""Talents, jobs and events as rows of the import files, with the gaps that real files have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np

from gateway.market import texts
from gateway.market.ledger import SIDES, TYPES
from gateway.market.market import STATUSES, Market
from gateway.market.places import COUNTRIES, USD_PER_UNIT, name_pool
from gateway.market.postings import NEVER_MS
from gateway.market.trades import NO_SKILL, Ints, Trades
from gateway.market.vocabulary import INDUSTRIES
from recommender.documents import BudgetType, JobStatus, Level

ROWS = 20_000  # of events at a time
_LEVELS = tuple(level.value for level in Level)
_TALENT_GAPS = {
    "title": 0.015, "description": 0.06, "skills": 0.025, "category": 0.05, "country": 0.03, "hourly_rate": 0.08,
    "level": 0.05, "created_at": 0.01, "timezone": 0.12, "years_experience": 0.2,
}  # fmt: skip
_JOB_GAPS = {
    "description": 0.03, "skills": 0.03, "category": 0.03, "country": 0.04, "remote": 0.04, "level": 0.07,
    "industry": 0.1,
}  # fmt: skip

Row = dict[str, Any]


def talent_id(place: int) -> str:
    """The marketplace's id of a talent; ids grow with time of creation."""
    return f"tal-{place + 1:06d}"


def job_id(place: int) -> str:
    """The marketplace's id of a job; ids grow with time of posting."""
    return f"job-{place + 1:06d}"


def client_id(place: int) -> str:
    """The marketplace's id of a client."""
    return f"cli-{place + 1:05d}"


def talent_rows(market: Market) -> Iterator[Row]:
    """Every talent, in order of creation."""
    people, trades = market.people, market.trades
    rng = np.random.default_rng([market.spec.seed, 101])
    for place in range(len(people)):
        occupation = trades.occupations[people.occupation[place]]
        country = COUNTRIES[people.country[place]]
        level = int(people.level[place])
        skills = _skills(trades, people.skills[place])
        title = texts.talent_title(occupation, level, rng)
        years = int((0, 3, 8)[level] + rng.integers(0, (3, 5, 15)[level]))
        industry = INDUSTRIES[int(rng.integers(len(INDUSTRIES)))]
        currency = country.currency if rng.random() < 0.7 else "USD"
        first, last = name_pool(country.names)
        row: Row = {
            "talent_id": talent_id(place),
            "title": title,
            "description": texts.talent_description(occupation, title, skills, years, industry, rng),
            "skills": skills,
            "category": occupation.category,
            "country": country.code,
            "hourly_rate": _rounded(float(people.rate[place]) / USD_PER_UNIT[currency]),
            "currency": currency,
            "level": _LEVELS[level],
            "available": bool(market.available[place]),
            "created_at": _moment(int(people.created_ms[place])),
            "name": f"{first[int(rng.integers(len(first)))]} {last[int(rng.integers(len(last)))]}",
            "timezone": country.timezone,
            "years_experience": years,
        }
        yield _with_gaps(row, _TALENT_GAPS, rng)


def job_rows(market: Market) -> Iterator[Row]:
    """Every job, in order of posting."""
    postings, trades = market.postings, market.trades
    rng = np.random.default_rng([market.spec.seed, 102])
    companies = [texts.company_name(client, rng) for client in range(len(market.clients))]
    for place in range(len(postings)):
        occupation = trades.occupations[postings.occupation[place]]
        client = int(postings.client[place])
        country = COUNTRIES[postings.country[place]]
        industry = INDUSTRIES[market.clients.industry[client]]
        skills = _skills(trades, postings.skills[place])
        level, months = int(postings.level[place]), int(postings.months[place])
        remote, status = bool(postings.remote[place]), STATUSES[market.status[place]]
        currency = country.currency if rng.random() < 0.85 else "USD"
        low, high = _budget(market, place, currency, rng)
        expires_ms = int(postings.expires_ms[place])
        row: Row = {
            "job_id": job_id(place),
            "client_id": client_id(client),
            "title": texts.job_title(occupation, level, skills, industry, months, rng),
            "description": texts.job_description(occupation, companies[client], industry, skills, remote, rng),
            "skills": skills,
            "category": occupation.category,
            "country": country.code,
            "remote": remote,
            "budget_type": (BudgetType.HOURLY if postings.hourly[place] else BudgetType.FIXED).value,
            "budget_min": low,
            "budget_max": high,
            "currency": currency,
            "level": _LEVELS[level],
            "status": status.value,
            "posted_at": None if status is JobStatus.DRAFT else _moment(int(postings.posted_ms[place])),
            "expires_at": None if expires_ms == NEVER_MS else _moment(expires_ms),
            "client_name": companies[client],
            "industry": industry,
            "contract_months": months or None,
        }
        yield _with_gaps(row, _JOB_GAPS, rng)


def event_rows(market: Market) -> Iterator[list[Row]]:
    """Every event in order of time, in batches, so that a long log is never in memory as rows."""
    events, prefix = market.events, market.spec.fingerprint
    actors, types = [side.value for side in SIDES], [kind.value for kind in TYPES]
    for start in range(0, len(events), ROWS):
        part = events.take(np.arange(start, min(start + ROWS, len(events))))
        columns = (part.talent.tolist(), part.job.tolist(), part.type.tolist(), part.actor.tolist())
        yield [
            {
                "event_id": f"{prefix}-{number:09d}",
                "actor": actors[actor],
                "type": types[kind],
                "talent_id": talent_id(talent),
                "job_id": job_id(job),
                "occurred_at": _moment(at_ms),
                "value": None,
                "recommendation_id": None,
            }
            for number, (talent, job, kind, actor, at_ms) in enumerate(
                zip(*columns, part.at_ms.tolist(), strict=True), start + 1
            )
        ]


def _skills(trades: Trades, ids: Ints) -> list[str]:
    return [trades.skill_names[skill] for skill in ids.tolist() if skill != NO_SKILL]


def _budget(market: Market, place: int, currency: str, rng: np.random.Generator) -> tuple[int | None, int | None]:
    """Both ends of what a job pays, in its currency; some say one end alone, some nothing."""
    usd = float(market.postings.pay[place])
    if np.isnan(usd):
        return None, None
    total = usd / USD_PER_UNIT[currency]
    if not market.postings.hourly[place]:
        total *= float(market.postings.hours[place])
    low, high = _rounded(total * rng.uniform(0.75, 0.95)), _rounded(total * rng.uniform(1.05, 1.4))
    said = rng.random()
    return (None, high) if said < 0.08 else (low, None) if said < 0.12 else (low, high)


def _rounded(amount: float) -> int:
    """As people write it: whole units below 30, then fives, fifties and five hundreds."""
    step = 1 if amount < 30 else 5 if amount < 300 else 50 if amount < 5_000 else 500
    return max(step, round(amount / step) * step)


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)


def _with_gaps(row: Row, gaps: dict[str, float], rng: np.random.Generator) -> Row:
    missing = rng.random(len(gaps)) < np.array(list(gaps.values()))
    for gone, name in zip(missing.tolist(), gaps, strict=True):
        if gone:
            row[name] = [] if name == "skills" else None
    return row
