"""Documents: parsed and validated once per text, within limits that keep every step linear in what came."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode, parse
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document
from strawberry.types.execution import ExecutionContext

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


def take_document(asked: ExecutionContext) -> Document:
    """Parse, or take what an earlier request parsed. Raises GraphQLError."""
    document = DOCUMENTS.parsed(asked.schema._schema, asked.query or "")
    asked.graphql_document = document.node
    return document


def check_document(asked: ExecutionContext, document: Document) -> None:
    """Validate, or trust what an earlier request found; then hold the operation to the size limit."""
    if document.errors is None:
        schema: GraphQLSchema = asked.schema._schema
        document.errors = validate_document(schema, document.node, asked.validation_rules)
        if not document.errors:
            DOCUMENTS.keep(schema, asked.query or "", document)
    errors = list(document.errors)
    if not errors and document.operations > 1 and asked._provided_operation_name is None:
        errors = [request_error("operationName: the document has several operations; name one", "BAD_REQUEST")]
    if not errors:
        variables = asked.variables or {}
        cost = requested_cost(asked.schema._schema, document.node, asked.operation_name, variables)
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

    def on_validate(self) -> Iterator[None]:
        """See check_document."""
        check_document(self.execution_context, self._document)
        yield
