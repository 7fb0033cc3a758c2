"""Loaders: what the resolvers of one request ask for, collected into one call of a port per kind.

One set per request, built inside the running loop: a process-wide loader would show one viewer what another loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

from gateway import tracing
from gateway.graphql.services import Services
from gateway.graphql.sight import may_find, sees, sees_client, sees_event, statuses_in_sight
from gateway.graphql.viewer import Viewer
from recommender.documents import Document, Kind
from recommender.errors import TandemError
from recommender.events import Event, EventType
from recommender.filters import JobFilter
from recommender.ports import SubjectKey
from recommender.query import ListQuery, RankedItem, RankedPage, Reason
from recommender.search import Facet, FacetField, FacetRequest, SearchPage, SearchRequest

_K = TypeVar("_K")
_V = TypeVar("_V")

Edge = tuple[RankedPage, RankedItem]
Ordinals = tuple[int, ...]
FacetsKey = tuple[RankedPage, tuple[FacetField, ...], tuple[str, ...], int]


class Loader(Generic[_K, _V]):
    """The keys that are asked for before the event loop has gone round twice become one call of `load_batch`.

    Each key is loaded once. An error in the place of a value is that key's; a batch that failed may be asked for again.
    Waiters are shielded from each other: one that is cancelled, as a sibling field failed, takes nothing from others.
    """

    def __init__(
        self,
        load_batch: Callable[[list[_K]], Coroutine[Any, Any, Sequence[_V | TandemError]]],
        *,
        cache_key: Callable[[_K], Hashable] | None = None,
    ) -> None:
        self._load_batch = load_batch
        self._cache_key = cache_key
        self._known: dict[Hashable, asyncio.Future[_V]] = {}
        self._queue: list[tuple[Hashable, _K]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def get(self, key: _K) -> _V:
        """The value of one key."""
        return await asyncio.shield(self._future(key))

    async def get_many(self, keys: Iterable[_K]) -> list[_V]:
        """The values of several keys, in their order."""
        futures = [self._future(key) for key in keys]
        return list(await asyncio.shield(asyncio.gather(*futures))) if futures else []

    def _future(self, key: _K) -> asyncio.Future[_V]:
        name: Hashable = key if self._cache_key is None else self._cache_key(key)
        known = self._known.get(name)
        if known is None:
            loop = asyncio.get_running_loop()
            known = self._known[name] = loop.create_future()
            if not self._queue:
                # Fields below the one that asks first, and those of its siblings, have asked by then.
                loop.call_soon(loop.call_soon, self._begin)
            self._queue.append((name, key))
        return known

    def _begin(self) -> None:
        queue, self._queue = self._queue, []
        task = asyncio.create_task(self._load(queue))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _load(self, queue: Sequence[tuple[Hashable, _K]]) -> None:
        waiting = [self._known[name] for name, _ in queue]
        try:
            with tracing.part(_span_name(self._load_batch), {"keys": len(queue)}):
                values = await self._load_batch([key for _, key in queue])
            for future, value in zip(waiting, values, strict=True):
                if isinstance(value, Exception):
                    future.set_exception(value)
                else:
                    future.set_result(value)
        except BaseException as error:  # whatever it is, those who wait have to know
            for name, _ in queue:
                self._known.pop(name, None)
            for future in waiting:
                if not future.done():
                    future.set_exception(error) if isinstance(error, Exception) else future.cancel()
            if not isinstance(error, Exception):
                raise


def _span_name(load_batch: Callable[..., object]) -> str:
    """After the method that loads, or that made what loads."""
    return "load " + load_batch.__qualname__.split(".")[1].strip("_")


def _of_page(page: RankedPage) -> Hashable:
    return page.request_id


class Loaders:
    """Every loader of one request, made when it is first asked, and of what its viewer may see: the rest is not there.

    `now_ms` is the request's one idea of now.
    """

    def __init__(self, services: Services, viewer: Viewer, now_ms: int) -> None:
        self._services = services
        self._viewer = viewer
        self._now_ms = now_ms

    @cached_property
    def talent_by_talent_id(self) -> Loader[str, Document | None]:
        """Talents by own id."""
        return Loader(self._by_id(Kind.TALENT))

    @cached_property
    def talents_by_ordinals(self) -> Loader[Ordinals, list[Document | None]]:
        """Talents of a page."""
        return Loader(self._by_ordinals(Kind.TALENT))

    @cached_property
    def job_by_job_id(self) -> Loader[str, Document | None]:
        """Jobs by own id."""
        return Loader(self._by_id(Kind.JOB))

    @cached_property
    def jobs_by_ordinals(self) -> Loader[Ordinals, list[Document | None]]:
        """Jobs of a page."""
        return Loader(self._by_ordinals(Kind.JOB))

    @cached_property
    def client_exists_by_client_id(self) -> Loader[str, bool]:
        """Whether there is a client."""
        return Loader(self._clients)

    @cached_property
    def ranked_list_by_query(self) -> Loader[ListQuery, RankedPage | None]:
        """Pages of ranked lists."""
        return Loader(self._services.recommender.lists)

    @cached_property
    def reasons_by_edge(self) -> Loader[Edge, list[Reason]]:
        """Why an item is in a page."""
        return Loader(self._services.recommender.reasons, cache_key=lambda edge: (_of_page(edge[0]), edge[1].rank))

    @cached_property
    def interactions_by_edge(self) -> Loader[Edge, list[EventType]]:
        """What is in force between a page's subject and an item of it."""
        return Loader(self._interactions, cache_key=lambda edge: (_of_page(edge[0]), edge[1].rank))

    @cached_property
    def facets_by_page(self) -> Loader[FacetsKey, list[Facet]]:
        """Facets of a ranked list."""
        return Loader(self._services.recommender.facets, cache_key=lambda key: (_of_page(key[0]), *key[1:]))

    @cached_property
    def talents_by_search(self) -> Loader[SearchRequest, SearchPage]:
        """Searches for talents."""
        return Loader(self._search(Kind.TALENT))

    @cached_property
    def jobs_by_search(self) -> Loader[SearchRequest, SearchPage]:
        """Searches for jobs."""
        return Loader(self._search(Kind.JOB))

    @cached_property
    def facets_by_talent_search(self) -> Loader[FacetRequest, list[Facet]]:
        """Facets of a search for talents."""
        return Loader(self._facets(Kind.TALENT))

    @cached_property
    def facets_by_job_search(self) -> Loader[FacetRequest, list[Facet]]:
        """Facets of a search for jobs."""
        return Loader(self._facets(Kind.JOB))

    @cached_property
    def history_by_subject(self) -> Loader[SubjectKey, list[Event]]:
        """What a subject did, and was done to."""
        return Loader(self._history(impressions=False))

    @cached_property
    def impressions_by_subject(self) -> Loader[SubjectKey, list[Event]]:
        """The same with impressions."""
        return Loader(self._history(impressions=True))

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
            if self._viewer.may_all:
                return await self._services.catalogue.get_many(kind, ids=ids)
            sought = [one for one in ids if may_find(self._viewer, kind, one)]
            found = await self._services.catalogue.get_many(kind, ids=sought) if sought else ()
            by_id = dict(zip(sought, found, strict=True))
            return [self._seen(by_id.get(one)) for one in ids]

        return load

    def _seen(self, document: Document | None) -> Document | None:
        return document if document is not None and sees(self._viewer, document) else None

    def _by_ordinals(
        self, kind: Kind
    ) -> Callable[[list[Ordinals]], Coroutine[Any, Any, Sequence[list[Document | None]]]]:
        found: dict[int, Document | None] = {}

        async def load(pages: list[Ordinals]) -> Sequence[list[Document | None]]:
            lacking = list(dict.fromkeys(ordinal for page in pages for ordinal in page if ordinal not in found))
            if lacking:
                documents = await self._services.recommender.documents(kind, lacking)
                if not self._viewer.may_all:
                    documents = [self._seen(document) for document in documents]
                found.update(zip(lacking, documents, strict=True))
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
            histories = await self._services.events.history(subjects, impressions=impressions)
            if self._viewer.may_all:
                return histories
            return [[event for event in history if sees_event(self._viewer, event)] for history in histories]

        return load

    async def _interactions(self, edges: list[Edge]) -> Sequence[list[EventType]]:
        known = None if self._viewer.may_all else partial(sees_event, self._viewer)
        return await self._services.recommender.interactions(edges, known)

    async def _clients(self, ids: list[str]) -> Sequence[bool]:
        """A client exists while there is a job of theirs, in whatever state that the viewer sees."""
        sought = [client_id for client_id in ids if sees_client(self._viewer, client_id)]
        statuses = statuses_in_sight(self._viewer)
        requests = [(JobFilter(client_ids=(client_id,), statuses=statuses), None) for client_id in sought]
        found = await self._services.catalogue.matching(Kind.JOB, requests, self._now_ms) if requests else ()
        existing = {client_id for client_id, jobs in zip(sought, found, strict=True) if jobs}
        return [client_id in existing for client_id in ids]
