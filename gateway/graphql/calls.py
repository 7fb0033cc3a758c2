"""Resolvers called as the functions that they are, with arguments that were made ready when they were first asked for.

graphql-core coerces the arguments of a field in every request, and Strawberry converts them once more. The text of a
variable is in what comes of it as it was sent, and nothing else there depends on it: so both are asked once, with a
mark in the place of each text, and what they gave is filled in from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from operator import itemgetter
from typing import Any, Final, TypeAlias

from graphql import FieldNode, GraphQLField, GraphQLSchema, ListValueNode, ObjectValueNode, Undefined, VariableNode
from graphql.execution.values import VariableValues
from strawberry import Info
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_arguments
from strawberry.types.base import has_object_definition
from strawberry.types.field import StrawberryField

from gateway.graphql.access import Guarded

MOST_TEMPLATES = 16  # of one field of one document: by which texts are null, and by the variables that are no text
# A variable has one type, so that of its values those of one class alone are compared.
_COMPARED: Final = frozenset({type(None), bool, int, type(Undefined)})

Arguments: TypeAlias = dict[str, Any]
_Filled: TypeAlias = Callable[[Mapping[str, Any]], Any]


class _Mark(str):
    """In the place of the text of the variable that it names."""

    __slots__ = ()


class Call:
    """One field of one operation, whose resolver Strawberry would call with nothing before or after it."""

    def __init__(
        self, guarded: Guarded | None, field: StrawberryField, schema: GraphQLSchema, variables: Mapping[str, bool]
    ) -> None:
        """variables: those in its arguments, and whether each is text."""
        resolver = field.base_resolver
        assert resolver is not None  # noqa: S101 — see call_of
        self._guarded = guarded
        self._field = field
        self._function: Callable[..., Any] = resolver.__call__
        self._takes_source = resolver.self_parameter is not None
        self._info_name = None if resolver.info_parameter is None else resolver.info_parameter.name
        self._strawberry: Any = schema._strawberry_schema  # type: ignore[attr-defined]
        self._variables = variables
        self._templates: dict[tuple[Any, ...], _Template | None] = {}

    def __call__(self, source: Any, info: Any, arguments: Arguments) -> Any:
        """What the resolver gives. arguments: see `arguments`."""
        if self._guarded is not None:
            self._guarded.check(info.context.viewer)
        if self._info_name is not None:
            arguments = {**arguments, self._info_name: Info(info, self._field)}
        return self._function(source, **arguments) if self._takes_source else self._function(**arguments)

    def arguments(
        self, node: FieldNode, values: VariableValues, coerced: Callable[[VariableValues], Arguments]
    ) -> Arguments | None:
        """The function's own, whose values nobody may change; None where graphql-core and Strawberry have to be asked.

        coerced: graphql-core's arguments by variables.
        """
        given = values.coerced
        key: list[object] = []
        for name, is_text in self._variables.items():
            value = given.get(name, Undefined)
            if is_text and value.__class__ is str:
                key.append(str)
            elif value.__class__ in _COMPARED:
                key.append(value)
            else:
                return None
        known = tuple(key)
        if known not in self._templates:
            if len(self._templates) >= MOST_TEMPLATES:
                return None
            texts = {name: _Mark(name) for name, one in zip(self._variables, key, strict=True) if one is str}
            self._templates[known] = None
            with suppress(Exception):  # whoever is asked instead raises it where it belongs
                marked = coerced(VariableValues(values.sources, {**given, **texts}))
                self._templates[known] = self._template(node, marked, texts)
        template = self._templates[known]
        return None if template is None else template.filled(given)

    def _template(self, node: FieldNode, arguments: Arguments, texts: Mapping[str, _Mark]) -> _Template | None:
        owner = self._strawberry
        registry = owner.schema_converter.scalar_registry
        made = _Template(
            convert_arguments(arguments, self._field.arguments, scalar_registry=registry, config=owner.config)
        )
        # One that is not where it can be seen would stay in its place.
        return made if made.marks == sum(name in texts for name in variables_of(node)) else None


class _Template:
    """Arguments with marks in them."""

    def __init__(self, arguments: Arguments) -> None:
        self.marks = 0
        self._arguments = arguments
        self._parts = self._parts_of(arguments)

    def filled(self, given: Mapping[str, Any]) -> Arguments:
        """The arguments with the texts of these variables."""
        return {**self._arguments, **{name: part(given) for name, part in self._parts}}

    def _parts_of(self, values: Mapping[str, Any]) -> list[tuple[str, _Filled]]:
        parts = [(name, self._part(value)) for name, value in values.items()]
        return [(name, part) for name, part in parts if part is not None]

    def _part(self, value: Any) -> _Filled | None:
        """What makes the value with texts in it; None for one that is without marks."""
        if value.__class__ is _Mark:
            self.marks += 1
            return itemgetter(str(value))
        if value.__class__ is list:
            items = [self._part(item) for item in value]
            if any(items):
                return lambda given: [
                    item if part is None else part(given) for item, part in zip(value, items, strict=True)
                ]
        if has_object_definition(value.__class__) and not hasattr(value, "__post_init__"):
            parts = self._parts_of(vars(value))
            if parts:
                return lambda given: _copied(value, {name: part(given) for name, part in parts})
        return None


def _copied(value: Any, changed: Mapping[str, Any]) -> Any:
    made = object.__new__(value.__class__)
    made.__dict__.update(value.__dict__)
    made.__dict__.update(changed)
    return made


def variables_of(node: FieldNode) -> Iterator[str]:
    """The variables in the arguments of a field, each as often as it is there."""
    values = [argument.value for argument in node.arguments or ()]
    for value in values:  # which grows
        match value:
            case VariableNode(name=name):
                yield name.value
            case ListValueNode(values=items):
                values.extend(items)
            case ObjectValueNode(fields=fields):
                values.extend(one.value for one in fields)


def call_of(definition: GraphQLField, node: FieldNode, schema: GraphQLSchema, texts: frozenset[str]) -> Call | None:
    """The call of a field; None where more than its function has to be called. texts: variables that are text."""
    guarded = definition.resolve if isinstance(definition.resolve, Guarded) else None
    resolve = definition.resolve if guarded is None else guarded.resolve
    field = definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    resolver = field.base_resolver if isinstance(field, StrawberryField) else None
    if (
        not isinstance(field, StrawberryField)
        or resolver is None
        or resolver.root_parameter is not None
        or resolver.parent_parameter is not None
        or field.extensions
        or getattr(resolve, "_is_default", None) is not False  # it is another one than Strawberry's
        or not hasattr(schema, "_strawberry_schema")
        or schema._strawberry_schema.schema_converter.exception_handlers
    ):
        return None
    return Call(guarded, field, schema, {name: name in texts for name in variables_of(node)})
