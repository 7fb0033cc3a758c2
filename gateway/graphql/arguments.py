"""Arguments that several fields share, each with its description, and the connections that close the graph's cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import strawberry

from gateway.graphql.filters import JobFilter, TalentFilter
from gateway.graphql.options import RecommendationOptions
from recommender.events import EventType

if TYPE_CHECKING:
    from gateway.graphql.interaction import InteractionConnection
    from gateway.graphql.listing import JobConnection
    from gateway.graphql.recommended import RecommendedJobConnection, RecommendedTalentConnection

# The graph has cycles (a job recommends talents, a talent jobs): connections are named lazily here, and the resolvers
# that make them import them when they are asked for.
RecommendedJobs: TypeAlias = Annotated["RecommendedJobConnection", strawberry.lazy("gateway.graphql.recommended")]
RecommendedTalents: TypeAlias = Annotated["RecommendedTalentConnection", strawberry.lazy("gateway.graphql.recommended")]
Interactions: TypeAlias = Annotated["InteractionConnection", strawberry.lazy("gateway.graphql.interaction")]
Jobs: TypeAlias = Annotated["JobConnection", strawberry.lazy("gateway.graphql.listing")]

First: TypeAlias = Annotated[
    int | None, strawberry.argument(description="How many, from 1 to 100, e.g. `10`. Null is the default.")
]
After: TypeAlias = Annotated[
    str | None,
    strawberry.argument(
        description="Go on after this cursor of the same list, e.g. the last `endCursor`. It lives 24 hours."
    ),
]
Last: TypeAlias = Annotated[
    int | None,
    strawberry.argument(
        description="How many from the end, or before `before`, from 1 to 100, e.g. `10`; `first` does not count then."
    ),
]
Before: TypeAlias = Annotated[
    str | None,
    strawberry.argument(
        description="Go back from this cursor of the same list, e.g. the first `startCursor`. It goes with `last`."
    ),
]
Query: TypeAlias = Annotated[
    str | None,
    strawberry.argument(description='Every word must occur in title, skills or description, e.g. `"c++ robotics"`.'),
]
TalentFilterArgument: TypeAlias = Annotated[
    TalentFilter | None,
    strawberry.argument(description="Hard constraints on the talents, e.g. `{ levels: [EXPERT] }`."),
]
JobFilterArgument: TypeAlias = Annotated[
    JobFilter | None, strawberry.argument(description="Hard constraints on the jobs, e.g. `{ isRemote: true }`.")
]
OptionsArgument: TypeAlias = Annotated[
    RecommendationOptions | None,
    strawberry.argument(description='Switches of this list, e.g. `{ placement: "home" }`.'),
]
EventTypes: TypeAlias = Annotated[
    list[EventType] | None,
    strawberry.argument(description="Only these types, e.g. `[SAVE]`; null is all but `IMPRESSION`."),
]
AttributeNames: TypeAlias = Annotated[
    list[str] | None, strawberry.argument(description='Only these, e.g. `["timezone"]`; null is all.')
]
