"""Sorted search: the connections of talents and of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import strawberry
from strawberry import UNSET

from gateway.graphql import facet
from gateway.graphql.context import Context, Info
from gateway.graphql.cursors import SearchCursor, decode_search, digest_of, encode_search
from gateway.graphql.facet import Attributes, Facet, Fields, Size
from gateway.graphql.filters import JobFilter, TalentFilter, job_filter, talent_filter
from gateway.graphql.highlight import Highlight, highlights_from
from gateway.graphql.inputs import Window, given, query_text
from gateway.graphql.job import Job, job_from
from gateway.graphql.node import PageInfo
from gateway.graphql.nullability import NULL_ONLY_ON_ERROR
from gateway.graphql.talent import Talent, talent_from
from recommender.documents import Document, Kind
from recommender.filters import Filter
from recommender.search import FacetRequest, SearchPage, SearchRequest, Sort


@strawberry.type(description="A talent in a search, and where it stands, e.g. `edges { cursor node { talentId } }`.")
class TalentEdge:
    """An edge in Relay's sense."""

    query: strawberry.Private[str | None]
    cursor: str = strawberry.field(description="Pass it as `after` to go on behind this talent, e.g. `after: $cursor`.")
    node: Talent = strawberry.field(description='The talent, e.g. `{ talentId: "t-4" }`.')

    @strawberry.field(description="Where the talent says what was searched for, e.g. to mark it; `[]` without a query.")
    def highlights(self) -> list[Highlight]:
        return highlights_from(self.node.document, self.query)


@strawberry.type(description="A job in a search, and where it stands, e.g. `edges { cursor node { jobId } }`.")
class JobEdge:
    """An edge in Relay's sense."""

    query: strawberry.Private[str | None]
    cursor: str = strawberry.field(description="Pass it as `after` to go on behind this job, e.g. `after: $cursor`.")
    node: Job = strawberry.field(description='The job, e.g. `{ jobId: "j-17" }`.')

    @strawberry.field(description="Where the job says what was searched for, e.g. to mark it; `[]` without a query.")
    def highlights(self) -> list[Highlight]:
        return highlights_from(self.node.document, self.query)


@strawberry.type(description='Talents that match a search, e.g. `talents(query: "go") { totalCount nodes { title } }`.')
class TalentConnection:
    """One page, resolved whole before its fields are."""

    request: strawberry.Private[SearchRequest]
    edges: list[TalentEdge] = strawberry.field(description="The talents with their cursors, e.g. for paging.")
    nodes: list[Talent] = strawberry.field(description="The talents alone, e.g. for a plain list.")
    page_info: PageInfo = strawberry.field(description="Whether and how to go on, e.g. `{ hasNextPage: true }`.")
    total_count: int | None = strawberry.field(
        description="How many match in all, e.g. `1290`.", directives=NULL_ONLY_ON_ERROR
    )

    @strawberry.field(
        description="Counts over everything that matches, e.g. `facets(fields: [SKILLS])`.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def facets(
        self, info: Info, fields: Fields = UNSET, attributes: Attributes = UNSET, size: Size = 20
    ) -> list[Facet] | None:
        return await _facets(info.context, Kind.TALENT, self.request, fields, attributes, size)


@strawberry.type(description='Jobs that match a search, e.g. `jobs(query: "go") { totalCount nodes { title } }`.')
class JobConnection:
    """One page, resolved whole before its fields are."""

    request: strawberry.Private[SearchRequest]
    edges: list[JobEdge] = strawberry.field(description="The jobs with their cursors, e.g. for paging.")
    nodes: list[Job] = strawberry.field(description="The jobs alone, e.g. for a plain list.")
    page_info: PageInfo = strawberry.field(description="Whether and how to go on, e.g. `{ hasNextPage: true }`.")
    total_count: int | None = strawberry.field(
        description="How many match in all, e.g. `840`.", directives=NULL_ONLY_ON_ERROR
    )

    @strawberry.field(
        description="Counts over everything that matches, e.g. `facets(fields: [SKILLS])`.",
        directives=NULL_ONLY_ON_ERROR,
    )
    async def facets(
        self, info: Info, fields: Fields = UNSET, attributes: Attributes = UNSET, size: Size = 20
    ) -> list[Facet] | None:
        return await _facets(info.context, Kind.JOB, self.request, fields, attributes, size)


async def search_talents(
    context: Context,
    query: str | None,
    given_filter: TalentFilter | None,
    sort: Sort | None,
    window: Window,
) -> TalentConnection:
    """One page of talents."""
    request, digest = _request(context, Kind.TALENT, talent_filter(given_filter), query, sort, window)
    page, documents = await _search(context, Kind.TALENT, request)
    nodes = [talent_from(document) for _, document in documents]
    cursors = _cursors(page, digest, context.now_ms)
    edges = [
        TalentEdge(query=request.text, cursor=cursors[place], node=node)
        for (place, _), node in zip(documents, nodes, strict=True)
    ]
    return TalentConnection(
        edges=edges, nodes=nodes, **_rest(request, page, [edge.cursor for edge in edges] or cursors)
    )


async def search_jobs(
    context: Context,
    query: str | None,
    given_filter: JobFilter | None,
    sort: Sort | None,
    window: Window,
    *,
    of_client: str | None = None,
) -> JobConnection:
    """One page of jobs; `of_client` narrows it to one client's."""
    domain_filter = job_filter(given_filter, of_client=of_client)
    request, digest = _request(context, Kind.JOB, domain_filter, query, sort, window)
    page, documents = await _search(context, Kind.JOB, request)
    nodes = [job_from(document) for _, document in documents]
    cursors = _cursors(page, digest, context.now_ms)
    edges = [
        JobEdge(query=request.text, cursor=cursors[place], node=node)
        for (place, _), node in zip(documents, nodes, strict=True)
    ]
    return JobConnection(edges=edges, nodes=nodes, **_rest(request, page, [edge.cursor for edge in edges] or cursors))


async def jobs_of_client(
    context: Context, client_id: str, given_filter: JobFilter | None, window: Window
) -> JobConnection:
    """One page of a client's jobs, newest first."""
    return await search_jobs(context, None, given_filter, Sort.NEWEST, window, of_client=client_id)


def _request(
    context: Context,
    kind: Kind,
    domain_filter: Filter,
    query: str | None,
    sort: Sort | None,
    window: Window,
) -> tuple[SearchRequest, str]:
    """The search and the digest that its cursors carry."""
    domain_filter = context.narrowed(domain_filter)
    text, order, cursor = query_text(query), given(sort) or Sort.RELEVANCE, window.cursor
    digest = digest_of(kind, domain_filter, text, order)
    place = None if cursor is None else decode_search(cursor, digest, context.now_ms, window.cursor_name)
    if window.is_backward:
        return SearchRequest(domain_filter, text, order, last=window.size, before=place), digest
    return SearchRequest(domain_filter, text, order, window.size, place), digest


_Placed = tuple[int, Any]


async def _search(context: Context, kind: Kind, request: SearchRequest) -> tuple[SearchPage, list[_Placed]]:
    """A page and its documents with their places in it; one that was deleted meanwhile is left out."""
    page = await context.loaders.by_search(kind).get(request)
    documents: Sequence[Document | None] = await context.loaders.by_ordinals(kind).get(tuple(page.ordinals))
    return page, [(place, document) for place, document in enumerate(documents) if document is not None]


def _cursors(page: SearchPage, digest: str, now_ms: int) -> list[str]:
    return [encode_search(SearchCursor(position, digest), now_ms) for position in page.positions]


def _rest(request: SearchRequest, page: SearchPage, cursors: Sequence[str]) -> dict[str, Any]:
    """cursors: of what is shown; a page of which nothing is left to show still says where the next one begins."""
    return {
        "request": request,
        "page_info": PageInfo(
            has_next_page=page.has_next,
            has_previous_page=page.has_previous,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        ),
        "total_count": page.total,
    }


async def _facets(
    context: Context,
    kind: Kind,
    request: SearchRequest,
    fields: Fields,
    attributes: Attributes,
    size: Size,
) -> list[Facet]:
    chosen, names, most = facet.facet_arguments(kind, fields, attributes, size)
    context.check_counted(kind, names)
    wanted = FacetRequest(filter=request.filter, text=request.text, fields=chosen, attributes=names, size=most)
    return facet.facets_from(await context.loaders.facets_by_search(kind).get(wanted))
