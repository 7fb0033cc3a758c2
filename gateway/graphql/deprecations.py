"""What is to go, from when on, and what to use instead: a reason ends with the day, `… Removal on 2027-01-31.`"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema

_REMOVAL = re.compile(r"\S.* Removal on (\d{4}-\d{2}-\d{2})\.$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Deprecation:
    """One element that is to go. at: where it is, such as `Talent.title` or `Query.jobs(first:)`."""

    at: str
    reason: str

    @property
    def removal(self) -> date | None:
        """The day from which on it may be gone; None when the reason does not name one."""
        found = _REMOVAL.match(self.reason)
        try:
            return None if found is None else date.fromisoformat(found[1])
        except ValueError:
            return None


def deprecations(schema: GraphQLSchema) -> list[Deprecation]:
    """Every deprecated field, argument, input field and enum value."""
    return [Deprecation(at, reason) for at, reason in _reasons(schema) if reason is not None]


def _reasons(schema: GraphQLSchema) -> Iterator[tuple[str, str | None]]:
    for name, kind in schema.type_map.items():
        match kind:
            case GraphQLEnumType(values=values):
                yield from ((f"{name}.{value}", part.deprecation_reason) for value, part in values.items())
            case GraphQLInputObjectType(fields=inputs):
                yield from ((f"{name}.{field}", part.deprecation_reason) for field, part in inputs.items())
            case GraphQLObjectType(fields=fields) | GraphQLInterfaceType(fields=fields):
                for field, part in fields.items():
                    yield f"{name}.{field}", part.deprecation_reason
                    yield from ((f"{name}.{field}({arg}:)", it.deprecation_reason) for arg, it in part.args.items())
