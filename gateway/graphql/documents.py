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
    specified_rules,
    validate,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule
from strawberry.types.graphql import OperationType

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
_RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
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
    _types: dict[str | None, OperationType] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.node.definitions:
            if isinstance(one, OperationDefinitionNode):
                kind = OperationType(one.operation.value)
                for name in (None, one.name.value if one.name else None):
                    self._types.setdefault(name, kind)
        self.compiled = Compiled(self.whole)
        self._sizing = _sizing_variables(self.node)

    def operation_type(self, name: str | None) -> OperationType | None:
        """Of an operation, or without a name of the first; None where there is none."""
        return self._types.get(name)

    def for_reader(self, context: Any) -> DocumentNode:
        """What is executed: in parts for who reads them alone."""
        return self.node if context.reads_parts else self.whole

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


def check_document(
    schema: GraphQLSchema,
    text: str,
    document: Document,
    operation_name: str | None,
    variables: Mapping[str, Any],
    context: Any,
) -> list[GraphQLError]:
    """Validate, or trust what an earlier request found; then hold the operation to the size limit."""
    if document.errors is None:
        document.errors = validate(schema, document.node, _RULES, max_errors=MAX_ERRORS)
        if document.errors:
            DOCUMENTS.keep_refused(schema, text, document.errors)
        else:
            DOCUMENTS.keep(schema, text, document)
    if document.errors:
        return list(document.errors)
    if document.operations > 1 and operation_name is None:
        return [request_error("operationName: the document has several operations; name one", "BAD_REQUEST")]
    context.requested_cost = document.cost(schema, operation_name, variables)
    context.compiled = document.compiled if context.services.compiles else None
    return too_large(context.requested_cost)


class DocumentStage(SchemaExtension):
    """Parsing and checking where Strawberry goes through an operation by itself, of what is streamed. One for each."""

    _document: Document

    def on_parse(self) -> Iterator[None]:
        """See Documents.parsed."""
        asked = self.execution_context
        self._document = DOCUMENTS.parsed(asked.schema._schema, asked.query or "")
        asked.graphql_document = self._document.node
        yield

    async def on_validate(self) -> AsyncIterator[None]:
        """See check_document."""
        asked = self.execution_context
        asked.pre_execution_errors = check_document(
            asked.schema._schema,
            asked.query or "",
            self._document,
            asked._provided_operation_name,
            asked.variables or {},
            asked.context,
        )
        asked.graphql_document = self._document.for_reader(asked.context)
        if not asked.pre_execution_errors:
            try:
                await asked.context.spend()
            except ThrottledError as error:
                asked.pre_execution_errors = [GraphQLError(str(error), original_error=error)]
        yield
