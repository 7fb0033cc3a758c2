"""What an operation costs: the objects of its answer, bounded before anything is executed, as nested lists multiply.

One pass that is linear in the document: a fragment's size is worked out once, however often it is spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

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
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
)
from graphql.utilities import value_from_ast_untyped

from gateway.graphql.errors import request_error
from gateway.graphql.inputs import MAX_PAGE
from gateway.resilience.rate_limit import Allowance
from recommender.search import FacetField

DEEPEST_LIST = 4  # steps into a variable, of which none is checked yet: the lists of an input lie within
_UNSIZED = {"contributions": MAX_PAGE}  # lists that no argument sizes, whose rows lead to lists of their own
MAX_OBJECTS = 50_000  # fifty lists of fifty rows, each row with its reasons and what these name


def requested_cost(
    schema: GraphQLSchema, document: DocumentNode, operation_name: str | None, variables: Mapping[str, Any]
) -> int:
    """At most how many objects the answer of a valid operation holds. Introspection has limits of its own."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    chosen = next((node for node in operations if node.name and node.name.value == operation_name), operations[0])
    root = schema.get_root_type(chosen.operation)
    return _Sizes(schema, document, {**_defaults(chosen), **variables}).of(chosen.selection_set, root).once


def too_large(cost: int) -> list[GraphQLError]:
    """No error for a cost within MAX_OBJECTS, else one that says so."""
    if cost <= MAX_OBJECTS:
        return []
    message = f"this operation may answer with {cost} objects, at most {MAX_OBJECTS} are allowed: lower its `first`"
    return [request_error(message, "QUERY_TOO_LARGE")]


def actual_cost(data: object) -> int:
    """How many objects an answer holds, itself not counted."""
    if isinstance(data, dict):
        return sum(actual_cost(value) + isinstance(value, dict) for value in data.values() if value)
    if isinstance(data, list):
        return sum(actual_cost(value) + isinstance(value, dict) for value in data if value)
    return 0


def cost_report(requested: int, actual: int, allowance: Allowance | None = None) -> dict[str, Any]:
    """`extensions.cost`. allowance: of the caller, where there is a limit."""
    status = allowance and {
        "maximumAvailable": allowance.limit,
        "currentlyAvailable": allowance.remaining,
        "restoreRate": allowance.limit / 60,  # in a second
    }
    return {
        "requestedQueryCost": requested,
        "actualQueryCost": min(actual, requested),  # introspection is in neither
        "maximumQueryCost": MAX_OBJECTS,
        "throttleStatus": status,
    }


def _is_rows(node: FieldNode, parent: object) -> bool:
    """Whether a field is the list of a connection, which has as many rows as were asked for."""
    return node.name.value in ("edges", "nodes") and str(getattr(parent, "name", "")).endswith("Connection")


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    """What the variables are that nobody sends."""
    return {
        definition.variable.name.value: value_from_ast_untyped(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }


class _Size(NamedTuple):
    """Objects below one object: so many once, and so many more for each row where it is a connection."""

    once: int
    by_row: int


class _Sizes:
    """How many objects selections can answer with, per object that they are made on."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._schema = schema
        self._variables = variables
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._known: dict[str, _Size] = {}

    def of(self, selections: SelectionSetNode | None, parent: object) -> _Size:
        """Objects below one object of the type `parent`."""
        once, by_row = 0, 0
        for node in selections.selections if selections else ():
            inner = _Size(0, 0)
            match node:
                case FieldNode() if _is_rows(node, parent):
                    inner = _Size(0, self._of_field(node, parent))
                case FieldNode():
                    inner = _Size(self._of_field(node, parent), 0)
                case InlineFragmentNode(type_condition=condition):
                    kind = self._schema.get_type(condition.name.value) if condition else parent
                    inner = self.of(node.selection_set, kind)
                case FragmentSpreadNode():
                    inner = self._of_fragment(node.name.value)
            once, by_row = once + inner.once, by_row + inner.by_row
        return _Size(once, by_row)

    def _of_field(self, node: FieldNode, parent: object) -> int:
        field: GraphQLField | None = getattr(parent, "fields", {}).get(node.name.value)
        if node.selection_set is None or field is None:  # a leaf, or introspection, which has limits of its own
            return 0
        kind = get_named_type(field.type)
        below = self.of(node.selection_set, kind)
        if "input" in field.args:  # of a mutation, whose payload lists what the items are about
            return 1 + self._longest(_argument(node, "input")) * below.once
        if "size" in field.args:  # facets, each with its buckets
            return self._facets(node) * (1 + self._most(node, "size"))
        rows = self._rows(node, field)
        if kind.name.endswith("Connection"):
            return 1 + below.once + rows * max(1, below.by_row)  # they are ranked, whether asked for or not
        return rows * (1 + below.once)

    def _of_fragment(self, name: str) -> _Size:
        if name not in self._known:
            fragment = self._fragments[name]
            self._known[name] = self.of(
                fragment.selection_set, self._schema.get_type(fragment.type_condition.name.value)
            )
        return self._known[name]

    def _rows(self, node: FieldNode, field: GraphQLField) -> int:
        """At most how many rows a field has; outside 1 to 100 the field itself refuses."""
        if "ids" in field.args:
            return min(MAX_PAGE, self._length(_argument(node, "ids")))
        if "representations" in field.args:
            return self._length(_argument(node, "representations"))
        if "first" not in field.args:
            return _UNSIZED.get(node.name.value, 1)
        return self._most(node, "first" if self._number(_argument(node, "last")) is None else "last")

    def _most(self, node: FieldNode, name: str) -> int:
        """What an argument limits a list to; without it, the default of every long list."""
        given = self._number(_argument(node, name))
        return max(1, min(MAX_PAGE, MAX_PAGE // 5 if given is None else given))

    def _facets(self, node: FieldNode) -> int:
        attributes = _argument(node, "attributes")
        return len(FacetField) + (0 if attributes is None else self._length(attributes))

    def _number(self, argument: ValueNode | None) -> int | None:
        """The value of a whole number; None when there is none."""
        match argument:
            case IntValueNode(value=digits):
                return int(digits)
            case VariableNode(name=name):
                found = self._variables.get(name.value)
                # 100.0 is a whole number in JSON, and GraphQL takes it for an Int.
                return int(found) if isinstance(found, int | float) and math.isfinite(found) else None
            case _:
                return None

    def _length(self, argument: ValueNode | None) -> int:
        """How many there are in a list; what is none is taken for a list of itself."""
        match argument:
            case ListValueNode(values=values):
                return len(values)
            case VariableNode(name=name) if isinstance(found := self._variables.get(name.value), list):
                return len(found)
            case _:
                return 1

    def _longest(self, argument: ValueNode | None) -> int:
        """The length of the longest list in an argument; one without a list is taken for a list of itself."""
        match argument:
            case ListValueNode(values=values):
                return max([1, len(values), *map(self._longest, values)])
            case ObjectValueNode(fields=fields):
                return max([1, *(self._longest(field.value) for field in fields)])
            case VariableNode(name=name):
                return _longest_list(self._variables.get(name.value))
            case _:
                return 1


def _argument(node: FieldNode, name: str) -> ValueNode | None:
    return next((argument.value for argument in node.arguments or () if argument.name.value == name), None)


def _longest_list(value: object, depth: int = DEEPEST_LIST) -> int:
    if depth and isinstance(value, dict):
        return max([1, *(_longest_list(part, depth - 1) for part in value.values())])
    if depth and isinstance(value, list):
        return max([1, _members(value), *(_longest_list(part, depth - 1) for part in value)])
    return 1


def _members(values: list[Any]) -> int:
    """How many there are; of events, how many talents or jobs they are about: a payload lists each once."""
    if not values or not all(isinstance(value, dict) and "talentId" in value and "jobId" in value for value in values):
        return len(values)
    return max(len({str(value[name]) for value in values}) for name in ("talentId", "jobId"))
