"""Documents: parsed and validated once per text, within limits that keep every step linear in what came."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NamedTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    parse,
    validate,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule
from strawberry.types.execution import ExecutionContext

from gateway.graphql.bounds import MAX_TOKENS, check_selections, check_text
from gateway.graphql.cost import requested_cost, too_large
from gateway.graphql.errors import answered, request_error
from gateway.graphql.executor import Compiled
from gateway.graphql.incremental import undeferred
from gateway.resilience.rate_limit import ThrottledError

MAX_ERRORS = 10  # of a validation: each costs a search for what may have been meant
CACHED_DOCUMENTS = 256
REFUSED_DOCUMENTS = 64
MOST_COSTS = 64  # of one document
CACHED_TEXT = 16_384  # characters: longer texts are rare and would let the cache grow large
_SCALARS = frozenset({"ID", "String", "Boolean", "Int", "Float"})
_MISSING = object()
_EMPTY = parse("{ __typename }")


@dataclass(slots=True)
class Document:
    """A parsed text; errors is None until it has been validated.

    whole: the same without @defer, for who does not read parts.
    """

    node: DocumentNode
    whole: DocumentNode
    operations: int
    errors: list[GraphQLError] | None = field(default=None)
    compiled: Compiled = field(init=False)
    _sizing: tuple[str, ...] | None = field(init=False)
    _costs: dict[tuple[object, ...], int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.compiled = Compiled(self.whole)
        self._sizing = _sizing_variables(self.node)

    def cost(self, schema: GraphQLSchema, operation_name: str | None, variables: Mapping[str, Any]) -> int:
        """See requested_cost; worked out once for each size that is asked for."""
        if self._sizing is None:
            return requested_cost(schema, self.node, operation_name, variables)
        sizes = [variables.get(name, _MISSING) for name in self._sizing]
        if not all(size is None or size is _MISSING or isinstance(size, int | float) for size in sizes):
            return requested_cost(schema, self.node, operation_name, variables)
        key = (operation_name, *sizes)
        known = self._costs.get(key)
        if known is None:
            if len(self._costs) >= MOST_COSTS:
                self._costs.clear()
            known = self._costs[key] = requested_cost(schema, self.node, operation_name, variables)
        return known


def _sizing_variables(document: DocumentNode) -> tuple[str, ...] | None:
    """The variables that a cost may depend on; None where lists or input objects are among them."""
    found = []
    for operation in document.definitions:
        for definition in getattr(operation, "variable_definitions", None) or ():
            declared = definition.type.type if isinstance(definition.type, NonNullTypeNode) else definition.type
            if not isinstance(declared, NamedTypeNode) or declared.name.value not in _SCALARS:
                return None
            if declared.name.value == "Int":  # nothing else may stand where a size does
                found.append(definition.variable.name.value)
    return tuple(found)


class Documents:
    """The most recently used documents, each of the schema that it is valid in, and some that were refused."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[GraphQLSchema, str], Document] = OrderedDict()
        self._refused: OrderedDict[tuple[GraphQLSchema, str], Document] = OrderedDict()

    def parsed(self, schema: GraphQLSchema, text: str) -> Document:
        """The document of a text. Raises GraphQLError for one that is none, or too long."""
        document = self._kept.get((schema, text))
        if document is not None:
            self._kept.move_to_end((schema, text))
            return document
        if (refused := self._refused.get((schema, text))) is not None:
            return refused
        check_text(text, schema)
        node = parse(text, max_tokens=MAX_TOKENS)
        check_selections(node)
        operations = sum(isinstance(one, OperationDefinitionNode) for one in node.definitions)
        return Document(node, undeferred(node) if "defer" in text else node, operations)

    def keep(self, schema: GraphQLSchema, text: str, document: Document) -> None:
        """Remember a valid document, forgetting the one that was not asked for longest."""
        if len(text) <= CACHED_TEXT:
            self._kept[schema, text] = document
            if len(self._kept) > CACHED_DOCUMENTS:
                self._kept.popitem(last=False)

    def keep_refused(self, schema: GraphQLSchema, text: str, errors: list[GraphQLError]) -> None:
        """Remember why a document is invalid, for who sends it again, without the document."""
        if len(text) <= CACHED_TEXT:
            # Their codes follow from the nodes, which hold the whole document.
            why = [
                GraphQLError(one.message, source=one.source, positions=one.positions, extensions=one.extensions)
                for one in answered(errors, executed=False, request_id="")
            ]
            self._refused[schema, text] = Document(_EMPTY, _EMPTY, 1, why)
            if len(self._refused) > REFUSED_DOCUMENTS:
                self._refused.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


DOCUMENTS = Documents()


def take_document(asked: ExecutionContext) -> Document:
    """Parse, or take what an earlier request parsed. Raises GraphQLError."""
    document = DOCUMENTS.parsed(asked.schema._schema, asked.query or "")
    asked.graphql_document = document.node
    return document


def check_document(asked: ExecutionContext, document: Document) -> None:
    """Validate, or trust what an earlier request found; then hold the operation to the size limit."""
    if document.errors is None:
        schema: GraphQLSchema = asked.schema._schema
        rules = (*asked.validation_rules, MaybeNullValidationRule, OneOfInputValidationRule)
        document.errors = validate(schema, document.node, rules, max_errors=MAX_ERRORS)
        if document.errors:
            DOCUMENTS.keep_refused(schema, asked.query or "", document.errors)
        else:
            DOCUMENTS.keep(schema, asked.query or "", document)
    errors = list(document.errors)
    if not errors and document.operations > 1 and asked._provided_operation_name is None:
        errors = [request_error("operationName: the document has several operations; name one", "BAD_REQUEST")]
    if not errors:
        cost = document.cost(asked.schema._schema, asked.operation_name, asked.variables or {})
        asked.context.requested_cost = cost
        errors = too_large(cost)
    asked.pre_execution_errors = errors
    if not asked.context.reads_parts:
        asked.graphql_document = document.whole
    asked.context.compiled = document.compiled if asked.context.services.compiles else None


class DocumentStage(SchemaExtension):
    """Both, where Strawberry goes through an operation by itself: of what is streamed. Made anew for every request."""

    _document: Document

    def on_parse(self) -> Iterator[None]:
        """See take_document."""
        self._document = take_document(self.execution_context)
        yield

    async def on_validate(self) -> AsyncIterator[None]:
        """See check_document."""
        asked = self.execution_context
        check_document(asked, self._document)
        if not asked.pre_execution_errors:
            try:
                await asked.context.spend()
            except ThrottledError as error:
                asked.pre_execution_errors = [GraphQLError(str(error), original_error=error)]
        yield
