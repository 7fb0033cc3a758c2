"""Bounds of a document, held before anything whose time is more than linear in it: see check_selections.

The parser stops at a number of tokens, but has made objects of them by then, some 5 µs each; validation takes as much
again, and looks through the schema for what every unknown name may have meant; merging fields that are alike is
quadratic in them, and fragments multiply. Here a text is looked over once, for a tenth of that, and what it selects
once, within a budget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from gateway.graphql.errors import request_error

MAX_TEXT: Final = 65_536  # characters: 2,000 tokens of an app have some 20,000
MAX_WRITTEN: Final = 20_000  # of them no white space: each is lexed by itself, those of strings in .1 to .25 µs
MAX_TOKENS: Final = 2_000  # the introspection query of GraphiQL has about 400
MAX_NESTING: Final = 100  # brackets within brackets
MAX_SELECTED: Final = 5_000  # fields, each counted wherever a fragment brings it
MAX_ALIKE: Final = 1_000  # pairs of fields or fragments that have to be compared, because they may be one
MAX_EXPANDED: Final = 20_000  # the same before anything is parsed, a fragment counted as often as it is spread
MAX_DEFINITIONS: Final = 100  # operations and fragments
MAX_VARIABLES: Final = 100
MAX_DIRECTIVES: Final = 100
MAX_UNKNOWN: Final = 10  # names that the schema does not have: fewer are explained one by one
MAX_SCHEMAS: Final = 10  # `__schema` and `__type`
MAX_INTROSPECTED: Final = 200_000  # values of the schema, estimated

_TOKEN: Final = re.compile(
    r'#[^\n\r]*|"""(?:[^"\\]|\\.|"(?!""))*+(?:""")?|"(?:[^"\\\n]|\\.)*+"?|[_A-Za-z][_0-9A-Za-z]*+|[-0-9][-+.0-9eE]*+'
    r"|\.\.\.|[^\s,\ufeff]",
    re.DOTALL,
)
# How many there are of each in a schema of this size: what multiplies below a field of introspection.
_OF_SCHEMA: Final = {"types": 150, "fields": 6, "args": 2, "inputFields": 2, "enumValues": 2, "directives": 6}
_NOT_PARSED: Final = "GRAPHQL_PARSE_FAILED"
_NOT_VALID: Final = "GRAPHQL_VALIDATION_FAILED"
_TOO_LARGE: Final = "QUERY_TOO_LARGE"


def check_text(text: str, schema: GraphQLSchema) -> None:
    """Raises GraphQLError for a text that would take long to be parsed or validated, or to be refused by that.

    What is not GraphQL is for the parser to say, but for what is too much of it.
    """
    if len(text) > MAX_TEXT:
        raise request_error(f"a document has at most {MAX_TEXT} characters; got {len(text)}", _NOT_PARSED)
    # Of what is only characters the first show it: a token is one at least.
    tokens = [found[0] for found in islice(_TOKEN.finditer(text), MAX_TOKENS + 1)]
    if len(tokens) > MAX_TOKENS:
        raise request_error(f"a document has at most {MAX_TOKENS} tokens", _NOT_PARSED)  # comments are some, as there
    if len(text) > MAX_WRITTEN and sum(map(len, tokens)) > MAX_WRITTEN:
        most = f"a document has at most {MAX_WRITTEN} characters besides white space"
        raise request_error(f"{most}; send long values as variables", _NOT_PARSED)
    _Outline(_names(schema)).take(tokens)


@cache
def _names(schema: GraphQLSchema) -> frozenset[str]:
    """Everything that has a name in a schema: types, fields, arguments, values of enums, directives."""
    found = {"__schema", "__type", "__typename", "true", "false", "null", "on"}
    for name, kind in schema.type_map.items():
        found |= {name, *getattr(kind, "values", ())}
        for field, of_field in getattr(kind, "fields", {}).items():
            found |= {field, *getattr(of_field, "args", ())}
    for directive in schema.directives:
        found |= {directive.name, *directive.args}
    return frozenset(found)


class _Outline:
    """What a text has so much of, found in one pass over its tokens.

    A definition is an operation or a fragment; each has fields of its own and spreads others.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._unknown: list[str] = []
        self._variables: set[str] = set()
        self._directives = 0
        self._schemas = 0
        self._alike = 0
        self._fields: dict[str, int] = {"": 0}  # of each definition
        self._spreads: dict[str, list[str]] = {"": []}
        self._definition = ""

    def take(self, tokens: list[str]) -> None:
        """Raises GraphQLError at the first bound that is passed."""
        tokens = [token for token in tokens if token[0] != "#"]
        keys: list[dict[str, int]] = []  # of the selections that are open: what each name there is asked how often
        depth, within = 0, 0  # brackets, and those of arguments, wherein `{` opens an object
        before = former = ""
        for token, after in zip(tokens, [*tokens[1:], ""], strict=False):  # a text of comments alone has none
            first = token[0]
            if first in "{[(":
                depth += 1
                if depth > MAX_NESTING:
                    raise request_error(f"a document nests at most {MAX_NESTING} brackets", _NOT_PARSED)
                if within or first == "(":
                    within += 1
                elif first == "{":
                    if not keys and before in ("", "}"):
                        self._define(f"{len(self._fields)}")
                    keys.append({})
            elif first in ")]}":
                depth -= 1
                if within:
                    within -= 1
                elif keys:
                    keys.pop()
            elif first == "_" or first.isalpha():
                self._name(token, before, former, after, keys, within)
            former, before = before, token
        self._check_expanded()

    def _name(self, name: str, before: str, former: str, after: str, keys: list[dict[str, int]], within: int) -> None:
        if before == "$":
            self._variables.add(name)
            if len(self._variables) > MAX_VARIABLES:
                raise request_error(f"a document has at most {MAX_VARIABLES} variables", _TOO_LARGE)
            return
        if before == "@":
            self._directives += 1
            if self._directives > MAX_DIRECTIVES:
                raise request_error(f"a document has at most {MAX_DIRECTIVES} directives", _TOO_LARGE)
        elif not within and not keys:
            if name in ("query", "mutation", "subscription") and before in ("", "}"):
                self._define(f"{len(self._fields)}")
            elif before == "fragment":
                self._define(name)
            elif before != "on":
                return  # of an operation, or no GraphQL
        elif not within:
            if before == "..." and name != "on":
                self._spreads[self._definition].append(name)
                return
            if (former, before) != ("...", "on") and name != "on":
                self._field(name, before, after, keys[-1])
                if after == ":":
                    return  # an alias is anybody's to choose
        if name not in self._names and before != "fragment":
            self._unknown.append(name)
            if len(self._unknown) > MAX_UNKNOWN:
                some = ", ".join(found[:40] for found in self._unknown[:3])
                raise request_error(f"the schema has no {some}, nor {MAX_UNKNOWN - 2} more", _NOT_VALID)

    def _define(self, name: str) -> None:
        """Begin with a definition; those of one name are one, as the second is refused anyway."""
        self._definition = name
        self._fields.setdefault(name, 0)
        self._spreads.setdefault(name, [])
        if len(self._fields) > MAX_DEFINITIONS + 1:
            raise request_error(f"a document has at most {MAX_DEFINITIONS} operations and fragments", _TOO_LARGE)

    def _field(self, name: str, before: str, after: str, keys: dict[str, int]) -> None:
        """A field, by its alias if it has one. One that stands n times in a place makes n (n - 1) / 2 pairs."""
        if before != ":":
            self._alike += keys.get(name, 0)
            if self._alike > MAX_ALIKE:
                raise _too_alike()
            keys[name] = keys.get(name, 0) + 1
        if after != ":":
            self._fields[self._definition] += 1
            self._schemas += name in ("__schema", "__type")
            if self._schemas > MAX_SCHEMAS:
                raise _too_introspective()

    def _check_expanded(self) -> None:
        """Each fragment counts wherever it is spread; its size is worked out once."""
        sizes: dict[str, int] = {}

        def size_of(name: str) -> int:
            if name not in sizes:
                sizes[name] = 0  # one that leads back to itself is refused by the rules of GraphQL
                below = sum(map(size_of, self._spreads.get(name, ())))
                sizes[name] = min(self._fields.get(name, 0) + below, MAX_EXPANDED + 1)
            return sizes[name]

        if any(size_of(name) > MAX_EXPANDED for name in self._fields):
            raise _selects_too_much(MAX_EXPANDED)


def _selects_too_much(most: int) -> GraphQLError:
    return request_error(f"an operation selects at most {most} fields, with fragments", _TOO_LARGE)


def _too_alike() -> GraphQLError:
    return request_error("an operation selects too many fields of the same name in one place", _TOO_LARGE)


def _too_introspective() -> GraphQLError:
    return request_error("an operation asks too much of the schema at once", _TOO_LARGE)


def check_selections(document: DocumentNode) -> None:
    """Raises GraphQLError for more selections, equal ones or introspection than can be validated in a moment."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    spent = _Spent()
    # A fragment that no operation spreads is validated all the same.
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode | FragmentDefinitionNode):
            _check(node.selection_set, fragments if isinstance(node, OperationDefinitionNode) else {}, spent)


class _Spent:
    """What has been counted so far."""

    def __init__(self) -> None:
        self.selected = 0
        self.alike = 0
        self.introspected = 0

    def check(self) -> None:
        if self.selected > MAX_SELECTED:
            raise _selects_too_much(MAX_SELECTED)
        if self.alike > MAX_ALIKE:
            raise _too_alike()
        if self.introspected > MAX_INTROSPECTED:
            raise _too_introspective()


def _check(root: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode], spent: _Spent) -> None:
    """Go through fields as they are merged: those of one name in one place lead on together."""
    places: list[tuple[list[SelectionSetNode], int]] = [
        ([root], 0)
    ]  # and how many values of the schema each stands for
    while places:
        together, times = places.pop()
        by_name: dict[str, list[FieldNode]] = {}
        spreads: set[str] = set()
        for field in _fields(together, fragments, spreads):
            spent.selected += 1
            if spent.selected > MAX_SELECTED:
                break
            by_name.setdefault((field.alias or field.name).value, []).append(field)
        spent.alike += len(spreads) ** 2 // 8
        for fields in by_name.values():
            spent.alike += len(fields) * (len(fields) - 1) // 2
            name = fields[0].name.value
            below = max(times, 1) if name in ("__schema", "__type") or times else 0
            below *= _OF_SCHEMA.get(name, 1) if below else 1
            spent.introspected += below
            deeper = [field.selection_set for field in fields if field.selection_set is not None]
            if deeper:
                places.append((deeper, below))
        spent.check()


def _fields(
    together: list[SelectionSetNode], fragments: dict[str, FragmentDefinitionNode], spreads: set[str]
) -> Iterator[FieldNode]:
    """Every field of selections in one place, a fragment's once."""
    waiting = list(together)
    while waiting:
        for node in waiting.pop().selections:
            match node:
                case FieldNode():
                    yield node
                case InlineFragmentNode():
                    waiting.append(node.selection_set)
                case FragmentSpreadNode(name=name) if name.value not in spreads:
                    spreads.add(name.value)
                    if name.value in fragments:
                        waiting.append(fragments[name.value].selection_set)
