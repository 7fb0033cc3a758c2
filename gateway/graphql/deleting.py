"""deleteTalent and deleteJob: away from every answer, and with `erase` out of the event log too."""

from __future__ import annotations

import strawberry

from gateway.graphql.context import Context
from gateway.graphql.enums import UserErrorCode
from gateway.graphql.errors import WrongIdKindError
from gateway.graphql.ids import own_id
from gateway.graphql.inputs import given
from gateway.graphql.user_error import UserError
from recommender.documents import Kind
from recommender.errors import BadInputError
from recommender.ports import SubjectKey


@strawberry.input(description='What to delete, e.g. `{ id: "t-4", erase: true }`.')
class DeleteInput:
    """The argument of deleteTalent and deleteJob."""

    id: strawberry.ID = strawberry.field(description='The marketplace\'s own id, e.g. `"t-4"`.')
    erase: bool | None = strawberry.field(
        default=False, description="Forget the events as well, for good, e.g. `true` when a person asks for it."
    )


@strawberry.type(description='What was deleted, e.g. `{ deletedId: "t-4", userErrors: [] }`.')
class DeletePayload:
    """deleted_id is null when there was nothing to delete."""

    deleted_id: strawberry.ID | None = strawberry.field(description='The marketplace\'s own id, e.g. `"t-4"`.')
    receipt_id: strawberry.ID | None = strawberry.field(
        description="Proof of the deletion, e.g. for the person's file."
    )
    user_errors: list[UserError] = strawberry.field(description="Why nothing was deleted, e.g. an unknown id.")


async def delete(context: Context, kind: Kind, given_input: DeleteInput) -> DeletePayload:
    """Delete one document. The tombstone comes first, so that a crash leaves nothing that could come back."""
    try:
        document_id = own_id(given_input.id, "id")
    except BadInputError as error:
        wrong_kind = isinstance(error, WrongIdKindError)
        return _refused(UserErrorCode.WRONG_ID_KIND if wrong_kind else UserErrorCode.INVALID, str(error))
    erase = bool(given(given_input.erase))
    receipt = await context.services.catalogue.delete(kind, document_id, erase=erase, at_ms=context.now_ms)
    forgotten = await context.services.events.forget(SubjectKey(kind, document_id)) if erase else 0
    context.forget_loaded()
    if receipt is None and not forgotten:
        return _refused(UserErrorCode.UNKNOWN_ID, f"there is no such {kind.value}")
    return DeletePayload(
        deleted_id=strawberry.ID(document_id),
        receipt_id=None if receipt is None else strawberry.ID(receipt),
        user_errors=[],
    )


def _refused(code: UserErrorCode, message: str) -> DeletePayload:
    error = UserError(index=None, field=["id"], code=code, message=message)
    return DeletePayload(deleted_id=None, receipt_id=None, user_errors=[error])
