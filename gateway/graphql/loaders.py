"""Loaders: what the resolvers of one request ask for, collected into one call of a port per kind.

One set per request, built inside the running loop: a process-wide loader would show one viewer what another loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from aiodataloader import DataLoader

from gateway.graphql.services import Services
from recommender.documents import Document, JobStatus, Kind
from recommender.errors import TandemError
from recommender.events import Event, EventType
from recommender.filters import JobFilter
from recommender.ports import SubjectKey
from recommender.query import ListQuery, RankedItem, RankedPage, Reason
from recommender.search import Facet, FacetField, FacetRequest, SearchPage, SearchRequest

_K = TypeVar("_K")
_V = TypeVar("_V")

_EVERY_STATUS = tuple(JobStatus)

Edge = tuple[RankedPage, RankedItem]
Ordinals = tuple[int, ...]
FacetsKey = tuple[RankedPage, tuple[FacetField, ...], tuple[str, ...], int]


class Loader(DataLoader[_K, _V]):
    """A batch of keys becomes one call of `load_batch`.

    Waiters are shielded from each other: aiodataloader hands one future to everybody who wants a key, and a waiter that
    is cancelled (a sibling field failed) would cancel it for the others.
    """

    def __init__(
        self,
        load_batch: Callable[[list[_K]], Coroutine[Any, Any, Sequence[_V | TandemError]]],
        *,
        cache_key: Callable[[_K], Hashable] | None = None,
    ) -> None:
        super().__init__(load_batch, get_cache_key=cache_key)  # type: ignore[arg-type]

    async def get(self, key: _K) -> _V:
        """The value of one key."""
        return await asyncio.shield(self.load(key))

    async def get_many(self, keys: Iterable[_K]) -> list[_V]:
        """The values of several keys, in their order."""
        futures = [self.load(key) for key in keys]
        return list(await asyncio.shield(asyncio.gather(*futures))) if futures else []


def _of_page(page: RankedPage) -> Hashable:
    return page.request_id


class Loaders:
    """Every loader of one request. `now_ms` is the request's one idea of now."""

    def __init__(self, services: Services, now_ms: int) -> None:
        self._services = services
        self._now_ms = now_ms
        self.talent_by_talent_id: Loader[str, Document | None] = Loader(self._by_id(Kind.TALENT))
        self.talents_by_ordinals: Loader[Ordinals, list[Document | None]] = Loader(self._by_ordinals(Kind.TALENT))
        self.job_by_job_id: Loader[str, Document | None] = Loader(self._by_id(Kind.JOB))
        self.jobs_by_ordinals: Loader[Ordinals, list[Document | None]] = Loader(self._by_ordinals(Kind.JOB))
        self.client_exists_by_client_id: Loader[str, bool] = Loader(self._clients)
        self.ranked_list_by_query: Loader[ListQuery, RankedPage | None] = Loader(services.recommender.lists)
        self.reasons_by_edge: Loader[Edge, list[Reason]] = Loader(
            services.recommender.reasons, cache_key=lambda edge: (_of_page(edge[0]), edge[1].rank)
        )
        self.interactions_by_edge: Loader[Edge, list[EventType]] = Loader(
            services.recommender.interactions, cache_key=lambda edge: (_of_page(edge[0]), edge[1].rank)
        )
        self.facets_by_page: Loader[FacetsKey, list[Facet]] = Loader(
            services.recommender.facets, cache_key=lambda key: (_of_page(key[0]), *key[1:])
        )
        self.talents_by_search: Loader[SearchRequest, SearchPage] = Loader(self._search(Kind.TALENT))
        self.jobs_by_search: Loader[SearchRequest, SearchPage] = Loader(self._search(Kind.JOB))
        self.facets_by_talent_search: Loader[FacetRequest, list[Facet]] = Loader(self._facets(Kind.TALENT))
        self.facets_by_job_search: Loader[FacetRequest, list[Facet]] = Loader(self._facets(Kind.JOB))
        self.history_by_subject: Loader[SubjectKey, list[Event]] = Loader(self._history(impressions=False))
        self.impressions_by_subject: Loader[SubjectKey, list[Event]] = Loader(self._history(impressions=True))

    def by_id(self, kind: Kind) -> Loader[str, Document | None]:
        """The loader of one kind's documents by own id."""
        return self.talent_by_talent_id if kind is Kind.TALENT else self.job_by_job_id

    def by_ordinals(self, kind: Kind) -> Loader[Ordinals, list[Document | None]]:
        """The loader of one kind's documents by ordinals: a page is one key, not one for each of its rows."""
        return self.talents_by_ordinals if kind is Kind.TALENT else self.jobs_by_ordinals

    def by_search(self, kind: Kind) -> Loader[SearchRequest, SearchPage]:
        """The loader of one kind's searches."""
        return self.talents_by_search if kind is Kind.TALENT else self.jobs_by_search

    def facets_by_search(self, kind: Kind) -> Loader[FacetRequest, list[Facet]]:
        """The loader of one kind's facets over a search."""
        return self.facets_by_talent_search if kind is Kind.TALENT else self.facets_by_job_search

    def _by_id(self, kind: Kind) -> Callable[[list[str]], Coroutine[Any, Any, Sequence[Document | None]]]:
        async def load(ids: list[str]) -> Sequence[Document | None]:
            return await self._services.catalogue.get_many(kind, ids=ids)

        return load

    def _by_ordinals(
        self, kind: Kind
    ) -> Callable[[list[Ordinals]], Coroutine[Any, Any, Sequence[list[Document | None]]]]:
        found: dict[int, Document | None] = {}

        async def load(pages: list[Ordinals]) -> Sequence[list[Document | None]]:
            lacking = list(dict.fromkeys(ordinal for page in pages for ordinal in page if ordinal not in found))
            if lacking:
                found.update(zip(lacking, await self._services.recommender.documents(kind, lacking), strict=True))
            return [[found[ordinal] for ordinal in page] for page in pages]

        return load

    def _search(self, kind: Kind) -> Callable[[list[SearchRequest]], Coroutine[Any, Any, Sequence[SearchPage]]]:
        async def load(requests: list[SearchRequest]) -> Sequence[SearchPage]:
            return await self._services.catalogue.search(kind, requests, self._now_ms)

        return load

    def _facets(self, kind: Kind) -> Callable[[list[FacetRequest]], Coroutine[Any, Any, Sequence[list[Facet]]]]:
        async def load(requests: list[FacetRequest]) -> Sequence[list[Facet]]:
            return await self._services.catalogue.facets(kind, requests, self._now_ms)

        return load

    def _history(
        self, *, impressions: bool
    ) -> Callable[[list[SubjectKey]], Coroutine[Any, Any, Sequence[list[Event]]]]:
        async def load(subjects: list[SubjectKey]) -> Sequence[list[Event]]:
            return await self._services.events.history(subjects, impressions=impressions)

        return load

    async def _clients(self, ids: list[str]) -> Sequence[bool]:
        """A client exists while there is a job of theirs, in whatever state."""
        requests = [(JobFilter(client_ids=(client_id,), statuses=_EVERY_STATUS), None) for client_id in ids]
        return [bool(found) for found in await self._services.catalogue.matching(Kind.JOB, requests, self._now_ms)]
