"""Every failure as a GraphQL error: one table of codes, one place that masks what nobody foresaw."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Sequence

import structlog
from graphql import GraphQLError, GraphQLSyntaxError
from graphql.language import ValueNode, VariableNode

from gateway.resilience.rate_limit import ThrottledError
from recommender.errors import (
    BadInputError,
    ConflictError,
    CursorExpiredError,
    ModelRefusedError,
    NoModelError,
    TandemError,
    UnavailableError,
)

MAX_ERRORS = 20  # of one answer; a document with more faults than this is read again after mending these
MAX_MESSAGE = 500  # characters: graphql-core quotes what came, which may be a megabyte

# How graphql-core begins the message about a variable that does not fit its type.
_VARIABLE = re.compile(r"Variable '\$\w+' has invalid value(?: at \S+)?: ")

_log = structlog.get_logger("tandem.graphql")


class WrongIdKindError(BadInputError):
    """A Relay id came where the marketplace's own id belongs."""


class UnauthenticatedError(TandemError):
    """Nobody is known to ask. The text names the setting that opens the door."""


class ForbiddenError(TandemError):
    """The viewer may not do this. The text names the setting that opens it."""


THROTTLED = "THROTTLED"
# Looked up along the class's bases, so that a subclass without a row of its own has its base's code.
CODES: dict[type[Exception], str] = {
    WrongIdKindError: "WRONG_ID_KIND",
    BadInputError: "BAD_USER_INPUT",
    ConflictError: "CONFLICT",
    CursorExpiredError: "CURSOR_EXPIRED",
    NoModelError: "NO_MODEL",
    ModelRefusedError: "NO_MODEL",
    UnavailableError: "UNAVAILABLE",
    ThrottledError: THROTTLED,
    UnauthenticatedError: "UNAUTHENTICATED",
    ForbiddenError: "FORBIDDEN",
}
INTERNAL = "INTERNAL"


def code_of(error: Exception) -> str | None:
    """The code of an expected failure; None for one that nobody foresaw."""
    return next((CODES[base] for base in type(error).__mro__ if base in CODES), None)


def request_error(message: str, code: str) -> GraphQLError:
    """A failure of the request as a whole, found before anything was executed."""
    return GraphQLError(message, extensions={"code": code})


def answered(errors: Iterable[GraphQLError], *, executed: bool, request_id: str) -> list[GraphQLError]:
    """The errors as the caller sees them: each with `extensions.code`, the unexpected ones masked and logged.

    executed: whether they come from execution; before it they are faults of the document.
    """
    return [_answered(error, executed, request_id) for error in list(errors)[:MAX_ERRORS]]


def _answered(error: GraphQLError, executed: bool, request_id: str) -> GraphQLError:
    if error.extensions and "code" in error.extensions:
        return error
    original = _root_cause(error)
    if original is not None:
        code = code_of(original)
        if code is None and executed and (error.path is not None or _VARIABLE.match(error.message) is None):
            return _masked(error, original, request_id)
        if isinstance(original, UnavailableError):
            log_unavailable(original, request_id)
            return _with_code(error, CODES[UnavailableError], f"{original.part} is unavailable; try again later")
        return _with_code(error, code or "BAD_USER_INPUT", _where(error) + str(original) if code else error.message)
    return _with_code(error, _document_fault(error, executed), error.message)


def _where(error: GraphQLError) -> str:
    """Which part of which variable it is about: a batch has hundreds of values. Nothing for any other error."""
    found = None if error.path is not None else _VARIABLE.match(error.message)
    return "" if found is None else found[0]


def _root_cause(error: GraphQLError) -> Exception | None:
    """What a resolver or a scalar raised, below any number of GraphQLErrors around it."""
    cause: Exception | None = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause


def _document_fault(error: GraphQLError, executed: bool) -> str:
    if isinstance(error, GraphQLSyntaxError):
        return "GRAPHQL_PARSE_FAILED"
    if executed:
        # Without a path it is a variable that does not fit its type; with one, graphql-core could not complete a value.
        return "BAD_USER_INPUT" if error.path is None else INTERNAL
    node = error.nodes[0] if error.nodes else None
    literal = isinstance(node, ValueNode) and not isinstance(node, VariableNode)
    return "BAD_USER_INPUT" if literal else "GRAPHQL_VALIDATION_FAILED"


def _with_code(error: GraphQLError, code: str, message: str) -> GraphQLError:
    if len(message) > MAX_MESSAGE:
        message = message[:MAX_MESSAGE] + " …"
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions={"code": code},
    )


def _masked(error: GraphQLError, original: Exception, request_id: str) -> GraphQLError:
    log_unexpected(original, request_id, path=error.path)
    masked = _with_code(error, INTERNAL, f"something went wrong on our side; quote request id {request_id}")
    masked.extensions = {"code": INTERNAL, "requestId": request_id}
    return masked


def log_unavailable(error: UnavailableError, request_id: str) -> None:
    """Keep the text for the operator: it names files, hosts and what became of them, which no caller is to read."""
    _log.error("part unavailable", part=error.part, reason=str(error), request_id=request_id)


def log_unexpected(error: BaseException, request_id: str, path: Sequence[str | int] | None = None) -> None:
    """Keep where it broke, never the error's own text: it may quote what the caller sent."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    _log.error(
        "unexpected error",
        error=type(error).__name__,
        request_id=request_id,
        path=path and list(path),
        frames=frames[-12:],
    )
