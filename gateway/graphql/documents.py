"""Documents: parsed and validated once per text, within limits that keep every step linear in what came."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode, parse
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document

from gateway.graphql.cost import requested_cost, too_large
from gateway.graphql.errors import request_error
from gateway.graphql.executor import Compiled
from gateway.graphql.incremental import undeferred

MAX_TOKENS = 2_000  # the introspection query of GraphiQL has about 400
CACHED_DOCUMENTS = 256
CACHED_TEXT = 16_384  # characters: longer texts are rare and would let the cache grow large


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

    def __post_init__(self) -> None:
        self.compiled = Compiled(self.whole)


class Documents:
    """The most recently used documents, each of the schema that it is valid in."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[GraphQLSchema, str], Document] = OrderedDict()

    def parsed(self, schema: GraphQLSchema, text: str) -> Document:
        """The document of a text. Raises GraphQLError for one that is none, or too long."""
        document = self._kept.get((schema, text))
        if document is not None:
            self._kept.move_to_end((schema, text))
            return document
        node = parse(text, max_tokens=MAX_TOKENS)
        operations = sum(isinstance(one, OperationDefinitionNode) for one in node.definitions)
        return Document(node, undeferred(node) if "defer" in text else node, operations)

    def keep(self, schema: GraphQLSchema, text: str, document: Document) -> None:
        """Remember a valid document, forgetting the one that was not asked for longest."""
        if len(text) <= CACHED_TEXT:
            self._kept[schema, text] = document
            if len(self._kept) > CACHED_DOCUMENTS:
                self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


DOCUMENTS = Documents()


class DocumentStage(SchemaExtension):
    """Strawberry's hook around parsing and validation; made anew for every request."""

    _document: Document

    def on_parse(self) -> Iterator[None]:
        """Parse, or take what an earlier request parsed."""
        context = self.execution_context
        self._document = DOCUMENTS.parsed(context.schema._schema, context.query or "")
        context.graphql_document = self._document.node
        yield

    def on_validate(self) -> Iterator[None]:
        """Validate, or trust what an earlier request found; then hold the operation to the size limit."""
        context, document = self.execution_context, self._document
        if document.errors is None:
            schema: GraphQLSchema = context.schema._schema
            document.errors = validate_document(schema, document.node, context.validation_rules)
            if not document.errors:
                DOCUMENTS.keep(schema, context.query or "", document)
        errors = list(document.errors)
        if not errors and document.operations > 1 and context._provided_operation_name is None:
            errors = [request_error("operationName: the document has several operations; name one", "BAD_REQUEST")]
        if not errors:
            variables = context.variables or {}
            cost = requested_cost(context.schema._schema, document.node, context.operation_name, variables)
            context.context.requested_cost = cost
            errors = too_large(cost)
        context.pre_execution_errors = errors
        if not context.context.reads_parts:
            context.graphql_document = document.whole
        context.context.compiled = document.compiled if context.context.services.compiles else None
        yield
