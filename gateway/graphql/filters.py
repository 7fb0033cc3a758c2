"""The filter inputs and how they become the domain's filters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import strawberry
from strawberry import UNSET

from gateway.graphql.ids import own_ids
from gateway.graphql.inputs import MAX_TERM, given, terms
from recommender import filters as domain
from recommender.documents import BudgetType, JobStatus, Level
from recommender.errors import BadInputError

MAX_ATTRIBUTE_CLAUSES = 20
MAX_DAYS = 36_500  # a century
_CURRENCY = re.compile(r"[A-Za-z]{3}", re.ASCII)


@strawberry.input(
    description='A clause over a set of words, compared without regard to case, e.g. `{ all: ["Go"], none: ["PHP"] }`.'
)
class TermFilter:
    """Becomes recommender.filters.TermFilter."""

    all: list[str] | None = strawberry.field(default=UNSET, description='Has every one of these, e.g. `["Go", "SQL"]`.')
    any: list[str] | None = strawberry.field(
        default=UNSET, description='Has at least one of these, e.g. `["Vue", "React"]`.'
    )
    none: list[str] | None = strawberry.field(default=UNSET, description='Has none of these, e.g. `["PHP"]`.')

    def to_domain(self) -> domain.TermFilter:
        """Raises BadInputError when a term stands in both `all` and `none`."""
        return domain.TermFilter(
            all=terms(self.all, "skills.all"),
            any=terms(self.any, "skills.any"),
            none=terms(self.none, "skills.none"),
        )


@strawberry.input(description='An hourly rate within bounds, in one currency, e.g. `{ currency: "USD", max: "80" }`.')
class RateFilter:
    """Becomes recommender.filters.PayFilter without a budget type."""

    currency: str = strawberry.field(description='ISO 4217 code; other currencies do not match, e.g. `"USD"`.')
    min: Decimal | None = strawberry.field(default=UNSET, description='Lowest rate, inclusive, e.g. `"40"`.')
    max: Decimal | None = strawberry.field(default=UNSET, description='Highest rate, inclusive, e.g. `"80"`.')
    include_unknown: bool | None = strawberry.field(
        default=False, description="Whether talents without a rate match too, e.g. `true`."
    )

    def to_domain(self) -> domain.PayFilter:
        """Raises BadInputError for min above max or a currency that is none."""
        return _pay(self.currency, self.min, self.max, self.include_unknown, None)


@strawberry.input(
    description="A budget whose range overlaps the bounds, in one currency and of one type, e.g. "
    '`{ type: HOURLY, currency: "USD", min: "40" }`.'
)
class BudgetFilter:
    """Becomes recommender.filters.PayFilter with a budget type."""

    type: BudgetType = strawberry.field(description="Budgets of the other type do not match, e.g. `HOURLY`.")
    currency: str = strawberry.field(description='ISO 4217 code; other currencies do not match, e.g. `"USD"`.')
    min: Decimal | None = strawberry.field(default=UNSET, description='The job pays this or more, e.g. `"40"`.')
    max: Decimal | None = strawberry.field(default=UNSET, description='The job pays this or less, e.g. `"80"`.')
    include_unknown: bool | None = strawberry.field(
        default=False, description="Whether jobs without a budget match too, e.g. `true`."
    )

    def to_domain(self) -> domain.PayFilter:
        """Raises BadInputError for min above max or a currency that is none."""
        return _pay(self.currency, self.min, self.max, self.include_unknown, self.type)


@strawberry.input(
    description="A clause over one attribute that the marketplace imported, e.g. "
    '`{ name: "timezone", in: ["CET"] }` or `{ name: "rating", min: 4.5 }`.'
)
class AttributeFilter:
    """Becomes recommender.filters.AttributeFilter."""

    name: str = strawberry.field(description='The attribute, e.g. `"timezone"`.')
    in_: list[str] | None = strawberry.field(
        name="in", default=UNSET, description='One of these values, e.g. `["CET", "EET"]`.'
    )
    min: float | None = strawberry.field(default=UNSET, description="As a number at least this, e.g. `4.5`.")
    max: float | None = strawberry.field(default=UNSET, description="As a number at most this, e.g. `5`.")

    def to_domain(self) -> domain.AttributeFilter:
        """Raises BadInputError for min above max."""
        if not 1 <= len(self.name) <= MAX_TERM:
            raise BadInputError(f"attributes.name has 1 to {MAX_TERM} characters; got {len(self.name)}")
        return domain.AttributeFilter(
            name=self.name, any=terms(self.in_, "attributes.in"), min=given(self.min), max=given(self.max)
        )


@strawberry.input(
    description="Constraints on jobs, ANDed between fields and ORed between values, e.g. "
    '`{ skills: { any: ["Go"] }, isRemote: true }`. Null or `[]` is no constraint.'
)
class JobFilter:
    """Becomes recommender.filters.JobFilter."""

    ids: list[strawberry.ID] | None = strawberry.field(
        default=UNSET, description='Only these `jobId`s, e.g. `["j-17"]`; unlike elsewhere `[]` matches nothing.'
    )
    exclude_ids: list[strawberry.ID] | None = strawberry.field(
        default=UNSET, description='All but these `jobId`s, e.g. `["j-18"]`.'
    )
    client_ids: list[strawberry.ID] | None = strawberry.field(
        default=UNSET, description='Only jobs of these `clientId`s, e.g. `["acme"]`.'
    )
    skills: TermFilter | None = strawberry.field(
        default=UNSET, description='By the skills a job names, e.g. `{ all: ["Kubernetes"] }`.'
    )
    categories: list[str] | None = strawberry.field(
        default=UNSET, description='In one of these categories, e.g. `["Data Science"]`.'
    )
    countries: list[str] | None = strawberry.field(
        default=UNSET, description='In one of these countries, e.g. `["DE", "AT"]`.'
    )
    levels: list[Level] | None = strawberry.field(default=UNSET, description="Asks for one of these, e.g. `[EXPERT]`.")
    is_remote: bool | None = strawberry.field(default=UNSET, description="Remote or not, e.g. `true`.")
    budget: BudgetFilter | None = strawberry.field(
        default=UNSET, description='By pay, e.g. `{ type: FIXED, currency: "EUR", min: "500" }`.'
    )
    posted_within_days: int | None = strawberry.field(
        default=UNSET, description="Posted in the last so many days, e.g. `7`."
    )
    attributes: list[AttributeFilter] | None = strawberry.field(
        default=UNSET, description='By imported attributes, e.g. `[{ name: "visa", in: ["yes"] }]`.'
    )
    statuses: list[JobStatus] | None = strawberry.field(
        default=UNSET, description="In one of these states, by default `[OPEN]`. Only OPEN is ever recommended."
    )


@strawberry.input(
    description="Constraints on talents, ANDed between fields and ORed between values, e.g. "
    '`{ levels: [EXPERT], countries: ["DE"] }`. Null or `[]` is no constraint.'
)
class TalentFilter:
    """Becomes recommender.filters.TalentFilter."""

    ids: list[strawberry.ID] | None = strawberry.field(
        default=UNSET, description='Only these `talentId`s, e.g. `["t-4"]`; unlike elsewhere `[]` matches nothing.'
    )
    exclude_ids: list[strawberry.ID] | None = strawberry.field(
        default=UNSET, description='All but these `talentId`s, e.g. `["t-5"]`.'
    )
    skills: TermFilter | None = strawberry.field(
        default=UNSET, description='By the skills a talent names, e.g. `{ all: ["Kubernetes"] }`.'
    )
    categories: list[str] | None = strawberry.field(
        default=UNSET, description='In one of these categories, e.g. `["Data Science"]`.'
    )
    countries: list[str] | None = strawberry.field(
        default=UNSET, description='In one of these countries, e.g. `["DE", "AT"]`.'
    )
    levels: list[Level] | None = strawberry.field(default=UNSET, description="Of one of these, e.g. `[EXPERT]`.")
    is_available: bool | None = strawberry.field(default=UNSET, description="Available or not, e.g. `true`.")
    joined_within_days: int | None = strawberry.field(
        default=UNSET, description="Joined (`createdAt`) in the last so many days, e.g. `30`."
    )
    hourly_rate: RateFilter | None = strawberry.field(
        default=UNSET, description='By rate, e.g. `{ currency: "USD", max: "80" }`.'
    )
    attributes: list[AttributeFilter] | None = strawberry.field(
        default=UNSET, description='By imported attributes, e.g. `[{ name: "timezone", in: ["CET"] }]`.'
    )


_EVERY_JOB, _EVERY_TALENT = domain.JobFilter(), domain.TalentFilter()  # of every list without a filter


def job_filter(given_filter: JobFilter | None, *, of_client: str | None = None) -> domain.JobFilter:
    """The domain's filter; no input is no constraint. `of_client` narrows it to one client's jobs.

    Raises: BadInputError for a filter that contradicts itself or is too large.
    """
    chosen = given(given_filter)
    if chosen is None:
        return _EVERY_JOB if of_client is None else domain.JobFilter(client_ids=(of_client,))
    ids = _ids(chosen.ids, "filter.ids")
    clients = _ids(chosen.client_ids, "filter.clientIds") or ()
    if of_client is not None:
        ids = ids if not clients or of_client in clients else ()
        clients = (of_client,)
    return domain.JobFilter(
        **_shared(chosen),
        ids=ids,
        client_ids=clients,
        pay=chosen.budget.to_domain() if chosen.budget else None,
        is_remote=given(chosen.is_remote),
        posted_within_days=_days(chosen.posted_within_days, "postedWithinDays"),
        statuses=tuple(given(chosen.statuses) or ()),
    )


def talent_filter(given_filter: TalentFilter | None) -> domain.TalentFilter:
    """The domain's filter; no input is no constraint. Raises BadInputError as `job_filter` does."""
    chosen = given(given_filter)
    if chosen is None:
        return _EVERY_TALENT
    return domain.TalentFilter(
        **_shared(chosen),
        ids=_ids(chosen.ids, "filter.ids"),
        pay=chosen.hourly_rate.to_domain() if chosen.hourly_rate else None,
        is_available=given(chosen.is_available),
        joined_within_days=_days(chosen.joined_within_days, "joinedWithinDays"),
    )


def _days(days: int | None, name: str) -> int | None:
    days = given(days)
    if days is not None and days > MAX_DAYS:
        raise BadInputError(f"{name} must be between 0 and {MAX_DAYS}; got {days}")
    return days


def _shared(chosen: JobFilter | TalentFilter) -> dict[str, Any]:
    attributes = given(chosen.attributes) or []
    if len(attributes) > MAX_ATTRIBUTE_CLAUSES:
        raise BadInputError(f"filter.attributes: at most {MAX_ATTRIBUTE_CLAUSES} clauses; got {len(attributes)}")
    return {
        "exclude_ids": _ids(chosen.exclude_ids, "filter.excludeIds") or (),
        "skills": chosen.skills.to_domain() if chosen.skills else domain.TermFilter(),
        "categories": terms(chosen.categories, "filter.categories"),
        "countries": terms(chosen.countries, "filter.countries"),
        "levels": tuple(given(chosen.levels) or ()),
        "attributes": tuple(clause.to_domain() for clause in attributes),
    }


def _ids(ids: Sequence[str] | None, what: str) -> tuple[str, ...] | None:
    values = given(ids)
    return None if values is None else own_ids(values, what)


def currency_code(text: str, what: str) -> str:
    """An ISO 4217 code in upper case. Raises BadInputError for anything but three letters."""
    if not _CURRENCY.fullmatch(text):
        raise BadInputError(f'{what}: expected three letters such as "USD"; got {text[:20]!r}')
    return text.upper()


def _pay(
    currency: str,
    low: Decimal | None,
    high: Decimal | None,
    include_unknown: bool | None,
    budget_type: BudgetType | None,
) -> domain.PayFilter:
    low, high = given(low), given(high)
    return domain.PayFilter(
        currency=currency_code(currency, "currency"),
        min=None if low is None else float(low),
        max=None if high is None else float(high),
        include_unknown=bool(given(include_unknown)),
        budget_type=budget_type,
    )
