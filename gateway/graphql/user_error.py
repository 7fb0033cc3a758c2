"""Failures of single items of a mutation, as data."""

from __future__ import annotations

import strawberry

from gateway.graphql.enums import UserErrorCode
from gateway.graphql.errors import WrongIdKindError
from recommender.errors import BadInputError


@strawberry.type(description="Why one item was not taken; the others were, e.g. `{ index: 2, code: UNKNOWN_ID }`.")
class UserError:
    """A caller's fault that does not fail the mutation."""

    index: int | None = strawberry.field(description="Which item, from 0, e.g. `2`; null: the input as a whole.")
    field: list[str] = strawberry.field(
        description='The way to the value inside `input`, e.g. `["events", "2", "jobId"]`.'
    )
    code: UserErrorCode = strawberry.field(description="Which sort of fault, e.g. `UNKNOWN_ID`.")
    message: str = strawberry.field(description='In English, e.g. `"there is no job j-99"`.')


class Faults:
    """The faults of a list of items as they are found."""

    def __init__(self, name: str) -> None:
        self._name = name  # of the list inside `input`
        self.errors: list[UserError] = []

    def add(self, index: int, field: str, code: UserErrorCode, message: str) -> None:
        """Note one fault of one field of one item."""
        self.errors.append(UserError(index=index, field=[self._name, str(index), field], code=code, message=message))

    def add_error(self, index: int, field: str, error: BadInputError) -> None:
        """Note what a check raised."""
        wrong_kind = isinstance(error, WrongIdKindError)
        self.add(index, field, UserErrorCode.WRONG_ID_KIND if wrong_kind else UserErrorCode.INVALID, str(error))
