"""The type Talent."""

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
from gateway.graphql.context import Info
from gateway.graphql.ids import NodeType, relay_id
from gateway.graphql.inputs import window
from gateway.graphql.node import Node
from gateway.graphql.nullability import NULL_ONLY_ON_ERROR
from gateway.graphql.remembered import remembered
from gateway.graphql.scalars import DateTime
from gateway.graphql.sight import shown_attributes
from gateway.graphql.values import Attribute, Money, attributes_from, money_from
from recommender import documents as domain
from recommender.documents import Kind, Level


@strawberry.type(description='A person who looks for work, e.g. `talent(talentId: "t-4")`.')
class Talent(Node):
    """Built once from the document, so that its fields are plain attributes; nobody changes them."""

    document: strawberry.Private[domain.Talent]
    talent_id: strawberry.ID = strawberry.field(description='The marketplace\'s own id, e.g. `"t-4"`.')
    title: str | None = strawberry.field(description='What they call themselves, e.g. `"Go developer"`.')
    description: str | None = strawberry.field(description='About them, e.g. `"Ten years of back ends …"`.')
    skills: list[str] = strawberry.field(description='What they can do, e.g. `["Go", "Kubernetes"]`.')
    category: str | None = strawberry.field(description='Their field, e.g. `"Software"`.')
    country: str | None = strawberry.field(description='Where they live, e.g. `"DE"`.')
    hourly_rate: Money | None = strawberry.field(description='What they ask, e.g. `{ amount: "55", currency: "USD" }`.')
    level: Level | None = strawberry.field(description="Their seniority, e.g. `EXPERT`.")
    is_available: bool = strawberry.field(description="Whether they can be recommended, e.g. `true`.")
    created_at: DateTime | None = strawberry.field(description='When they joined, e.g. `"2026-01-31T09:30:00Z"`.')

    @strawberry.field(description='Imported columns that Tandem only keeps, by name, e.g. `{ name: "timezone" }`.')
    def attributes(self, info: Info, names: AttributeNames = UNSET) -> list[Attribute]:
        context = info.context
        shown = shown_attributes(context.viewer, self.document, context.services.public_attributes)
        return attributes_from(shown, names)

    @strawberry.field(
        description="The jobs that suit this talent best, of those that match, e.g. for a home screen.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def recommended_jobs(
        self,
        info: Info,
        query: Query = UNSET,
        filter: JobFilterArgument = UNSET,  # noqa: A002 — the contract's name
        options: OptionsArgument = UNSET,
        first: First = 20,
        after: After = UNSET,
    ) -> RecommendedJobs | None:
        from gateway.graphql.recommended import recommended_jobs

        return await recommended_jobs(info.context, self.talent_id, query, filter, options, first, after)

    @strawberry.field(description="Talents like this one, e.g. when this one is taken.")
    async def similar_talents(
        self,
        info: Info,
        filter: TalentFilterArgument = UNSET,  # noqa: A002
        first: First = 10,
        after: After = UNSET,
    ) -> RecommendedTalents | None:
        from gateway.graphql.recommended import similar_talents

        return await similar_talents(info.context, self.talent_id, filter, first, after)

    @strawberry.field(
        description="What happened with this talent, newest first, e.g. `types: [SAVE]`.", directives=NULL_ONLY_ON_ERROR
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

        return await interactions(info.context, Kind.TALENT, self.talent_id, types, window(first, after, last, before))


@remembered
def talent_from(document: domain.Talent) -> Talent:
    """The GraphQL object of a document."""
    return Talent(
        id=relay_id(NodeType.TALENT, document.talent_id),
        document=document,
        talent_id=strawberry.ID(document.talent_id),
        title=document.title,
        description=document.description,
        skills=list(document.skills),
        category=document.category,
        country=document.country,
        hourly_rate=money_from(document.hourly_rate),
        level=document.level,
        is_available=document.is_available,
        created_at=None if document.created_at_ms is None else DateTime(document.created_at_ms),
    )
