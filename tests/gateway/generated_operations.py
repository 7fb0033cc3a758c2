"""Random operations of a schema, valid for the most part: fragments, aliases, conditions, arguments and variables."""

from __future__ import annotations

from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

DEEPEST = 4
CONDITIONS = ("a", "b", "c")
_LITERALS = {
    "Int": "3",
    "Float": "0.5",
    "Boolean": "true",
    "DateTime": '"2026-01-31T09:30:00Z"',
    "Decimal": '"42.50"',
}
_GIVEN = {"Int": 4, "String": "text", "ID!": "t5", "[ID!]!": ["t1", "t2"], "Boolean": True, "Float": 0.25}


class OperationMaker:
    """One operation and the fragments that it spreads. The same dice make the same operation."""

    def __init__(self, schema: GraphQLSchema, dice: Random) -> None:
        self._schema = schema
        self._dice = dice
        self._fragments: list[tuple[GraphQLNamedType, str, str]] = []
        self._declared: dict[str, str] = {}
        self._given: dict[str, Any] = {}

    def operation(self) -> tuple[str, dict[str, Any]]:
        """Its text and variables."""
        is_mutation = self._dice.random() < 0.15
        root = self._schema.mutation_type if is_mutation else self._schema.query_type
        assert root is not None
        selection = self._selection(root, 0)
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self._declared.items())
        head = f"{'mutation' if is_mutation else 'query'} Made{f'({declared})' if declared else ''}"
        return "\n".join([f"{head} {selection}", *(text for _, _, text in self._fragments)]), self._given

    def _selection(self, parent: GraphQLNamedType, depth: int) -> str:
        dice = self._dice
        parts = [self._field(parent, depth) for _ in range(dice.choice((1, 1, 2, 2, 3, 6)))]
        if dice.random() < 0.3:
            parts.append(dice.choice(("__typename", "kind_: __typename")))
        if dice.random() < 0.35 and depth < DEEPEST:
            parts.append(self._fragment(parent, depth))
        dice.shuffle(parts)
        return "{ " + " ".join(part for part in parts if part) + " __typename }"

    def _fragment(self, parent: GraphQLNamedType, depth: int) -> str:
        on = parent
        if is_abstract_type(parent):
            on = self._dice.choice([parent, *self._schema.get_possible_types(parent)])
        elif isinstance(parent, GraphQLObjectType) and parent.interfaces and self._dice.random() < 0.3:
            on = self._dice.choice(parent.interfaces)
        selection = self._selection(on, depth + 1)
        if self._dice.random() < 0.5:
            condition = f" on {on.name}" if on is not parent or self._dice.random() < 0.5 else ""
            return f"...{condition}{self._condition()} {selection}"
        name = f"F{len(self._fragments)}"
        self._fragments.append((on, name, f"fragment {name} on {on.name} {selection}"))
        return f"...{name}{self._condition()} {self._again(parent)}"

    def _again(self, parent: GraphQLNamedType) -> str:
        """A fragment that is spread elsewhere."""
        there = [name for on, name, _ in self._fragments if on is parent]
        return f"...{self._dice.choice(there)}{self._condition()}" if there and self._dice.random() < 0.5 else ""

    def _field(self, parent: GraphQLNamedType, depth: int) -> str:
        fields: dict[str, Any] = getattr(parent, "fields", {})
        leaves = [name for name, field in fields.items() if is_leaf_type(get_named_type(field.type))]
        names = list(fields) if depth < DEEPEST else leaves
        if not names:
            return ""
        name = self._dice.choice(names)
        field = fields[name]
        arguments = [
            f"{key}: {self._value(argument)}" for key, argument in field.args.items() if self._is_given(argument)
        ]
        alias = self._dice.choice(("", "", "", "x_", "y_"))
        if arguments:
            alias = f"n{self._dice.randrange(10**6)}_"  # two with other arguments could not be one
        key = f"{alias}{name}: {name}" if alias else name
        text = f"{key}({', '.join(arguments)})" if arguments else key
        below = get_named_type(field.type)
        return f"{text}{self._condition()}{'' if is_leaf_type(below) else ' ' + self._selection(below, depth + 1)}"

    def _condition(self) -> str:
        dice = self._dice
        if dice.random() < 0.8:
            return ""
        value = dice.choice(("true", "false", *CONDITIONS))
        if value in CONDITIONS:
            if value not in self._declared:
                self._declared[value] = dice.choice(("Boolean!", "Boolean! = true", "Boolean = false"))
                if self._declared[value] == "Boolean!" or dice.random() < 0.5:
                    self._given[value] = dice.random() < 0.5
            value = f"${value}"
        return f" @{dice.choice(('skip', 'include'))}(if: {value})"

    def _is_given(self, argument: GraphQLArgument | GraphQLInputField) -> bool:
        is_required = isinstance(argument.type, GraphQLNonNull) and argument.default_value is None
        return is_required or isinstance(argument.type, GraphQLNonNull) or self._dice.random() < 0.3

    def _value(self, argument: GraphQLArgument | GraphQLInputField) -> str:
        """As it stands in the document, or by a variable."""
        if str(argument.type) not in _GIVEN or self._dice.random() < 0.6:
            return self._literal(argument.type)
        name = f"v{len(self._declared)}"
        self._declared[name] = str(argument.type)
        self._given[name] = _GIVEN[str(argument.type)]
        return f"${name}"

    def _literal(self, declared: GraphQLInputType) -> str:
        dice = self._dice
        if isinstance(declared, GraphQLNonNull):
            return self._literal(declared.of_type)
        if isinstance(declared, GraphQLList):
            return "[" + ", ".join(self._literal(declared.of_type) for _ in range(dice.randrange(3))) + "]"
        if isinstance(declared, GraphQLEnumType):
            return dice.choice(list(declared.values))
        if isinstance(declared, GraphQLInputObjectType):
            given = [(name, field) for name, field in declared.fields.items() if self._is_given(field)]
            if declared.extensions["strawberry-definition"].is_one_of:
                given = [dice.choice(list(declared.fields.items()))]
            return "{" + ", ".join(f"{name}: {self._value(field)}" for name, field in given) + "}"
        return _LITERALS.get(declared.name, f'"t{dice.randrange(9)}"')
