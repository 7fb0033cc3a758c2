"""Bounds of a document, held before anything whose time is more than linear in it: see check_selections.

The parser stops at a number of tokens, but has made objects of them by then; merging fields that are alike is
quadratic in them, and fragments multiply. Here a text is looked over once, and what it selects once, within a budget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from gateway.graphql.errors import request_error

MAX_TEXT: Final = 65_536  # characters: 2,000 tokens of an app have some 20,000
MAX_TOKENS: Final = 2_000  # the introspection query of GraphiQL has about 400
MAX_NESTING: Final = 100  # brackets within brackets
MAX_SELECTED: Final = 5_000  # fields, each counted wherever a fragment brings it
MAX_ALIKE: Final = 1_000  # pairs of fields or fragments that have to be compared, because they may be one
MAX_INTROSPECTED: Final = 200_000  # values of the schema, estimated

_TOKEN: Final = re.compile(
    r'#[^\n\r]*|"""(?:[^"\\]|\\.|"(?!""))*+(?:""")?|"(?:[^"\\\n]|\\.)*+"?|[_A-Za-z][_0-9A-Za-z]*+|[-0-9][-+.0-9eE]*+'
    r"|\.\.\.|[^\s,\ufeff]",
    re.DOTALL,
)
# How many there are of each in a schema of this size: what multiplies below a field of introspection.
_OF_SCHEMA: Final = {"types": 150, "fields": 6, "args": 2, "inputFields": 2, "enumValues": 2, "directives": 6}
_NOT_PARSED: Final = "GRAPHQL_PARSE_FAILED"
_TOO_LARGE: Final = "QUERY_TOO_LARGE"


def check_text(text: str) -> None:
    """Raises GraphQLError for a text that is too long, of too many tokens, or nested too deeply to be parsed."""
    if len(text) > MAX_TEXT:
        raise request_error(f"a document has at most {MAX_TEXT} characters; got {len(text)}", _NOT_PARSED)
    depth = 0
    for tokens, found in enumerate(_TOKEN.finditer(text), start=1):  # a comment is one, as the parser counts
        first = text[found.start()]
        if tokens > MAX_TOKENS:
            raise request_error(f"a document has at most {MAX_TOKENS} tokens", _NOT_PARSED)
        if first in "{[(":
            depth += 1
            if depth > MAX_NESTING:
                raise request_error(f"a document nests at most {MAX_NESTING} brackets", _NOT_PARSED)
        elif first in ")]}":
            depth -= 1


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
            raise request_error(f"an operation selects at most {MAX_SELECTED} fields, with fragments", _TOO_LARGE)
        if self.alike > MAX_ALIKE:
            raise request_error("an operation selects too many fields of the same name in one place", _TOO_LARGE)
        if self.introspected > MAX_INTROSPECTED:
            raise request_error("an operation asks too much of the schema at once", _TOO_LARGE)


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
