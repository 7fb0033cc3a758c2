"""Reasons: why a row is in a list, said for people and structured for apps."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import strawberry

from gateway.graphql.context import Context, Info
from gateway.graphql.inputs import page_size
from gateway.graphql.job import Job, job_from
from gateway.graphql.talent import Talent, talent_from
from recommender import documents, query
from recommender.query import RankedItem, RankedPage, ReasonKind

MostReasons: TypeAlias = Annotated[
    int | None, strawberry.argument(description="Most reasons, from 1 to 100, e.g. `1` for a card.")
]


@strawberry.type(description='One reason, e.g. `{ kind: SHARED_SKILLS, text: "shares Go and SQL" }`.')
class Reason:
    """From recommender.query.Reason; what it names is fetched only when asked for."""

    reason: strawberry.Private[query.Reason]
    kind: ReasonKind = strawberry.field(description="What sort of reason, e.g. `SHARED_SKILLS`.")
    text: str = strawberry.field(description="The reason in English, e.g. “because you applied to Go developer”.")
    skills: list[str] = strawberry.field(description='The skills it names, e.g. `["Go", "SQL"]`.')

    @strawberry.field(description="The jobs it names, e.g. the one that was applied to.")
    async def jobs(self, info: Info) -> list[Job]:
        found = await info.context.loaders.jobs_by_ordinals.get(tuple(self.reason.job_ordinals))
        return [job_from(document) for document in found if isinstance(document, documents.Job)]

    @strawberry.field(description="The talents it names, e.g. one who was hired before.")
    async def talents(self, info: Info) -> list[Talent]:
        found = await info.context.loaders.talents_by_ordinals.get(tuple(self.reason.talent_ordinals))
        return [talent_from(document) for document in found if isinstance(document, documents.Talent)]


def reason_from(reason: query.Reason) -> Reason:
    """The GraphQL object of the domain's."""
    return Reason(reason=reason, kind=reason.kind, text=reason.text, skills=list(reason.skills))


async def reasons_from(context: Context, page: RankedPage, item: RankedItem, first: int | None) -> list[Reason]:
    """The strongest reasons of one row."""
    most = page_size(first, 3)
    return [reason_from(reason) for reason in (await context.loaders.reasons_by_edge.get((page, item)))[:most]]
