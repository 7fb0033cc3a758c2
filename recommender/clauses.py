"""Which clause of a filter keeps a document out, by the name that the GraphQL API has for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from recommender.documents import JobStatus
from recommender.filters import AttributeFilter, Filter, JobFilter, PayFilter, TalentFilter, TermFilter
from recommender.mirror import Mirror


def failing_clause(wanted: Filter, items: Mirror, ordinal: int, as_of_ms: int) -> tuple[str, str] | None:
    """The first clause that a document does not satisfy by itself: its name, and what it asks for in words.

    None when it satisfies each.
    """
    for name, asked, clause in _clauses(wanted):
        if ordinal not in items.matching(clause, as_of_ms):
            return name, asked
    return None


def _clauses(wanted: Filter) -> Iterator[tuple[str, str, Filter]]:
    """Each clause by itself: name, what it asks for, a filter of nothing else."""

    def alone(**fields: Any) -> Filter:
        if isinstance(wanted, TalentFilter):
            return TalentFilter(**fields)
        return JobFilter(**{"statuses": tuple(JobStatus), **fields})

    if wanted.ids is not None:
        yield "ids", _listed(wanted.ids), alone(ids=wanted.ids)
    if wanted.exclude_ids:
        yield "excludeIds", _listed(wanted.exclude_ids), alone(exclude_ids=wanted.exclude_ids)
    for name in ("all", "any", "none"):
        terms: tuple[str, ...] = getattr(wanted.skills, name)
        if terms:
            yield f"skills.{name}", _listed(terms), alone(skills=TermFilter(**{name: terms}))
    if wanted.categories:
        yield "categories", _listed(wanted.categories), alone(categories=wanted.categories)
    if wanted.countries:
        yield "countries", _listed(wanted.countries), alone(countries=wanted.countries)
    if wanted.levels:
        yield "levels", _listed(level.value for level in wanted.levels), alone(levels=wanted.levels)
    if wanted.pay is not None:
        name = "budget" if isinstance(wanted, JobFilter) else "hourlyRate"
        yield name, _pay(wanted.pay), alone(pay=wanted.pay)
    for attribute in wanted.attributes:
        yield f"attributes.{attribute.name}", _attribute(attribute), alone(attributes=(attribute,))
    if isinstance(wanted, TalentFilter):
        if wanted.is_available is not None:
            yield "isAvailable", _yes_or_no(wanted.is_available), alone(is_available=wanted.is_available)
        if wanted.joined_within_days is not None:
            days = wanted.joined_within_days
            yield "joinedWithinDays", str(days), alone(joined_within_days=days)
        return
    if wanted.client_ids:
        yield "clientIds", _listed(wanted.client_ids), alone(client_ids=wanted.client_ids)
    if wanted.is_remote is not None:
        yield "isRemote", _yes_or_no(wanted.is_remote), alone(is_remote=wanted.is_remote)
    if wanted.posted_within_days is not None:
        days = wanted.posted_within_days
        yield "postedWithinDays", str(days), alone(posted_within_days=days)
    if wanted.statuses:
        yield "statuses", _listed(status.value for status in wanted.statuses), alone(statuses=wanted.statuses)


def _listed(values: Iterable[str]) -> str:
    every = list(values)
    shown = ", ".join(every[:3]) or "none"
    return shown if len(every) <= 3 else f"{shown} and {len(every) - 3} more"


def _pay(pay: PayFilter) -> str:
    kind = "" if pay.budget_type is None else f"{pay.budget_type.value.lower()} "
    return f"{kind}{_range(pay.min, pay.max)} {pay.currency}".replace("  ", " ")


def _attribute(attribute: AttributeFilter) -> str:
    asked = [_listed(attribute.any)] if attribute.any else []
    if attribute.min is not None or attribute.max is not None:
        asked.append(_range(attribute.min, attribute.max))
    return ", ".join(asked) or "anything"


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "any"
    if low is None:
        return f"up to {high:g}"
    return f"from {low:g}" if high is None else f"{low:g} to {high:g}"


def _yes_or_no(value: bool) -> str:
    return "true" if value else "false"
