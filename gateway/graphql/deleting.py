"""deleteTalent and deleteJob: away from every answer, and with `erase` out of everything that is kept."""

from __future__ import annotations

import strawberry

from gateway.erasure import erase
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
        default=False,
        description="Forget all that is kept of it, for good, e.g. `true` when a person asks for it. To ask again "
        "does no harm and gives the same receipt.",
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
    services = context.services
    if given(given_input.erase):
        subject = SubjectKey(kind, document_id)
        receipt = await erase(subject, services.catalogue, services.events, services.remains, context.now_ms)
    else:
        receipt = await services.catalogue.delete(kind, document_id, at_ms=context.now_ms)
    context.forget_loaded()
    if receipt is None:
        return _refused(UserErrorCode.UNKNOWN_ID, f"there is no such {kind.value}")
    return DeletePayload(
        deleted_id=strawberry.ID(document_id),
        receipt_id=strawberry.ID(receipt),
        user_errors=[],
    )


def _refused(code: UserErrorCode, message: str) -> DeletePayload:
    error = UserError(index=None, field=["id"], code=code, message=message)
    return DeletePayload(deleted_id=None, receipt_id=None, user_errors=[error])
