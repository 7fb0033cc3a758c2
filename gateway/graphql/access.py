"""Who reaches which field: one table of every field of every type. A field that is not in it is refused to everybody.

This is the first of two questions. The second, whose data it may be, is asked where documents, events and lists come
in: see sight.py and loaders.py.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final

from graphql import GraphQLField, GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, is_introspection_type

from gateway.graphql.errors import ForbiddenError
from gateway.graphql.viewer import Permission, Viewer


class Reach(enum.Enum):
    """Who reaches a field."""

    PART = "who sees the object sees this of it"
    LOOKUP = "everybody, and finds what they may see"
    OF_TALENT = "the talent that it is about, and staff"
    OF_CLIENT = "the client that it is about, and staff"
    RECORD = "who may record events, of what they did"
    CHANGE = "who may change documents"
    DELETE = "who may delete documents"
    STAFF = "service, engineer and admin"


_NEEDS: Final = {
    Reach.LOOKUP: Permission.READ,
    Reach.OF_TALENT: Permission.READ,
    Reach.OF_CLIENT: Permission.READ,
    Reach.RECORD: Permission.WRITE_EVENTS,
    Reach.CHANGE: Permission.WRITE_CATALOGUE,
    Reach.DELETE: Permission.DELETE,
    Reach.STAFF: Permission.OBSERVE,
}
_LIST: Final = "edges nodes pageInfo totalCount facets"
_RANKED_LIST: Final = f"{_LIST} requestId model strategy exactness recall degradedReasons"
_RANKED_EDGE: Final = "node rank score strategy recommendationId cursor reasons interactions"
_DOCUMENT: Final = "id title description skills category country level attributes interactions"

FIELDS: Final[dict[str, dict[Reach, str]]] = {
    "Query": {
        Reach.LOOKUP: "node nodes viewer rateLimit talent job client jobs explain _entities",
        Reach.OF_TALENT: "recommendedJobs",
        Reach.OF_CLIENT: "talents",
        Reach.STAFF: "_service",
    },
    "Mutation": {
        Reach.RECORD: "recordEvents",
        Reach.CHANGE: "upsertTalents upsertJobs",
        Reach.DELETE: "deleteTalent deleteJob",
    },
    "Subscription": {Reach.LOOKUP: "recommendationsChanged"},
    "Talent": {
        Reach.PART: f"{_DOCUMENT} talentId hourlyRate isAvailable createdAt",
        Reach.OF_TALENT: "recommendedJobs",
        Reach.OF_CLIENT: "similarTalents",
    },
    "Job": {
        Reach.PART: f"{_DOCUMENT} jobId client isRemote budget status postedAt expiresAt similarJobs",
        Reach.OF_CLIENT: "recommendedTalents",
    },
    "Client": {Reach.PART: "id clientId jobs"},
    "Node": {Reach.PART: "id"},
    "Viewer": {Reach.PART: "roles talent client"},
    "RateLimit": {Reach.PART: "cost maximumCost limit remaining resetAt"},
    "Attribute": {Reach.PART: "name value"},
    "Money": {Reach.PART: "amount currency"},
    "Budget": {Reach.PART: "type min max currency"},
    "PageInfo": {Reach.PART: "hasNextPage hasPreviousPage startCursor endCursor"},
    "Facet": {Reach.PART: "name buckets otherCount missingCount"},
    "FacetBucket": {Reach.PART: "value from to count isSelected"},
    "Highlight": {Reach.PART: "field text ranges hasMoreBefore hasMoreAfter"},
    "TextRange": {Reach.PART: "start end"},
    "JobConnection": {Reach.PART: _LIST},
    "JobEdge": {Reach.PART: "cursor node highlights"},
    "TalentConnection": {Reach.PART: _LIST},
    "TalentEdge": {Reach.PART: "cursor node highlights"},
    "RecommendedJobConnection": {Reach.PART: _RANKED_LIST},
    "RecommendedJobEdge": {Reach.PART: _RANKED_EDGE},
    "RecommendedTalentConnection": {Reach.PART: _RANKED_LIST},
    "RecommendedTalentEdge": {Reach.PART: _RANKED_EDGE},
    "Model": {Reach.PART: "version trainedAt"},
    "Reason": {Reach.PART: "kind text skills jobs talents"},
    "Interaction": {Reach.PART: "eventId actor type talent job occurredAt recommendationId"},
    "InteractionConnection": {Reach.PART: "edges nodes pageInfo"},
    "InteractionEdge": {Reach.PART: "cursor node"},
    "Explanation": {
        Reach.PART: "blockedBy rank score contributions clause rule scoreGap probability mutualProbability text"
    },
    "Contribution": {Reach.PART: "signal value effect reason"},
    "RecordEventsPayload": {Reach.PART: "acceptedCount duplicateCount userErrors token talents jobs"},
    "UpsertPayload": {Reach.PART: "acceptedCount userErrors token"},
    "DeletePayload": {Reach.PART: "deletedId receiptId userErrors"},
    "UserError": {Reach.PART: "index field code message"},
    "RecommendationsChanged": {Reach.PART: "cause talent job token"},
    "_Service": {Reach.PART: "sdl"},
}
REACH: Final[dict[tuple[str, str], Reach]] = {
    (type_name, field): reach
    for type_name, rows in FIELDS.items()
    for reach, fields in rows.items()
    for field in fields.split()
}


def check(viewer: Viewer, type_name: str, field: str) -> None:
    """Raise ForbiddenError when the viewer does not reach a field at all, whosever data it would be."""
    reach = REACH.get((type_name, field))
    if reach is None:
        raise ForbiddenError(f"{type_name}.{field} is not classified in gateway/graphql/access.py: nobody reaches it")
    permission = _NEEDS.get(reach)
    if permission is not None:
        viewer.require(permission)
    if not viewer.may_all and (
        (reach is Reach.OF_TALENT and viewer.talent_id is None)
        or (reach is Reach.OF_CLIENT and viewer.client_id is None)
    ):
        raise ForbiddenError(f"{viewer.named} may not ask for {type_name}.{field}: it is for {reach.value}")


def guard(schema: GraphQLSchema) -> None:
    """Put the check before every field that is not for whoever sees its object. Before any type is renamed."""
    for named in schema.type_map.values():
        if isinstance(named, GraphQLObjectType | GraphQLInterfaceType) and not is_introspection_type(named):
            guard_fields(named.name, named.fields)


def guard_fields(type_name: str, fields: Mapping[str, GraphQLField]) -> None:
    """The same for the fields of one type.

    Streams are begun by another function, which checks for itself; see subscription.py.
    """
    for name, field in fields.items():
        if REACH.get((type_name, name)) is not Reach.PART and field.subscribe is None:
            field.resolve = Guarded(type_name, name, field.resolve)


class Guarded:
    """A resolver behind the check."""

    __slots__ = ("_name", "_type_name", "resolve")

    def __init__(self, type_name: str, name: str, resolve: Callable[..., Any] | None) -> None:
        self._type_name = type_name
        self._name = name
        self.resolve = resolve

    def __call__(self, source: Any, info: Any, **arguments: Any) -> Any:
        """As graphql-core calls it."""
        self.check(info.context.viewer)
        if self.resolve is None:
            return getattr(source, self._name, None)
        return self.resolve(source, info, **arguments)

    def check(self, viewer: Viewer) -> None:
        """See access.check."""
        check(viewer, self._type_name, self._name)
