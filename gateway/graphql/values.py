"""Small values that documents are made of: money, budgets and free attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import strawberry

from gateway.graphql.inputs import given, terms
from recommender import documents as domain
from recommender.documents import BudgetType
from recommender.text import fold


@strawberry.type(description='An amount in one currency, e.g. `{ amount: "55", currency: "USD" }`.')
class Money:
    """From recommender.documents.Money."""

    amount: Decimal = strawberry.field(description='How much, e.g. `"55.50"`.')
    currency: str = strawberry.field(description='ISO 4217 code, e.g. `"USD"`.')


@strawberry.type(description='What a job pays, e.g. `{ type: HOURLY, min: "40", max: "60", currency: "USD" }`.')
class Budget:
    """From recommender.documents.Budget."""

    type: BudgetType = strawberry.field(description="By the hour or as one sum, e.g. `HOURLY`.")
    min: Decimal | None = strawberry.field(description='Lower end, e.g. `"40"`; null is open.')
    max: Decimal | None = strawberry.field(description='Upper end, e.g. `"60"`; null is open.')
    currency: str = strawberry.field(description='ISO 4217 code, e.g. `"USD"`.')


@strawberry.type(description='A column that the marketplace imported and Tandem only keeps, e.g. `{ name: "visa" }`.')
class Attribute:
    """One name and value; shown here and filterable by AttributeFilter."""

    name: str = strawberry.field(description='The column\'s name, e.g. `"timezone"`.')
    value: str = strawberry.field(description='Its text, e.g. `"CET"`.')


def money_from(value: domain.Money | None) -> Money | None:
    """The GraphQL value of the domain's."""
    return None if value is None else Money(amount=value.amount, currency=value.currency)


def budget_from(value: domain.Budget | None) -> Budget | None:
    """The GraphQL value of the domain's."""
    if value is None:
        return None
    return Budget(type=value.type, min=value.min, max=value.max, currency=value.currency)


def attributes_from(values: Mapping[str, str], names: Sequence[str] | None) -> list[Attribute]:
    """By name; only the named ones when names are given."""
    wanted = {fold(name) for name in terms(given(names), "attributes.names")}
    return [
        Attribute(name=name, value=value)
        for name, value in sorted(values.items())
        if not wanted or fold(name) in wanted
    ]
