"""What the schema needs of the rest: the recommender, the stores, a clock and a source of ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.erasure import Remains
from gateway.graphql.changes import ChangeFeed
from gateway.resilience.guards import Guards
from gateway.rules_file import RulesFile
from recommender.ports import Catalogue, CatalogueWriter, EventLog
from recommender.recommender import Recommender


class CatalogueStore(Catalogue, CatalogueWriter, Protocol):
    """A catalogue that can be read and written."""


@dataclass(frozen=True, slots=True)
class Services:
    """Built once per process by the composition root; shared by every request.

    rules: the file, where there is one. compiles: whether operations are executed compiled, see executor.py.
    public_attributes: see the settings. remains: what else is erased from. guards: of what catalogue and events ask.
    """

    recommender: Recommender
    catalogue: CatalogueStore
    events: EventLog
    clock_ms: Callable[[], int]
    new_id: Callable[[], str]
    rules: RulesFile | None = None
    compiles: bool = True
    public_attributes: frozenset[str] = frozenset()
    remains: Remains | None = None
    guards: Guards = field(default_factory=Guards)
    changes: ChangeFeed = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", ChangeFeed(self.events, self.recommender))
