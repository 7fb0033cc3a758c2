"""The context of one request: who asks, what there is to ask, and what has been loaded already."""

from __future__ import annotations

from typing import TypeAlias

import strawberry

from gateway.graphql.executor import Compiled
from gateway.graphql.loaders import Loaders
from gateway.graphql.services import Services
from gateway.graphql.viewer import Viewer


class Context:
    """Made inside the running loop, once per request, and never shared.

    requested_cost: see cost.py; known once the operation is valid. compiled: see executor.py; None to do without.
    reads_parts: whether the answer may come in parts, for @defer.
    """

    def __init__(self, services: Services, viewer: Viewer, request_id: str, *, reads_parts: bool = False) -> None:
        self.services = services
        self.viewer = viewer
        self.request_id = request_id
        self.reads_parts = reads_parts
        self.requested_cost = 0
        self.compiled: Compiled | None = None
        self.now_ms = services.clock_ms()
        self.loaders = Loaders(services, self.now_ms)

    def forget_loaded(self) -> None:
        """Start with fresh loaders, now: what a mutation or a subscription tells must show what was written."""
        self.now_ms = self.services.clock_ms()
        self.loaders = Loaders(self.services, self.now_ms)


Info: TypeAlias = strawberry.Info[Context, None]
