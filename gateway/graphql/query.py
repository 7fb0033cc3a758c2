"""The root of queries."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, TypeAlias

import strawberry
from strawberry import UNSET

from gateway.graphql.arguments import (
    After,
    Before,
    First,
    JobFilterArgument,
    Last,
    OptionsArgument,
    TalentFilterArgument,
)
from gateway.graphql.arguments import Query as Text
from gateway.graphql.client import Client, client_from
from gateway.graphql.context import Context, Info
from gateway.graphql.cost import MAX_OBJECTS
from gateway.graphql.errors import ForbiddenError
from gateway.graphql.explanation import Explanation, explanation_from, without_untold
from gateway.graphql.filters import job_filter, talent_filter
from gateway.graphql.ids import NodeType, own_id, parse_relay_id
from gateway.graphql.inputs import window
from gateway.graphql.job import Job, job_from
from gateway.graphql.listing import JobConnection, TalentConnection, search_jobs, search_talents
from gateway.graphql.node import Node
from gateway.graphql.nullability import NULL_ONLY_ON_ERROR
from gateway.graphql.options import TalentSubject
from gateway.graphql.options import options as options_from
from gateway.graphql.recommended import RecommendedJobConnection, recommended_jobs_of_subject
from gateway.graphql.scalars import DateTime
from gateway.graphql.sight import sees_event
from gateway.graphql.talent import Talent, talent_from
from recommender import documents
from recommender.documents import Kind, Side
from recommender.errors import BadInputError
from recommender.explain import unknown_pair
from recommender.search import Sort as SortOrder

MAX_NODES = 100

Sort: TypeAlias = Annotated[SortOrder | None, strawberry.argument(description="In which order, e.g. `NEWEST`.")]
RelayId: TypeAlias = Annotated[
    strawberry.ID, strawberry.argument(description='A Relay id, as in the field `id`, e.g. `"VHQtNDdNKT8"`.')
]
TalentId: TypeAlias = Annotated[
    strawberry.ID,
    strawberry.argument(description='The marketplace\'s own id, e.g. `"t-4"`; a Relay id is the error WRONG_ID_KIND.'),
]
JobId: TypeAlias = Annotated[
    strawberry.ID,
    strawberry.argument(description='The marketplace\'s own id, e.g. `"j-17"`; a Relay id is the error WRONG_ID_KIND.'),
]


@strawberry.type(name="Viewer", description='Who asks, e.g. `viewer { roles }` is `["engineer"]` in the demo.')
class ViewerType:
    """What the request's viewer may see of itself."""

    roles: list[str] = strawberry.field(description='What they may act as, e.g. `["service"]`.')
    talent: Talent | None = strawberry.field(description="The talent that asks, e.g. null for a service.")
    client: Client | None = strawberry.field(description="The client that asks, e.g. null for an engineer.")


@strawberry.type(
    description="What may be asked, e.g. `{ cost: 341, limit: null }`. Each operation is held to `maximumCost`; "
    "the rest is of what may be spent in a minute, and null where nothing limits that."
)
class RateLimit:
    """The cost of the operation that asks, see cost.py."""

    cost: int = strawberry.field(
        description="At most how many objects this operation answers with, nested lists multiplied, e.g. `341`."
    )
    maximum_cost: int = strawberry.field(
        description="The most that one operation may cost, e.g. `50000`; beyond, it is refused with `QUERY_TOO_LARGE`."
    )
    limit: int | None = strawberry.field(
        description="What the viewer may spend until `resetAt`, e.g. `100000`; null while nothing limits it."
    )
    remaining: int | None = strawberry.field(
        description="What is left of `limit`, e.g. `99659`; null while nothing limits it."
    )
    reset_at: DateTime | None = strawberry.field(
        description='When `limit` is there again, e.g. `"2026-01-31T09:30:00Z"`; null while nothing limits it.'
    )


@strawberry.type(description='Where every query starts, e.g. `{ talent(talentId: "t-4") { title } }`.')
class Query:
    """One field per question. Whether the viewer may ask it is asked before, see access.py."""

    @strawberry.field(description="Anything with a Relay id; null for one that is gone, e.g. after a delete.")
    async def node(self, info: Info, id: RelayId) -> Node | None:  # noqa: A002 — Relay's name
        return await _node(info.context, *_parsed(id))

    @strawberry.field(
        description="Up to 100 of them in the order of the ids; null where one is gone, e.g. `[null, {…}]`."
    )
    async def nodes(
        self,
        info: Info,
        ids: Annotated[
            list[strawberry.ID], strawberry.argument(description='Relay ids, e.g. `["VHQtNDdNKT8"]`; at most 100.')
        ],
    ) -> list[Node | None]:
        if len(ids) > MAX_NODES:
            raise BadInputError(f"ids: at most {MAX_NODES}; got {len(ids)}")
        return await _nodes(info.context, ids)

    @strawberry.field(description="Who asks and what they may do, e.g. for a menu.", directives=NULL_ONLY_ON_ERROR)
    async def viewer(self, info: Info) -> ViewerType | None:
        viewer, loaders = info.context.viewer, info.context.loaders
        own, client_id = None, viewer.client_id
        if viewer.talent_id is not None:
            own = await loaders.talent_by_talent_id.get(viewer.talent_id)
        is_client = client_id is not None and await loaders.client_exists_by_client_id.get(client_id)
        return ViewerType(
            roles=list(viewer.roles),
            talent=talent_from(own) if isinstance(own, documents.Talent) else None,
            client=client_from(client_id) if is_client and client_id is not None else None,
        )

    @strawberry.field(
        description="What this operation costs and what may be spent, e.g. `rateLimit { cost remaining }`.",
        directives=NULL_ONLY_ON_ERROR,
    )
    def rate_limit(self, info: Info) -> RateLimit | None:
        cost, allowance = info.context.requested_cost, info.context.allowance
        if allowance is None:
            return RateLimit(cost=cost, maximum_cost=MAX_OBJECTS, limit=None, remaining=None, reset_at=None)
        return RateLimit(
            cost=cost,
            maximum_cost=MAX_OBJECTS,
            limit=allowance.limit,
            remaining=allowance.remaining,
            reset_at=DateTime(info.context.services.clock_ms() + round(1_000 * allowance.full_s)),
        )

    @strawberry.field(description="A talent by the marketplace's own id; null for an unknown one, e.g. a mistyped one.")
    async def talent(self, info: Info, talent_id: TalentId) -> Talent | None:
        found = await info.context.loaders.talent_by_talent_id.get(own_id(talent_id, "talentId"))
        return talent_from(found) if isinstance(found, documents.Talent) else None

    @strawberry.field(description="A job by the marketplace's own id; null for an unknown one, e.g. a deleted one.")
    async def job(self, info: Info, job_id: JobId) -> Job | None:
        found = await info.context.loaders.job_by_job_id.get(own_id(job_id, "jobId"))
        return job_from(found) if isinstance(found, documents.Job) else None

    @strawberry.field(description="A client by the marketplace's own id; null for one without jobs, e.g. a new one.")
    async def client(
        self,
        info: Info,
        client_id: Annotated[
            strawberry.ID,
            strawberry.argument(description='The marketplace\'s own id, e.g. `"acme"`; a Relay id is WRONG_ID_KIND.'),
        ],
    ) -> Client | None:
        known = await info.context.loaders.client_exists_by_client_id.get(own_id(client_id, "clientId"))
        return client_from(client_id) if known else None

    @strawberry.field(
        description='Search talents, e.g. `talents(query: "go", filter: { levels: [EXPERT] })`.',
        directives=NULL_ONLY_ON_ERROR,
    )
    async def talents(
        self,
        info: Info,
        query: Text = UNSET,
        filter: TalentFilterArgument = UNSET,  # noqa: A002 — the contract's name
        sort: Sort = SortOrder.RELEVANCE,
        first: First = 20,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> TalentConnection | None:
        return await search_talents(info.context, query, filter, sort, window(first, after, last, before))

    @strawberry.field(
        description='Search jobs, e.g. `jobs(query: "go", filter: { isRemote: true }, sort: NEWEST)`.',
        directives=NULL_ONLY_ON_ERROR,
    )
    async def jobs(
        self,
        info: Info,
        query: Text = UNSET,
        filter: JobFilterArgument = UNSET,  # noqa: A002
        sort: Sort = SortOrder.RELEVANCE,
        first: First = 20,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> JobConnection | None:
        return await search_jobs(info.context, query, filter, sort, window(first, after, last, before))

    @strawberry.field(
        description="Jobs for anybody, known or not: an unknown talent gets what is popular, a profile what fits it, "
        'e.g. `recommendedJobs(subject: { profile: { skills: ["Go"] } })`.',
        directives=NULL_ONLY_ON_ERROR,
    )
    async def recommended_jobs(
        self,
        info: Info,
        subject: Annotated[TalentSubject, strawberry.argument(description='Whose list, e.g. `{ talentId: "t-4" }`.')],
        query: Text = UNSET,
        filter: JobFilterArgument = UNSET,  # noqa: A002
        options: OptionsArgument = UNSET,
        first: First = 20,
        after: After = UNSET,
    ) -> RecommendedJobConnection | None:
        return await recommended_jobs_of_subject(info.context, subject, query, filter, options, first, after)

    @strawberry.field(
        description="Why a pair is or is not in a list, e.g. blocked by `EXPIRED`, or rank 12 and its terms.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def explain(
        self,
        info: Info,
        talent_id: TalentId,
        job_id: JobId,
        side: Annotated[
            Side, strawberry.argument(description="Whose list: the talent's of jobs or the client's, e.g. `TALENT`.")
        ],
        job_filter: JobFilterArgument = UNSET,
        talent_filter: TalentFilterArgument = UNSET,
        options: OptionsArgument = UNSET,
    ) -> Explanation | None:
        return await _explain(info.context, talent_id, job_id, side, job_filter, talent_filter, options)


def _parsed(text: str) -> tuple[NodeType, str]:
    parsed = parse_relay_id(text)
    if parsed is None:
        raise BadInputError(
            "id: expected a Relay id as in the field `id`; for the marketplace's own ids use "
            f"talent(talentId:), job(jobId:) or client(clientId:); got {text[:60]!r}"
        )
    return parsed


async def _node(context: Context, node_type: NodeType, own: str) -> Node | None:
    match node_type:
        case NodeType.TALENT:
            talent = await context.loaders.talent_by_talent_id.get(own)
            return talent_from(talent) if isinstance(talent, documents.Talent) else None
        case NodeType.JOB:
            job = await context.loaders.job_by_job_id.get(own)
            return job_from(job) if isinstance(job, documents.Job) else None
        case NodeType.CLIENT:
            return client_from(own) if await context.loaders.client_exists_by_client_id.get(own) else None


async def _nodes(context: Context, ids: list[strawberry.ID]) -> list[Node | None]:
    """One by one in order; a malformed id is an error at its own place and does not take the others with it."""
    return await asyncio.gather(*(_node_or_error(context, text) for text in ids))


async def _node_or_error(context: Context, text: str) -> Node | None:
    try:
        return await _node(context, *_parsed(text))
    except BadInputError as error:
        return error  # type: ignore[return-value] # graphql-core raises an exception in a list at its index


async def _explain(
    context: Context,
    talent_id: str,
    job_id: str,
    side: Side,
    jobs: JobFilterArgument,
    talents: TalentFilterArgument,
    chosen: OptionsArgument,
) -> Explanation:
    viewer = context.viewer
    own_id(talent_id, "talentId")
    own_id(job_id, "jobId")
    if not viewer.may_all:
        if (side is Side.TALENT) is (viewer.talent_id is None):
            raise ForbiddenError(f"{viewer.named} may not ask why of the other side's lists; ask with its own `side`")
        sees_talent, sees_job = await context.sees(Kind.TALENT, talent_id), await context.sees(Kind.JOB, job_id)
        if not (sees_talent and sees_job):
            return explanation_from(unknown_pair(None if sees_talent else talent_id, None if sees_job else job_id))
    found = await context.services.recommender.explain(
        talent_id,
        job_id,
        side,
        context.narrowed(job_filter(jobs)),
        context.narrowed(talent_filter(talents)),
        options_from(chosen),
        None if viewer.may_all else partial(sees_event, viewer),
    )
    return explanation_from(found if viewer.may_all else without_untold(found))
