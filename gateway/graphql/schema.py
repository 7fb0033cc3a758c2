"""The schema, whole, and its printed form."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import strawberry
from graphql import ExecutionResult as CoreResult
from graphql import GraphQLDeferDirective, GraphQLError, GraphQLStreamDirective, experimental_execute_incrementally
from graphql import build_schema as schema_from_text
from graphql.utilities import find_breaking_changes, find_dangerous_changes
from strawberry.exceptions import MissingQueryError
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.schema.schema import DEFAULT_ALLOWED_OPERATION_TYPES
from strawberry.types.execution import ExecutionContext, ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from gateway.graphql.access import guard
from gateway.graphql.client import Client
from gateway.graphql.deprecations import deprecations
from gateway.graphql.documents import DOCUMENTS, Document, DocumentStage, check_document
from gateway.graphql.executor import CompiledExecutor
from gateway.graphql.incremental import DEFER
from gateway.graphql.job import Job
from gateway.graphql.mutation import Mutation
from gateway.graphql.persisted import trusted_documents
from gateway.graphql.query import Query
from gateway.graphql.scalars import SCALARS
from gateway.graphql.subscription import Subscription
from gateway.graphql.talent import Talent
from recommender.errors import BadInputError


class TandemSchema(strawberry.Schema):
    """Strawberry's schema, silent: it would log every failed query with its text."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """What is worth a line is logged where errors are answered, see errors.py."""

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any = None,
        root_value: Any = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """As Strawberry does it with DocumentStage, without going through extensions that there are not.

        An operation in parts comes as graphql-core's, not as an ExecutionResult.
        """
        if not query:
            raise MissingQueryError
        allowed = DEFAULT_ALLOWED_OPERATION_TYPES if allowed_operation_types is None else allowed_operation_types
        core, variables = self._schema, variable_values or {}
        try:
            document = DOCUMENTS.parsed(core, query)
            operation_type = document.operation_type(operation_name)
            if operation_type is None:
                raise CannotGetOperationTypeError(operation_name)
            if operation_type not in allowed:
                raise InvalidOperationTypeError(operation_type)
            errors = check_document(core, query, document, operation_name, variables, context_value)
            if errors:
                return PreExecutionError(data=None, errors=errors)
            await context_value.spend()
            result = self._executed(document, variables, context_value, operation_name)
            result = await result if optimized_is_awaitable(result) else result
        except (CannotGetOperationTypeError, InvalidOperationTypeError):
            raise
        except Exception as error:  # noqa: BLE001 — as Strawberry answers
            refused = error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)
            return PreExecutionError(data=None, errors=[refused])
        return ExecutionResult(result.data, result.errors) if isinstance(result, CoreResult) else result

    def _executed(self, document: Document, variables: dict[str, Any], context: Any, name: str | None) -> Any:
        """graphql-core's result, or what is awaited for it."""
        node = document.for_reader(context)
        if context.compiled is not None and node is document.whole:
            executor = document.compiled.executor(self._schema, name, variables, context)
            return CoreResult(None, executor) if isinstance(executor, list) else executor.execute_operation()
        return experimental_execute_incrementally(
            self._schema,
            node,
            variable_values=variables,
            context_value=context,
            operation_name=name,
            executor_class=self.execution_context_class,
            is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]
        )


def build_schema() -> TandemSchema:
    """A schema of its own, with its own document cache."""
    schema = TandemSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[Talent, Job, Client],
        extensions=[DocumentStage],
        execution_context_class=CompiledExecutor,
        config=StrawberryConfig(scalar_map=SCALARS, enable_experimental_incremental_execution=True),
    )
    # Every list is bounded and comes in one piece out of one batch: @stream would have nothing to stream.
    described = {GraphQLDeferDirective.name: (DEFER,), GraphQLStreamDirective.name: ()}
    core = schema._schema
    guard(core)
    core.directives = tuple(own for found in core.directives for own in described.get(found.name, (found,)))
    return schema


SCHEMA = build_schema()
_REMOVED = re.compile(r".*?(\w+\.\w+(?:\(\w+:\))?) was removed")


def printed_schema() -> str:
    """The SDL as it stands in schema.graphql."""
    return SCHEMA.as_str() + "\n"


def trusted_by(manifest: bytes, name: str) -> dict[str, str]:
    """See persisted.trusted_documents."""
    return trusted_documents(manifest, SCHEMA._schema, name)


@dataclass(frozen=True, slots=True)
class Changes:
    """What was changed since an earlier schema, in words. removed: what is gone as its deprecation said it would be."""

    breaking: list[str]
    dangerous: list[str]
    deprecated: list[str]
    removed: list[str]


def undated_deprecations() -> list[str]:
    """Deprecated elements of the served schema whose reason does not say until when they stay."""
    return [one.at for one in deprecations(SCHEMA._schema) if one.removal is None]


def changes_since(earlier: bytes, name: str, today: date) -> Changes:
    """What its clients have to know.

    name: of the earlier one, for the error. Raises BadInputError when it is no schema.
    """
    try:
        before, now = schema_from_text(earlier.decode()), schema_from_text(printed_schema())
    except (UnicodeDecodeError, GraphQLError, TypeError) as error:
        raise BadInputError(f"{name} is no GraphQL schema: {error}") from error
    announced = {one.at: one for one in deprecations(before)}
    breaking: list[str] = []
    removed: list[str] = []
    for change in find_breaking_changes(before, now):
        gone = _REMOVED.match(change.description)
        known = announced.get(gone[1]) if gone else None
        due = known is not None and known.removal is not None and known.removal <= today
        (removed if due else breaking).append(change.description)
    return Changes(
        breaking,
        [change.description for change in find_dangerous_changes(before, now)],
        [f"{one.at}: {one.reason}" for one in deprecations(now) if one.at not in announced],
        removed,
    )
