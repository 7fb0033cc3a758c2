"""Selections of plain attributes, each as one Python function instead of a walk over the schema for every value.

A function knows values of the expected classes alone. It raises for every other one, a null where none may be, or an
attribute that fails; by then nothing has happened but reads of attributes, and graphql-core is asked what to make of
it.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLString,
    Undefined,
    is_leaf_type,
)
from graphql.execution import Executor
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.cast import TYPE_CAST_ATTRIBUTE
from strawberry.types.field import StrawberryField

Function: TypeAlias = Callable[[Any], Any]

# What a test in C decides; everything else that a scalar may be goes through its own serialisation.
_AS_IT_IS: Final = {
    GraphQLString.name: (GraphQLString, "{0}.__class__ is str"),
    GraphQLID.name: (GraphQLID, "{0}.__class__ is str"),
    GraphQLBoolean.name: (GraphQLBoolean, "{0}.__class__ is bool"),
    GraphQLInt.name: (GraphQLInt, f"{{0}}.__class__ is int and {-(2**31)} <= {{0}} < {2**31}"),
    GraphQLFloat.name: (GraphQLFloat, "{0}.__class__ is float and {0} - {0} == 0.0"),  # neither infinite nor NaN
}
_PLAIN: Final = frozenset({str, int, float, bool, Decimal, datetime, date, time, UUID, list, tuple, dict})


class UnexpectedValueError(Exception):
    """A value that a compiled function does not know. Never leaves the execution."""


class NotPlainError(Exception):
    """A selection holds more than attributes, or something that nobody foresaw."""


def is_attribute(definition: GraphQLField) -> bool:
    """Whether a field is no more than an attribute of the same object."""
    field = definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return (
        isinstance(field, StrawberryField)
        and field.is_basic_field
        and field.default_resolver is getattr
        and getattr(definition.resolve, "_is_default", False)
        and not definition.args
        and field.python_name.isidentifier()
        and not keyword.iskeyword(field.python_name)
    )


# Where an object that is the same for many requests keeps what the functions of the last selections made of it, which
# nobody may change.
ANSWERS = "_answers"
MOST_ANSWERS = 4


class Shared(list[Any]):
    """Objects that come together for many requests. Nobody may change it; see ANSWERS."""

    def __init__(self, objects: Iterable[Any]) -> None:
        super().__init__(objects)
        setattr(self, ANSWERS, {})


class Compiler:
    """Functions for the selections of one operation, whose fields an executor of it collects."""

    def __init__(self, executor: Executor[Any]) -> None:
        self._executor = executor
        self._names: dict[str, Any] = {"Unexpected": UnexpectedValueError, "Shared": Shared}
        self._functions: list[str] = []

    def object(self, parent: GraphQLObjectType, fields: GroupedFieldSet) -> tuple[Function, list[str]]:
        """From an object to the answer's, and the keys of what is more than attributes: None, to be filled in."""
        left: list[str] = []
        return self._made(self._object(parent, fields, left)), left

    def value(self, declared: GraphQLOutputType, details: FieldDetailsList) -> Function:
        """From a field's value to the answer's. Raises NotPlainError."""
        name = self._name("value", None)
        lines = [f"def {name}(v):", *self._value(declared, details, "v", " "), " return v"]
        self._functions.append("\n".join(lines))
        return self._made(name)

    def _made(self, name: str) -> Function:
        exec("\n".join(self._functions), self._names)  # noqa: S102 — of names of the schema and the document alone
        function: Function = self._names[name]
        return function

    def _name(self, prefix: str, value: Any) -> str:
        """A new name for a value that the functions refer to."""
        name = f"{prefix}_{len(self._names)}"
        self._names[name] = value
        return name

    def _object(self, parent: GraphQLObjectType, fields: GroupedFieldSet, left: list[str] | None = None) -> str:
        """Write the function for a selection on an object; its name. left: gets the keys that are left open."""
        name = self._name("object", None)
        lines, entries = [f"def {name}(o):"], []
        for place, (key, details) in enumerate(fields.items()):
            field = details[0].node.name.value
            if field == "__typename":
                entries.append(f"{key!r}: {parent.name!r}")
                continue
            try:
                lines += self._attribute(parent, details, f"v{place}")
                entries.append(f"{key!r}: v{place}")
            except NotPlainError:
                if left is None:
                    raise
                left.append(key)
                entries.append(f"{key!r}: None")
        answer = f"{{{', '.join(entries)}}}"
        if left is None:
            key = self._name("key", object())
            kept = f"kept = getattr(o, {ANSWERS!r}, None)"
            lines[1:1] = [f" {kept}", f" if kept is not None and {key} in kept: return kept[{key}]"]
            lines += [f" answer = {answer}", " if kept is not None:"]
            lines += [f"  if len(kept) >= {MOST_ANSWERS}: kept.clear()", f"  kept[{key}] = answer"]
            answer = "answer"
        self._functions.append("\n".join([*lines, f" return {answer}"]))
        return name

    def _attribute(self, parent: GraphQLObjectType, details: FieldDetailsList, variable: str) -> list[str]:
        definition = self._executor.schema.get_field(parent, details[0].node.name.value)
        if definition is None or not is_attribute(definition):
            raise NotPlainError
        field = definition.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
        return [f" {variable} = o.{field.python_name}", *self._value(definition.type, details, variable, " ")]

    def _value(self, declared: GraphQLOutputType, details: FieldDetailsList, v: str, indent: str) -> list[str]:
        """Lines that turn a variable from a field's value into the answer's."""
        if isinstance(declared, GraphQLNonNull):
            # None is of no expected class, and no function answers with it.
            return self._present(declared.of_type, details, v, indent)
        lines = self._present(declared, details, v, indent + " ")
        return [f"{indent}if {v} is not None:", *lines]

    def _present(self, declared: GraphQLOutputType, details: FieldDetailsList, v: str, indent: str) -> list[str]:
        if is_leaf_type(declared):
            return self._leaf(declared, v, indent)
        if isinstance(declared, GraphQLList):
            item = self._item(declared.of_type, details)
            key, kept = self._name("key", object()), f"{v}_kept"
            return [
                f"{indent}{kept} = {v}.{ANSWERS} if {v}.__class__ is Shared else None",
                f"{indent}if {kept} is not None and {key} in {kept}: {v} = {kept}[{key}]",
                f"{indent}else:",
                f"{indent} if {kept} is None and {v}.__class__ is not list: raise Unexpected",
                f"{indent} {v} = [{item} for item in {v}]",
                f"{indent} if {kept} is not None:",
                f"{indent}  if len({kept}) >= {MOST_ANSWERS}: {kept}.clear()",
                f"{indent}  {kept}[{key}] = {v}",
            ]
        if isinstance(declared, GraphQLObjectType):
            return self._nested(declared, details, v, indent)
        raise NotPlainError  # an abstract type: which it is, is graphql-core's to find out

    def _item(self, declared: GraphQLOutputType, details: FieldDetailsList) -> str:
        """An expression for one `item` of a list."""
        named = declared.of_type if isinstance(declared, GraphQLNonNull) else None
        known, test = _AS_IT_IS.get(getattr(named, "name", ""), (None, ""))
        if named is not None and known is named:
            return f"item if {test.format('item')} else {self._name('leaf', _serializer(known))}(item)"
        function = self._name("item", None)
        lines = [f"def {function}(v):", *self._value(declared, details, "v", " "), " return v"]
        self._functions.append("\n".join(lines))
        return f"{function}(item)"

    def _nested(self, declared: GraphQLObjectType, details: FieldDetailsList, v: str, indent: str) -> list[str]:
        definition = declared.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
        if not isinstance(definition, StrawberryObjectDefinition) or definition.is_type_of is not None:
            raise NotPlainError
        origin = definition.origin
        if issubclass(origin, Exception) or hasattr(origin, "__await__"):
            raise NotPlainError
        function = self._object(declared, self._executor.collect_subfields(declared, details).grouped_field_set)
        checks = [f"{indent}if {v}.__class__ is not {self._name('class', origin)}: raise Unexpected"]
        if declared.is_type_of is not None:  # Strawberry's own, which lets an object say that it is of another type
            checks.append(f"{indent}if {TYPE_CAST_ATTRIBUTE!r} in {v}.__dict__: raise Unexpected")
        return [*checks, f"{indent}{v} = {function}({v})"]

    def _leaf(self, declared: GraphQLLeafType, v: str, indent: str) -> list[str]:
        if isinstance(declared, GraphQLEnumType):
            members = getattr(declared, "wrapped_cls", None)
            if members is None:
                raise NotPlainError
            names = {member._name_: declared.coerce_output_value(member) for member in members}
            return [
                f"{indent}if {v}.__class__ is not {self._name('class', members)}: raise Unexpected",
                f"{indent}{v} = {self._name('names', names)}[{v}._name_]",
            ]
        serialize = self._name("leaf", _serializer(declared))
        known, test = _AS_IT_IS.get(declared.name, (None, ""))
        if known is declared:
            return [f"{indent}if not ({test.format(v)}): {v} = {serialize}({v})"]
        return [f"{indent}{v} = {serialize}({v})"]


def _serializer(declared: GraphQLLeafType) -> Function:
    """A scalar's serialisation of what is neither an error nor to be awaited."""
    coerce = declared.coerce_output_value

    def serialize(value: Any) -> Any:
        if value.__class__ not in _PLAIN:
            raise UnexpectedValueError
        answer = coerce(value)
        if answer is None or answer is Undefined:
            raise UnexpectedValueError
        return answer

    return serialize
