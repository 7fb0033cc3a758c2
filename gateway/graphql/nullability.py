"""@semanticNonNull: which fields are null only where an error says so."""

from __future__ import annotations

from typing import Final, cast

import strawberry
from strawberry.schema_directive import Location


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="semanticNonNull",
    description="Null only where `errors` names the field, e.g. because a store does not answer. Clients that throw on "
    "such errors (Relay's `@throwOnFieldError`, Apollo Kotlin's `@catchByDefault`) make it a type without null.",
)
class SemanticNonNull:
    """As Relay and Apollo read it; levels count into nested lists."""

    levels: list[int | None] | None = strawberry.field(
        default=cast("list[int | None]", (0,)),  # a dataclass takes no list for a default
        description="0 is the field itself, 1 what it lists, e.g. `[0, 1]`.",
    )


NULL_ONLY_ON_ERROR: Final = (SemanticNonNull(),)
