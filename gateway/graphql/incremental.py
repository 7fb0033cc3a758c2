"""@defer: an answer in parts, the first one before the deferred fragments are executed.

Clients read one of two forms, neither of which is a standard yet: each part placed by its path (deferSpec=20220824, of
Apollo's clients and urql), or by an id that was announced before (incrementalSpec=v0.2, of graphql-js 17).
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    ExperimentalIncrementalExecutionResults,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDeferDirective,
    GraphQLDirective,
    GraphQLError,
    GraphQLNonNull,
    GraphQLString,
    InlineFragmentNode,
    Node,
    visit,
)
from graphql.execution import (
    CompletedResult,
    IncrementalDeferResult,
    IncrementalResult,
    PendingResult,
    SubsequentIncrementalExecutionResult,
)
from graphql.language import Visitor

from gateway.graphql.errors import answered

DEFER = GraphQLDirective(
    GraphQLDeferDirective.name,
    GraphQLDeferDirective.locations,
    {
        "if": GraphQLArgument(
            GraphQLNonNull(GraphQLBoolean), default_value=True, description="Whether to, e.g. `$onMobile`."
        ),
        "label": GraphQLArgument(GraphQLString, description='A name of its own in the document, e.g. `"list"`.'),
    },
    description="Answer this fragment in a later part, for who accepts `multipart/mixed`, e.g. what takes longer: "
    '`... @defer(label: "list") { recommendedJobs { nodes { title } } }`. Everybody else gets the whole at once.',
)


class PartsForm(enum.Enum):
    """How the parts of an answer say where they belong, by the parameter of the media type that asks for it."""

    PATHS = "deferSpec=20220824"
    IDS = "incrementalSpec=v0.2"


class _Undeferred(Visitor):
    """Leaves every @defer away."""

    @staticmethod
    def enter(node: Node, *_: Any) -> Node | None:
        if not isinstance(node, FragmentSpreadNode | InlineFragmentNode):
            return None
        given = node.directives or ()
        kept = tuple(directive for directive in given if directive.name.value != DEFER.name)
        if len(kept) == len(given):
            return None
        fields = {key: getattr(node, key) for key in node.keys}
        return type(node)(**{**fields, "directives": kept})


def undeferred(document: DocumentNode) -> DocumentNode:
    """The same operations, answered whole: for who does not read parts."""
    whole = visit(document, _Undeferred())
    assert isinstance(whole, DocumentNode)  # noqa: S101 — nothing but fragments is replaced
    return whole


@dataclass(slots=True)
class Parts:
    """The parts of one answer. The first is an answer like any other, with `opening` in it."""

    form: PartsForm
    results: ExperimentalIncrementalExecutionResults
    request_id: str
    _pending: dict[str, PendingResult] = field(default_factory=dict)

    @property
    def opening(self) -> dict[str, Any]:
        """What the first part has beside data and errors."""
        return {"hasNext": True, **self._announced(self.results.initial_result.pending)}

    async def rest(self) -> AsyncGenerator[dict[str, Any]]:
        """The parts behind the first one, as they come; ends what is still executed when it is closed."""
        async with aclosing(self.results.subsequent_results) as results:
            async for result in results:
                yield self._part(result)

    def _part(self, result: SubsequentIncrementalExecutionResult) -> dict[str, Any]:
        announced = self._announced(result.pending or [])
        delivered = [self._delivered(one) for one in result.incremental or ()]
        completed = result.completed or ()
        if self.form is PartsForm.PATHS:
            delivered += [self._failed(one) for one in completed if one.errors]
            ended = {}
        else:
            ended = {"completed": [self._completed(one) for one in completed]} if completed else {}
        return {
            **announced,
            **({"incremental": delivered} if delivered else {}),
            **ended,
            "hasNext": result.has_next,
        }

    def _announced(self, pending: list[PendingResult]) -> dict[str, Any]:
        self._pending |= {one.id: one for one in pending}
        if self.form is PartsForm.PATHS or not pending:
            return {}
        return {"pending": [one.formatted for one in pending]}

    def _delivered(self, one: IncrementalResult) -> dict[str, Any]:
        assert isinstance(one, IncrementalDeferResult)  # noqa: S101 — there is no @stream here
        placed: dict[str, Any] = {"data": one.data, **self._errors(one.errors)}
        if self.form is PartsForm.IDS:
            return {"id": one.id, **placed, **({"subPath": one.sub_path} if one.sub_path else {})}
        return {**placed, **self._place(one.id, one.sub_path or [])}

    def _failed(self, one: CompletedResult) -> dict[str, Any]:
        """A fragment of which nothing is left, because a field of it that cannot be null failed."""
        return {"data": None, **self._errors(one.errors), **self._place(one.id, [])}

    def _completed(self, one: CompletedResult) -> dict[str, Any]:
        return {"id": one.id, **self._errors(one.errors)}

    def _place(self, id_: str, sub_path: list[str | int]) -> dict[str, Any]:
        fragment = self._pending[id_]
        label = {} if fragment.label is None else {"label": fragment.label}
        return {"path": [*fragment.path, *sub_path], **label}

    def _errors(self, errors: list[GraphQLError] | None) -> dict[str, Any]:
        if not errors:
            return {}
        return {"errors": [one.formatted for one in answered(errors, executed=True, request_id=self.request_id)]}
