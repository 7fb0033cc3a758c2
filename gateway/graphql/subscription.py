"""The root of subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry
from strawberry import UNSET

from gateway.graphql.access import check
from gateway.graphql.changes import Change, ChangeCause
from gateway.graphql.context import Context, Info
from gateway.graphql.cursors import ConsistencyToken, encode_token
from gateway.graphql.errors import ForbiddenError, UnauthenticatedError
from gateway.graphql.ids import own_id
from gateway.graphql.inputs import given
from gateway.graphql.job import Job, job_from
from gateway.graphql.talent import Talent, talent_from
from recommender import documents
from recommender.documents import Kind
from recommender.ports import SubjectKey


@strawberry.input(
    one_of=True,
    description='Whose lists are watched: exactly one of the two, e.g. `{ talentId: "t-4" }` or `{ jobId: "j-17" }`.',
)
class WatchedSubject:
    """A talent or a job by its own id."""

    talent_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description='The marketplace\'s own id, e.g. `"t-4"`: the jobs for a talent.'
    )
    job_id: strawberry.ID | None = strawberry.field(
        default=UNSET, description='The marketplace\'s own id, e.g. `"j-17"`: the talents for a job.'
    )

    def to_domain(self) -> SubjectKey:
        """Raises BadInputError for what is no id of the marketplace's own."""
        talent_id = given(self.talent_id)
        if talent_id is not None:
            return SubjectKey(Kind.TALENT, own_id(talent_id, "subject.talentId"))
        return SubjectKey(Kind.JOB, own_id(given(self.job_id) or "", "subject.jobId"))


@strawberry.type(
    description="Lists that are out of date, e.g. because of an event on another device. Ask again without `after`."
)
class RecommendationsChanged:
    """What is told, and what can be asked with it at once."""

    cause: ChangeCause = strawberry.field(description="Why, e.g. `EVENTS`.")
    talent: Talent | None = strawberry.field(
        description="The talent that is watched, with its lists as they are now; null for a job or one that is gone, "
        "e.g. `talent { recommendedJobs { nodes { title } } }`."
    )
    job: Job | None = strawberry.field(
        description="The job that is watched, with its lists as they are now; null for a talent or one that is gone, "
        "e.g. `job { recommendedTalents { nodes { title } } }`."
    )
    token: str = strawberry.field(
        description="Send it as `Tandem-Consistency-Token` with what is asked next, e.g. of another replica."
    )


@strawberry.type(
    description="What can be watched, e.g. `subscription { recommendationsChanged(subject: $subject) { cause } }`."
)
class Subscription:
    """Each stream lasts until its subscriber or the process ends it; clients connect again by themselves."""

    @strawberry.subscription(
        description="Tells when lists of a talent or a job are out of date, within about half a second of an event "
        "that any replica acknowledged, e.g. to refresh a home screen. Several changes may be told as one."
    )
    async def recommendations_changed(
        self,
        info: Info,
        subject: Annotated[WatchedSubject, strawberry.argument(description='Whose lists, e.g. `{ talentId: "t-4" }`.')],
    ) -> AsyncGenerator[RecommendationsChanged, None]:
        context = info.context
        check(context.viewer, "Subscription", "recommendationsChanged")
        watched = subject.to_domain()
        await _check_subject(context, watched)
        async with aclosing(_while_valid(context, context.services.changes.watch(watched))) as changes:
            async for change in changes:
                context.begin()
                context.forget_loaded()
                await _check_subject(context, watched)
                document = await context.loaders.by_id(watched.kind).get(watched.id)
                yield RecommendationsChanged(
                    cause=change.cause,
                    talent=talent_from(document) if isinstance(document, documents.Talent) else None,
                    job=job_from(document) if isinstance(document, documents.Job) else None,
                    token=encode_token(ConsistencyToken(events=change.last_seq)),
                )


async def _check_subject(context: Context, watched: SubjectKey) -> None:
    """Whether it is the viewer's, now: a job may be given to another client while its lists are watched."""
    viewer = context.viewer
    if not viewer.may_all:
        own = viewer.talent_id if watched.kind is Kind.TALENT else viewer.client_id
        if own is None or not await context.sees(watched.kind, watched.id):
            raise ForbiddenError("subject: a talent watches its own lists, a client those of its own jobs")


async def _while_valid(context: Context, changes: AsyncGenerator[Change, None]) -> AsyncGenerator[Change, None]:
    """The changes until the viewer's token ends, which raises UnauthenticatedError."""
    until_ms = context.viewer.until_ms
    async with aclosing(changes):
        while True:
            left_seconds = None if until_ms is None else (until_ms - context.services.clock_ms()) / 1000
            try:
                change = await asyncio.wait_for(anext(changes), left_seconds)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise UnauthenticatedError("the token has expired: connect again with a new one") from error
            yield change
