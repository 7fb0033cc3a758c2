"""The context of one request: who asks, what there is to ask, and what has been loaded already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import strawberry

from gateway import tracing
from gateway.graphql.executor import Compiled
from gateway.graphql.loaders import Loaders
from gateway.graphql.services import Services
from gateway.graphql.sight import check_attributes, narrowed
from gateway.graphql.viewer import Viewer
from gateway.resilience.rate_limit import Allowance, ThrottledError
from recommender.degradation import CURRENT
from recommender.documents import Kind
from recommender.errors import TandemError
from recommender.filters import Filter
from recommender.query import ListQuery, RankedPage

_Filter = TypeVar("_Filter", bound=Filter)


class Context:
    """Made inside the running loop, once per request, and never shared.

    requested_cost: see cost.py; known once the operation is valid. compiled: see executor.py; None to do without.
    reads_parts: whether the answer may come in parts, for @defer. most_s: how long its caller waits for the answer.
    allowance: what is left to the viewer, where there is a limit. is_alone: whether the one field of the root is being
    resolved, so that nothing else of the operation can ask for anything.
    """

    def __init__(
        self,
        services: Services,
        viewer: Viewer,
        request_id: str,
        *,
        reads_parts: bool = False,
        most_s: float = math.inf,
    ) -> None:
        self.services = services
        self.viewer = viewer
        self.request_id = request_id
        self.reads_parts = reads_parts
        self.requested_cost = 0
        self.compiled: Compiled | None = None
        self.most_s = most_s
        self.allowance: Allowance | None = None
        self.is_alone = False
        self.now_ms = services.clock_ms()
        self.loaders = Loaders(services, viewer, self.now_ms)

    def begin(self) -> None:
        """Begin an answer, in the task that makes it: its time runs from now on, and nothing has failed it yet."""
        self.services.guards.begin(self.most_s)

    async def sees(self, kind: Kind, document_id: str) -> bool:
        """Whether a subject is there for the viewer; who sees all is not made to wait, whether it is there or not."""
        if self.viewer.may_all:
            return True
        if kind is Kind.TALENT and self.viewer.talent_id is not None:
            return document_id == self.viewer.talent_id  # in the catalogue or not
        return await self.loaders.by_id(kind).get(document_id) is not None

    async def ranked_list(self, query: ListQuery) -> RankedPage | None:
        """A page of a list, with those that other fields ask for at the same time, where there may be any."""
        if not self.is_alone or tracing.traces() is not None:
            return await self.loaders.ranked_list_by_query.get(query)
        (answer,) = await self.services.recommender.lists([query])
        if isinstance(answer, TandemError):
            raise answer
        return answer

    def narrowed(self, wanted: _Filter) -> _Filter:
        """See sight.narrowed."""
        return narrowed(self.viewer, wanted, self.services.public_attributes)

    def check_counted(self, kind: Kind, attributes: Sequence[str]) -> None:
        """Raise ForbiddenError for an attribute whose values the viewer is not shown. kind: of what is counted."""
        if not (self.viewer.may_all or (kind is Kind.JOB and self.viewer.client_id is not None)):
            check_attributes(attributes, self.services.public_attributes)

    async def spend(self) -> None:
        """Spend the operation's cost, where that is limited. Raises ThrottledError."""
        limit = self.services.guards.rate_limit
        if limit is not None:
            try:
                self.allowance = await limit.spend(self.viewer.roles, self.viewer.subject, self.requested_cost)
            except ThrottledError as error:
                self.allowance = error.allowance
                raise

    def forget_loaded(self) -> None:
        """Start with fresh loaders, now: what a mutation or a subscription tells must show what was written."""
        self.now_ms = self.services.clock_ms()
        self.loaders = Loaders(self.services, self.viewer, self.now_ms)
        current = CURRENT.get()
        if current is not None:  # to write takes a time of its own
            current.until_s = self.services.guards.until_s(self.most_s)


Info: TypeAlias = strawberry.Info[Context, None]
