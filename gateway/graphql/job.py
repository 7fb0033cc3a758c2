"""The type Job."""

from __future__ import annotations

import strawberry
from strawberry import UNSET

from gateway.graphql.arguments import (
    After,
    AttributeNames,
    Before,
    EventTypes,
    First,
    Interactions,
    JobFilterArgument,
    Last,
    OptionsArgument,
    Query,
    RecommendedJobs,
    RecommendedTalents,
    TalentFilterArgument,
)
from gateway.graphql.client import Client, client_from
from gateway.graphql.context import Info
from gateway.graphql.ids import NodeType, relay_id
from gateway.graphql.inputs import window
from gateway.graphql.node import Node
from gateway.graphql.nullability import NULL_ONLY_ON_ERROR
from gateway.graphql.remembered import remembered
from gateway.graphql.scalars import DateTime
from gateway.graphql.sight import shown_attributes
from gateway.graphql.values import Attribute, Budget, attributes_from, budget_from
from recommender import documents as domain
from recommender.documents import JobStatus, Kind, Level


@strawberry.type(description='Work that a client offers, e.g. `job(jobId: "j-17")`.')
class Job(Node):
    """Built once from the document, so that its fields are plain attributes; nobody changes them."""

    document: strawberry.Private[domain.Job]
    job_id: strawberry.ID = strawberry.field(description='The marketplace\'s own id, e.g. `"j-17"`.')
    client: Client | None = strawberry.field(description='Who offers it, e.g. `{ clientId: "acme" }`.')
    title: str | None = strawberry.field(description='Its headline, e.g. `"Go developer for a payments team"`.')
    description: str | None = strawberry.field(description='Its text, e.g. `"You will build …"`.')
    skills: list[str] = strawberry.field(description='What it asks for, e.g. `["Go", "SQL"]`.')
    category: str | None = strawberry.field(description='Its field, e.g. `"Software"`.')
    country: str | None = strawberry.field(description='Where the work is, e.g. `"DE"`.')
    is_remote: bool | None = strawberry.field(description="Whether it can be done from anywhere, e.g. `true`.")
    budget: Budget | None = strawberry.field(description='What it pays, e.g. `{ type: FIXED, max: "2000" }`.')
    level: Level | None = strawberry.field(description="The seniority it asks for, e.g. `EXPERT`.")
    status: JobStatus = strawberry.field(description="Where it is in its life, e.g. `OPEN`.")
    posted_at: DateTime | None = strawberry.field(description='When it was posted, e.g. `"2026-01-31T09:30:00Z"`.')
    expires_at: DateTime | None = strawberry.field(
        description='From when on it is gone, e.g. `"2026-03-01T00:00:00Z"`.'
    )

    @strawberry.field(description='Imported columns that Tandem only keeps, by name, e.g. `{ name: "visa" }`.')
    def attributes(self, info: Info, names: AttributeNames = UNSET) -> list[Attribute]:
        context = info.context
        shown = shown_attributes(context.viewer, self.document, context.services.public_attributes)
        return attributes_from(shown, names)

    @strawberry.field(description="The talents that suit this job best, of those that match, e.g. to invite.")
    async def recommended_talents(
        self,
        info: Info,
        query: Query = UNSET,
        filter: TalentFilterArgument = UNSET,  # noqa: A002 — the contract's name
        options: OptionsArgument = UNSET,
        first: First = 20,
        after: After = UNSET,
    ) -> RecommendedTalents | None:
        from gateway.graphql.recommended import recommended_talents

        return await recommended_talents(info.context, self.job_id, query, filter, options, first, after)

    @strawberry.field(description="Jobs like this one, e.g. below a job's page.")
    async def similar_jobs(
        self,
        info: Info,
        filter: JobFilterArgument = UNSET,  # noqa: A002
        first: First = 10,
        after: After = UNSET,
    ) -> RecommendedJobs | None:
        from gateway.graphql.recommended import similar_jobs

        return await similar_jobs(info.context, self.job_id, filter, first, after)

    @strawberry.field(
        description="What happened with this job, newest first, e.g. `types: [APPLY]`.", directives=NULL_ONLY_ON_ERROR
    )
    async def interactions(
        self,
        info: Info,
        types: EventTypes = UNSET,
        first: First = 20,
        after: After = UNSET,
        last: Last = UNSET,
        before: Before = UNSET,
    ) -> Interactions | None:
        from gateway.graphql.interaction import interactions

        return await interactions(info.context, Kind.JOB, self.job_id, types, window(first, after, last, before))


@remembered
def job_from(document: domain.Job) -> Job:
    """The GraphQL object of a document."""
    return Job(
        id=relay_id(NodeType.JOB, document.job_id),
        document=document,
        job_id=strawberry.ID(document.job_id),
        client=None if document.client_id is None else client_from(document.client_id),
        title=document.title,
        description=document.description,
        skills=list(document.skills),
        category=document.category,
        country=document.country,
        is_remote=document.is_remote,
        budget=budget_from(document.budget),
        level=document.level,
        status=document.status,
        posted_at=None if document.posted_at_ms is None else DateTime(document.posted_at_ms),
        expires_at=None if document.expires_at_ms is None else DateTime(document.expires_at_ms),
    )
