"""What execution gave, as the caller sees it: errors coded and masked, one answer or a stream of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from graphql import GraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError

from gateway.graphql.errors import answered, request_error
from recommender.degradation import degraded


def no_such_operation() -> PreExecutionError:
    """The answer to an `operationName` that the document does not have."""
    missing = request_error("operationName: the document has no operation of that name", "BAD_REQUEST")
    return PreExecutionError(data=None, errors=[missing])


async def finished_stream(results: AsyncIterator[ExecutionResult], request_id: str) -> AsyncGenerator[ExecutionResult]:
    """Every result of an operation, finished; closes what it reads when it is closed."""
    try:
        async for result in results:
            names_none = any(isinstance(e.original_error, CannotGetOperationTypeError) for e in result.errors or ())
            yield finished(no_such_operation() if names_none else result, request_id)
    except GraphQLError as error:  # a text that cannot be parsed: Strawberry answers it in a request, not in a stream
        yield finished(PreExecutionError(data=None, errors=[error]), request_id)
    finally:
        if isinstance(results, AsyncGenerator):
            await results.aclose()


def finished(result: ExecutionResult, request_id: str) -> ExecutionResult:
    """The result with its errors as the caller sees them; variables that do not fit make it a refused request.

    Says what could not help with it.
    """
    if reasons := degraded():
        told = {"reasons": sorted(reason.value for reason in reasons)}
        result.extensions = {**(result.extensions or {}), "degraded": told}
    if not result.errors:
        return result
    executed = not isinstance(result, PreExecutionError)
    errors = answered(result.errors, executed=executed, request_id=request_id)
    if executed and result.data is None and not _has_path(errors):
        return PreExecutionError(data=None, errors=errors)
    result.errors = errors
    return result


def _has_path(errors: Sequence[GraphQLError]) -> bool:
    return any(error.path is not None for error in errors)
