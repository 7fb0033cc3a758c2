"""Ranked lists: the connections of recommended and similar jobs and talents, and how a page becomes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import strawberry
from strawberry import UNSET

from gateway.graphql import facet
from gateway.graphql.context import Context, Info
from gateway.graphql.cursors import decode_position, encode_position
from gateway.graphql.errors import ForbiddenError
from gateway.graphql.facet import Attributes, Facet, Fields, Size
from gateway.graphql.filters import JobFilter, TalentFilter, job_filter, talent_filter
from gateway.graphql.ids import own_id
from gateway.graphql.inputs import given, page_size, query_text
from gateway.graphql.job import Job, job_from
from gateway.graphql.node import PageInfo
from gateway.graphql.nullability import NULL_ONLY_ON_ERROR
from gateway.graphql.options import RecommendationOptions, TalentSubject, options
from gateway.graphql.reason import MostReasons, Reason, reasons_from
from gateway.graphql.remembered import remembered
from gateway.graphql.scalars import DateTime
from gateway.graphql.selections import Shared
from gateway.graphql.talent import Talent, talent_from
from recommender.degradation import DegradedReason, degraded
from recommender.documents import Kind
from recommender.eligibility import document_blocker
from recommender.events import EventType
from recommender.filters import Filter
from recommender.model import Manifest
from recommender.query import Exactness, ListQuery, Mode, Options, Profile, RankedItem, RankedPage, Strategy

_Node = TypeVar("_Node", Job, Talent)


@strawberry.type(description='The model behind a list, e.g. `{ version: "20260131T093000Z" }`.')
class Model:
    """From recommender.model.Manifest."""

    version: str = strawberry.field(description='Its name in `tandem models list`, e.g. `"20260131T093000Z"`.')
    trained_at: DateTime = strawberry.field(description='When it was trained, e.g. `"2026-01-31T09:30:00Z"`.')


@strawberry.type(description="A job in a ranked list, e.g. `edges { rank score node { title } }`.")
class RecommendedJobEdge:
    """One row of a served list."""

    page: strawberry.Private[RankedPage]
    item: strawberry.Private[RankedItem]
    node: Job = strawberry.field(description='The job, e.g. `{ jobId: "j-17" }`.')
    rank: int = strawberry.field(description="Its place from 1 on, across pages, e.g. `1`.")
    score: float = strawberry.field(description="What the order rests on, comparable in this list only, e.g. `0.83`.")
    strategy: Strategy = strawberry.field(description="What this row rests on, e.g. `COLLABORATIVE`.")
    recommendation_id: strawberry.ID = strawberry.field(
        description="Quote it in the events that follow, so that they are credited to this row, e.g. a click."
    )

    @strawberry.field(description="Pass it as `after` to go on behind this job, e.g. `after: $cursor`.")
    def cursor(self, info: Info) -> str:
        return encode_position(self.item.position, info.context.now_ms)

    @strawberry.field(
        description="Why it is here, strongest first, e.g. “shares Go and Kubernetes”.", directives=NULL_ONLY_ON_ERROR
    )
    async def reasons(self, info: Info, first: MostReasons = 3) -> list[Reason] | None:
        return await reasons_from(info.context, self.page, self.item, first)

    @strawberry.field(
        description="What is in force between the two, e.g. `[VIEW, SAVE]`.", directives=NULL_ONLY_ON_ERROR
    )
    async def interactions(self, info: Info) -> list[EventType] | None:
        return await info.context.loaders.interactions_by_edge.get((self.page, self.item))


@strawberry.type(description="A talent in a ranked list, e.g. `edges { rank score node { title } }`.")
class RecommendedTalentEdge:
    """One row of a served list."""

    page: strawberry.Private[RankedPage]
    item: strawberry.Private[RankedItem]
    node: Talent = strawberry.field(description='The talent, e.g. `{ talentId: "t-4" }`.')
    rank: int = strawberry.field(description="Their place from 1 on, across pages, e.g. `1`.")
    score: float = strawberry.field(description="What the order rests on, comparable in this list only, e.g. `0.83`.")
    strategy: Strategy = strawberry.field(description="What this row rests on, e.g. `CONTENT`.")
    recommendation_id: strawberry.ID = strawberry.field(
        description="Quote it in the events that follow, so that they are credited to this row, e.g. an invitation."
    )

    @strawberry.field(description="Pass it as `after` to go on behind this talent, e.g. `after: $cursor`.")
    def cursor(self, info: Info) -> str:
        return encode_position(self.item.position, info.context.now_ms)

    @strawberry.field(
        description="Why they are here, strongest first, e.g. “the rate fits the budget”.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def reasons(self, info: Info, first: MostReasons = 3) -> list[Reason] | None:
        return await reasons_from(info.context, self.page, self.item, first)

    @strawberry.field(
        description="What is in force between the two, e.g. `[SHORTLIST]`.", directives=NULL_ONLY_ON_ERROR
    )
    async def interactions(self, info: Info) -> list[EventType] | None:
        return await info.context.loaders.interactions_by_edge.get((self.page, self.item))


@strawberry.type(
    description="Jobs, best first, e.g. `recommendedJobs(first: 10) { nodes { title } }`. Read from its top on: there "
    "is no `last`, because what lies above a page is on the screen already, or was dismissed since."
)
class RecommendedJobConnection:
    """One page, resolved whole before its fields are."""

    page: strawberry.Private[RankedPage]
    rows: strawberry.Private[list[tuple[RankedItem, Job]]]

    @strawberry.field(description="The jobs with rank, score and reasons, e.g. ten.")
    def edges(self) -> list[RecommendedJobEdge]:
        return [RecommendedJobEdge(page=self.page, node=node, **_row(self.page, item)) for item, node in self.rows]

    nodes: list[Job] = strawberry.field(description="The jobs alone, e.g. for a plain list.")
    page_info: PageInfo = strawberry.field(description="Whether and how to go on, e.g. `{ hasNextPage: true }`.")
    total_count: int | None = strawberry.field(
        description="How many paging to the end returns now, e.g. `840`.", directives=NULL_ONLY_ON_ERROR
    )
    request_id: strawberry.ID = strawberry.field(description="This page in the serving log, e.g. for support.")
    model: Model | None = strawberry.field(description='The model behind it, e.g. `{ version: "20260131T093000Z" }`.')
    strategy: Strategy = strawberry.field(description="What the list as a whole rests on, e.g. `POPULAR`.")
    exactness: Exactness = strawberry.field(description="Whether it is the true top, e.g. `EXACT`.")
    recall: float | None = strawberry.field(description="Measured share of the true top when approximate, e.g. `0.97`.")
    degraded_reasons: list[DegradedReason] = strawberry.field(
        description="What could not help with it, e.g. `[]` when all is well."
    )

    @strawberry.field(
        description="Counts over everything that matches, e.g. `facets(fields: [SKILLS])`.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def facets(
        self, info: Info, fields: Fields = UNSET, attributes: Attributes = UNSET, size: Size = 20
    ) -> list[Facet] | None:
        return await _facets(info.context, Kind.JOB, self.page, fields, attributes, size)


@strawberry.type(
    description="Talents, best first, e.g. `recommendedTalents(first: 10) { nodes { title } }`. Read from its top on: "
    "there is no `last`, because what lies above a page is on the screen already, or was dismissed since."
)
class RecommendedTalentConnection:
    """One page, resolved whole before its fields are."""

    page: strawberry.Private[RankedPage]
    rows: strawberry.Private[list[tuple[RankedItem, Talent]]]

    @strawberry.field(description="The talents with rank, score and reasons, e.g. ten.")
    def edges(self) -> list[RecommendedTalentEdge]:
        return [RecommendedTalentEdge(page=self.page, node=node, **_row(self.page, item)) for item, node in self.rows]

    nodes: list[Talent] = strawberry.field(description="The talents alone, e.g. for a plain list.")
    page_info: PageInfo = strawberry.field(description="Whether and how to go on, e.g. `{ hasNextPage: true }`.")
    total_count: int | None = strawberry.field(
        description="How many paging to the end returns now, e.g. `1290`.", directives=NULL_ONLY_ON_ERROR
    )
    request_id: strawberry.ID = strawberry.field(description="This page in the serving log, e.g. for support.")
    model: Model | None = strawberry.field(description='The model behind it, e.g. `{ version: "20260131T093000Z" }`.')
    strategy: Strategy = strawberry.field(description="What the list as a whole rests on, e.g. `CONTENT`.")
    exactness: Exactness = strawberry.field(description="Whether it is the true top, e.g. `EXACT`.")
    recall: float | None = strawberry.field(description="Measured share of the true top when approximate, e.g. `0.97`.")
    degraded_reasons: list[DegradedReason] = strawberry.field(
        description="What could not help with it, e.g. `[]` when all is well."
    )

    @strawberry.field(
        description="Counts over everything that matches, e.g. `facets(fields: [SKILLS])`.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def facets(
        self, info: Info, fields: Fields = UNSET, attributes: Attributes = UNSET, size: Size = 20
    ) -> list[Facet] | None:
        return await _facets(info.context, Kind.TALENT, self.page, fields, attributes, size)


async def recommended_jobs(
    context: Context,
    talent_id: str,
    query: str | None,
    given_filter: JobFilter | None,
    given_options: RecommendationOptions | None,
    first: int | None,
    after: str | None,
) -> RecommendedJobConnection | None:
    """The best jobs for a talent of the catalogue."""
    wanted = _query(
        context,
        Mode.RECOMMENDED,
        (Kind.TALENT, talent_id),
        job_filter(given_filter),
        (first, 20, after),
        text=query_text(query),
        options=options(given_options),
    )
    return await _jobs(context, wanted)


async def recommended_jobs_of_subject(
    context: Context,
    subject: TalentSubject,
    query: str | None,
    given_filter: JobFilter | None,
    given_options: RecommendationOptions | None,
    first: int | None,
    after: str | None,
) -> RecommendedJobConnection | None:
    """The best jobs for anybody: a talent, a profile; an unknown talent has no history and gets what is popular."""
    talent_id, profile = given(subject.talent_id), given(subject.profile)
    if talent_id is not None and not await context.sees(Kind.TALENT, talent_id):
        raise ForbiddenError("subject.talentId: a talent asks for its own list, or for that of a profile")
    wanted = _query(
        context,
        Mode.RECOMMENDED,
        (Kind.TALENT, None if talent_id is None else own_id(talent_id, "subject.talentId")),
        job_filter(given_filter),
        (first, 20, after),
        text=query_text(query),
        options=options(given_options),
        profile=None if profile is None else await _in_sight(context, profile.to_domain()),
    )
    return await _jobs(context, wanted)


async def _in_sight(context: Context, profile: Profile) -> Profile:
    """A profile without jobs that the viewer does not see, whose skills and titles the list would tell of."""
    if context.viewer.may_all:
        return profile
    jobs = await context.loaders.job_by_job_id.get_many(profile.liked_job_ids)
    liked = zip(profile.liked_job_ids, jobs, strict=True)
    return replace(profile, liked_job_ids=tuple(job_id for job_id, job in liked if job is not None))


async def similar_jobs(
    context: Context, job_id: str, given_filter: JobFilter | None, first: int | None, after: str | None
) -> RecommendedJobConnection | None:
    """Jobs like one of the catalogue."""
    wanted = _query(context, Mode.SIMILAR, (Kind.JOB, job_id), job_filter(given_filter), (first, 10, after))
    return await _jobs(context, wanted)


async def recommended_talents(
    context: Context,
    job_id: str,
    query: str | None,
    given_filter: TalentFilter | None,
    given_options: RecommendationOptions | None,
    first: int | None,
    after: str | None,
) -> RecommendedTalentConnection | None:
    """The best talents for a job of the catalogue."""
    wanted = _query(
        context,
        Mode.RECOMMENDED,
        (Kind.JOB, job_id),
        talent_filter(given_filter),
        (first, 20, after),
        text=query_text(query),
        options=options(given_options),
    )
    return await _talents(context, wanted)


async def similar_talents(
    context: Context, talent_id: str, given_filter: TalentFilter | None, first: int | None, after: str | None
) -> RecommendedTalentConnection | None:
    """Talents like one of the catalogue."""
    wanted = _query(context, Mode.SIMILAR, (Kind.TALENT, talent_id), talent_filter(given_filter), (first, 10, after))
    return await _talents(context, wanted)


def _query(
    context: Context,
    mode: Mode,
    subject: tuple[Kind, str | None],
    domain_filter: Filter,
    paging: tuple[int | None, int, str | None],
    *,
    text: str | None = None,
    options: Options | None = None,
    profile: Profile | None = None,
) -> ListQuery:
    first, default, after = paging
    cursor = given(after)
    return ListQuery(
        mode=mode,
        subject_kind=subject[0],
        subject_id=subject[1],
        filter=context.narrowed(domain_filter),
        profile=profile,
        text=text,
        options=options or Options(),
        first=page_size(first, default),
        after=None if cursor is None else decode_position(cursor, context.now_ms),
    )


async def _jobs(context: Context, query: ListQuery) -> RecommendedJobConnection | None:
    found = await _page(context, query)
    if found is None:
        return None
    page, rows = found
    made = _shared_jobs(rows) if rows is page.shown else _rows(rows, job_from)
    return RecommendedJobConnection(rows=made.rows, nodes=made.nodes, **_rest(context, page, rows))


async def _talents(context: Context, query: ListQuery) -> RecommendedTalentConnection | None:
    found = await _page(context, query)
    if found is None:
        return None
    page, rows = found
    made = _shared_talents(rows) if rows is page.shown else _rows(rows, talent_from)
    return RecommendedTalentConnection(rows=made.rows, nodes=made.nodes, **_rest(context, page, rows))


async def _page(context: Context, query: ListQuery) -> tuple[RankedPage, Sequence[tuple[RankedItem, Any]]] | None:
    """A page and the documents of its rows; None for an unknown subject, or one that is not the viewer's.

    A document is looked at once more: one that was deleted, closed or has expired since the list was made is left out.
    """
    if query.subject_id is not None and not await context.sees(query.subject_kind, query.subject_id):
        return None
    page = await context.ranked_list(query)
    if page is None:
        return None
    if page.shown is not None and context.viewer.may_all:
        return page, page.shown
    ordinals = tuple(item.ordinal for item in page.items)
    documents = await context.loaders.by_ordinals(query.item_kind).get(ordinals)
    if context.viewer.may_all:
        context.services.recommender.show(page, documents)
    return page, [
        (item, document)
        for item, document in zip(page.items, documents, strict=True)
        if document is not None and document_blocker(document, context.now_ms) is None
    ]


@dataclass(eq=False)
class _Rows(Generic[_Node]):
    """A page's rows as GraphQL objects."""

    rows: list[tuple[RankedItem, _Node]]
    nodes: list[_Node]


def _rows(found: Sequence[tuple[RankedItem, Any]], made_from: Callable[[Any], _Node]) -> _Rows[_Node]:
    rows = [(item, made_from(document)) for item, document in found]
    return _Rows(rows, [node for _, node in rows])


@remembered
def _shared_jobs(shown: Sequence[tuple[RankedItem, Any]]) -> _Rows[Job]:
    """Of a page that is served again and again."""
    made = _rows(shown, job_from)
    return replace(made, nodes=Shared(made.nodes))


@remembered
def _shared_talents(shown: Sequence[tuple[RankedItem, Any]]) -> _Rows[Talent]:
    made = _rows(shown, talent_from)
    return replace(made, nodes=Shared(made.nodes))


def _row(page: RankedPage, item: RankedItem) -> dict[str, Any]:
    return {
        "item": item,
        "rank": item.rank,
        "score": item.score,
        "strategy": item.strategy,
        "recommendation_id": strawberry.ID(f"{page.request_id}.{item.rank}"),
    }


def _rest(context: Context, page: RankedPage, rows: Sequence[tuple[RankedItem, Any]]) -> dict[str, Any]:
    """rows: those that are shown; a page of which nothing is left to show still says where the next one begins."""
    items = (rows[0][0], rows[-1][0]) if rows else page.items
    return {
        "page": page,
        "page_info": PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=encode_position(items[0].position, context.now_ms) if items else None,
            end_cursor=encode_position(items[-1].position, context.now_ms) if items else None,
        ),
        "total_count": page.total,
        "request_id": strawberry.ID(page.request_id),
        "model": _model_from(page.model),
        "strategy": page.strategy,
        "exactness": page.exactness,
        "recall": page.recall,
        "degraded_reasons": sorted(degraded(), key=lambda reason: reason.value),
    }


def _model_from(manifest: Manifest) -> Model:
    return Model(version=manifest.version, trained_at=DateTime(manifest.trained_at_ms))


async def _facets(
    context: Context, kind: Kind, page: RankedPage, fields: Fields, attributes: Attributes, size: Size
) -> list[Facet]:
    chosen, names, most = facet.facet_arguments(kind, fields, attributes, size)
    context.check_counted(kind, names)
    return facet.facets_from(await context.loaders.facets_by_page.get((page, chosen, names, most)))
