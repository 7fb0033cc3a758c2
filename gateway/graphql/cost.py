"""The size of an answer, bounded before anything is executed: nested lists multiply.

One pass that is linear in the document: a fragment's size is worked out once, however often it is spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
)

from gateway.graphql.errors import request_error
from gateway.graphql.inputs import MAX_PAGE

MAX_OBJECTS = 50_000  # fifty lists of fifty rows, each row with its reasons and what these name


def check_size(
    schema: GraphQLSchema, document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]
) -> list[GraphQLError]:
    """No errors for a valid operation whose answer is at most MAX_OBJECTS objects, else one that says so."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    chosen = next((node for node in operations if node.name and node.name.value == operation_name), operations[0])
    root = schema.get_root_type(chosen.operation)
    size = _Sizes(schema, document, {**_defaults(chosen), **variables}).of(chosen.selection_set, root)
    if size <= MAX_OBJECTS:
        return []
    message = f"this operation may answer with {size} objects, at most {MAX_OBJECTS} are allowed: lower its `first`"
    return [request_error(message, "QUERY_TOO_LARGE")]


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    """Numbers, and lists for their lengths."""
    found: dict[str, Any] = {}
    for definition in operation.variable_definitions or ():
        match definition.default_value:
            case IntValueNode(value=digits):
                found[definition.variable.name.value] = int(digits)
            case ListValueNode(values=values):
                found[definition.variable.name.value] = list(values)
    return found


class _Sizes:
    """How many objects selections can answer with, per object that they are made on."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._schema = schema
        self._variables = variables
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._known: dict[str, int] = {}

    def of(self, selections: SelectionSetNode | None, parent: object) -> int:
        """Objects below one object of the type `parent`."""
        total = 0
        for node in selections.selections if selections else ():
            match node:
                case FieldNode():
                    total += self._of_field(node, parent)
                case InlineFragmentNode(type_condition=condition):
                    inner = self._schema.get_type(condition.name.value) if condition else parent
                    total += self.of(node.selection_set, inner)
                case FragmentSpreadNode():
                    total += self._of_fragment(node.name.value)
        return total

    def _of_field(self, node: FieldNode, parent: object) -> int:
        field: GraphQLField | None = getattr(parent, "fields", {}).get(node.name.value)
        if node.selection_set is None or field is None:  # a leaf, or introspection, which has limits of its own
            return 0
        return self._rows(node, field) * (1 + self.of(node.selection_set, get_named_type(field.type)))

    def _of_fragment(self, name: str) -> int:
        if name not in self._known:
            fragment = self._fragments[name]
            self._known[name] = self.of(
                fragment.selection_set, self._schema.get_type(fragment.type_condition.name.value)
            )
        return self._known[name]

    def _rows(self, node: FieldNode, field: GraphQLField) -> int:
        """At most how many rows a field has; outside 1 to 100 the field itself refuses."""
        arguments = {argument.name.value: argument.value for argument in node.arguments or ()}
        if "ids" in field.args:
            ids = arguments.get("ids")
            return min(MAX_PAGE, len(ids.values)) if isinstance(ids, ListValueNode) else MAX_PAGE
        if "representations" in field.args:
            return self._listed(arguments.get("representations"))
        if "first" not in field.args:
            return 1
        last = self._number(arguments.get("last"))
        rows = self._number(arguments.get("first")) if last is None else last
        return max(1, min(MAX_PAGE, MAX_PAGE // 5 if rows is None else rows))  # None: the default of every long list

    def _number(self, argument: ValueNode | None) -> int | None:
        """The value of a whole number; None when there is none."""
        match argument:
            case IntValueNode(value=digits):
                return int(digits)
            case VariableNode(name=name) if isinstance(found := self._variables.get(name.value), int):
                return found
            case _:
                return None

    def _listed(self, argument: ValueNode | None) -> int:
        """How many values an argument lists; one that is no list is taken for a list of itself."""
        match argument:
            case ListValueNode(values=values):
                return len(values)
            case VariableNode(name=name) if isinstance(found := self._variables.get(name.value), list):
                return len(found)
            case _:
                return 1
