"""Facets: counts over the whole filtered set of a list, and the arguments that ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, TypeAlias

import strawberry

from gateway.graphql.inputs import given, page_size, terms
from gateway.graphql.scalars import decimal_from_float
from recommender import search as domain
from recommender.documents import Kind
from recommender.errors import BadInputError
from recommender.search import FacetField

MAX_ATTRIBUTE_FACETS = 20

Fields: TypeAlias = Annotated[
    list[FacetField] | None,
    strawberry.argument(description="Which facets, e.g. `[SKILLS, PAY]`; null is every one that applies."),
]
Attributes: TypeAlias = Annotated[
    list[str] | None,
    strawberry.argument(description='Attributes to count as well, each a facet of its own, e.g. `["timezone"]`.'),
]
Size: TypeAlias = Annotated[
    int | None, strawberry.argument(description="Most buckets per facet, from 1 to 100, e.g. `10`.")
]


@strawberry.type(description='One value and how many have it, e.g. `{ value: "Python", count: 312 }`.')
class FacetBucket:
    """From recommender.search.FacetBucket."""

    value: str = strawberry.field(description='Valid as filter input, e.g. `"Python"`.')
    low: Decimal | None = strawberry.field(name="from", description='Lower bound of a histogram bucket, e.g. `"40"`.')
    high: Decimal | None = strawberry.field(name="to", description='Upper bound of a histogram bucket, e.g. `"60"`.')
    count: int = strawberry.field(description="How many documents, e.g. `312`.")
    is_selected: bool = strawberry.field(description="Whether the filter names this value, e.g. `true`.")


@strawberry.type(description='Counts by value, most first, e.g. of `"SKILLS"`. A facet ignores its own filter.')
class Facet:
    """From recommender.search.Facet."""

    name: str = strawberry.field(description='The facet\'s field or attribute, e.g. `"SKILLS"` or `"timezone"`.')
    buckets: list[FacetBucket] = strawberry.field(description='The largest values, e.g. `[{ value: "Go", count: 9 }]`.')
    other_count: int = strawberry.field(description="How many are in values beyond `size`, e.g. `40`.")
    missing_count: int = strawberry.field(description="How many have no value, e.g. `3`.")


def facets_from(found: Sequence[domain.Facet]) -> list[Facet]:
    """The GraphQL values of the domain's."""
    return [
        Facet(
            name=facet.name,
            buckets=[
                FacetBucket(
                    value=bucket.value,
                    low=None if bucket.low is None else decimal_from_float(bucket.low),
                    high=None if bucket.high is None else decimal_from_float(bucket.high),
                    count=bucket.count,
                    is_selected=bucket.is_selected,
                )
                for bucket in facet.buckets
            ],
            other_count=facet.other,
            missing_count=facet.missing,
        )
        for facet in found
    ]


def facet_arguments(
    kind: Kind, fields: Sequence[FacetField] | None, attributes: Sequence[str] | None, size: int | None
) -> tuple[tuple[FacetField, ...], tuple[str, ...], int]:
    """Which facets, which attributes and how many buckets. Raises BadInputError.

    Without `fields` it is all that apply to the kind: talents have no REMOTE.
    """
    names = tuple(dict.fromkeys(terms(attributes, "attributes")))
    if len(names) > MAX_ATTRIBUTE_FACETS:
        raise BadInputError(f"attributes: at most {MAX_ATTRIBUTE_FACETS}; got {len(names)}")
    chosen = given(fields)
    if chosen is None:
        chosen = [field for field in FacetField if kind is Kind.JOB or field is not FacetField.REMOTE]
    elif kind is Kind.TALENT and FacetField.REMOTE in chosen:
        raise BadInputError("fields: REMOTE is a facet of jobs; talents have SKILLS CATEGORIES COUNTRIES LEVELS PAY")
    return tuple(dict.fromkeys(chosen)), names, page_size(size, 20, name="size")
