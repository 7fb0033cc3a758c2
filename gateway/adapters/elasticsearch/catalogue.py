"""The catalogue in Elasticsearch: documents and text there, everything else answered by a mirror that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pyroaring import BitMap

from gateway.adapters.drafts import is_id
from gateway.adapters.elasticsearch import bodies
from gateway.adapters.elasticsearch.cluster import Cluster
from gateway.adapters.elasticsearch.connection import (
    PART,
    Address,
    Connection,
    IndexMovedError,
    address_from_url,
)
from gateway.adapters.elasticsearch.following import MOVES, Follower, catch_up_together
from gateway.adapters.elasticsearch.layout import Layout
from gateway.adapters.elasticsearch.rebuilding import rebuild
from gateway.adapters.elasticsearch.records import Record, record_from_hit
from gateway.adapters.elasticsearch.vectors import ElasticsearchVectors
from gateway.adapters.elasticsearch.writing import Writer
from gateway.adapters.mirrored import facets_of, found, found_at_once, page_of
from gateway.adapters.term_postings import TextMatch
from recommender.documents import Changes, Document, Kind, Patch, PatchOutcome, Refused
from recommender.errors import UnavailableError
from recommender.filters import Filter
from recommender.mirror import Mirror
from recommender.ports import OnRebuild
from recommender.search import Facet, FacetRequest, SearchPage, SearchRequest

Answer = TypeVar("Answer")

REQUEST_TIMEOUT_MS = 120  # of one round trip that a request waits for
NAMED = 4_000  # documents by name that one search brings


class ElasticsearchCatalogue:
    """Catalogue and CatalogueWriter in one namespace of a cluster, for any number of processes and event loops."""

    def __init__(self, connection: Connection, namespace: str, *, currency: str) -> None:
        self._connection = connection
        self._cluster = Cluster(connection)
        self._layout = Layout(self._cluster, namespace)
        self._followers = {kind: Follower(self._cluster, self._layout, kind, currency=currency) for kind in Kind}
        self._writer = Writer(self._cluster, self._layout)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        namespace: str,
        currency: str = "USD",
        create: bool = True,
        timeout_ms: int = REQUEST_TIMEOUT_MS,
    ) -> ElasticsearchCatalogue:
        """Check the cluster and open the namespace's indices, making them where there are none; blocks.

        create: False raises NoIndicesError instead of making them. currency: in which pay is compared where a filter
        names none. Raises UnavailableError, which says what is wrong and what to do.
        """
        connection = Connection(address_from_url(url), timeout_ms=timeout_ms)
        catalogue = cls(connection, namespace, currency=currency)
        try:
            connection.run_now(catalogue._open(create=create))
        except BaseException:
            connection.close()
            raise
        return catalogue

    async def _open(self, *, create: bool) -> None:
        try:
            await self._layout.open(create=create)
        except IndexMovedError as error:
            raise UnavailableError(PART, f"Elasticsearch does not let its indices be used: {error}") from error

    @property
    def address(self) -> Address:
        """Where it is."""
        return self._connection.address

    async def write_problem(self) -> str | None:
        """Why no document can be written now, and what to do; None when they can. One round trip."""
        return await self._connection.run(self._layout.write_problem())

    def vectors(self) -> ElasticsearchVectors:
        """Indices of models' rows beside these documents. They live as long as this catalogue."""
        return ElasticsearchVectors(self._cluster, self._layout, self._followers)

    def close(self) -> None:
        """Close the client. May be called twice."""
        self._connection.close()

    @property
    def identity(self) -> str:
        """Tells this catalogue, whose ordinals mean nothing in another, from every other."""
        return self._layout.mark(Kind.JOB, "")[:16]

    def known_mirror(self, kind: Kind) -> Mirror:
        """The mirror as it was last brought up. Raises UnavailableError when that was never."""
        mirror = self._followers[kind].mirror
        if not mirror.revision:
            raise UnavailableError(PART, "this process has not read its documents yet")
        return mirror

    async def mirror(self, kind: Kind) -> Mirror:
        """See Catalogue. One round trip when nothing has changed."""
        return (await self.mirrors([kind]))[kind]

    async def mirrors(self, kinds: Sequence[Kind]) -> dict[Kind, Mirror]:
        """Those of several kinds; see `mirror`."""
        followers = {kind: self._followers[kind] for kind in kinds}
        await self._connection.run(catch_up_together(self._cluster, list(followers.values())))
        return {kind: follower.mirror for kind, follower in followers.items()}

    async def _answer(
        self,
        kind: Kind,
        texts: Sequence[str | None],
        answer: Callable[[Mirror, list[TextMatch | None]], Answer],
        *,
        asks: bool,
    ) -> Answer:
        """asks: False answers out of what this process has read, at once. A text that has a term of which it has not
        read the postings then matches nothing. Raises UnavailableError before anything was read."""
        follower = self._followers[kind]
        if not asks:
            self.known_mirror(kind)
        postings = await self._connection.run(follower.ready(texts)) if asks else follower.known(texts)

        def read() -> Answer:
            with follower.view(texts, postings) as (mirror, matches):
                return answer(mirror, matches)

        return await asyncio.to_thread(read)

    async def matching(
        self,
        kind: Kind,
        requests: Sequence[tuple[Filter, str | None]],
        as_of_ms: int,
        *,
        is_current: bool = False,
        asks: bool = True,
    ) -> list[BitMap]:
        """See Catalogue; asks: see _answer."""
        known = await found_at_once(self._followers[kind].mirror, requests, as_of_ms) if is_current else None
        if known is not None:
            return known

        def read(mirror: Mirror, matches: list[TextMatch | None]) -> list[BitMap]:
            return [
                found(mirror, wanted, match, as_of_ms) for (wanted, _), match in zip(requests, matches, strict=True)
            ]

        return await self._answer(kind, [text for _, text in requests], read, asks=asks)

    async def facets(
        self, kind: Kind, requests: Sequence[FacetRequest], as_of_ms: int, *, asks: bool = True
    ) -> list[list[Facet]]:
        """See Catalogue; what a facet counts is said at Mirror.facets. asks: see _answer."""

        def read(mirror: Mirror, matches: list[TextMatch | None]) -> list[list[Facet]]:
            return [
                facets_of(mirror, request, match, as_of_ms) for request, match in zip(requests, matches, strict=True)
            ]

        return await self._answer(kind, [request.text for request in requests], read, asks=asks)

    async def search(
        self, kind: Kind, requests: Sequence[SearchRequest], as_of_ms: int, *, asks: bool = True
    ) -> list[SearchPage]:
        """See Catalogue; what a sort compares is said at Mirror.page. asks: see _answer."""

        def read(mirror: Mirror, matches: list[TextMatch | None]) -> list[SearchPage]:
            return [page_of(mirror, request, match, as_of_ms) for request, match in zip(requests, matches, strict=True)]

        return await self._answer(kind, [request.text for request in requests], read, asks=asks)

    async def get_many(
        self, kind: Kind, ordinals: Sequence[int] = (), ids: Sequence[str] = ()
    ) -> list[Document | None]:
        """See Catalogue. One round trip."""
        marks = {one: self._layout.mark(kind, one) for one in ids if is_id(one)}
        records = await self._connection.run(self._named(kind, sorted(set(ordinals)), list(marks.values())))
        documents = {record.mark: record.document(kind) for record in records}
        numbered = {document.ordinal: document for document in documents.values()}
        return [numbered.get(ordinal) for ordinal in ordinals] + [documents.get(marks.get(one, "")) for one in ids]

    async def _named(self, kind: Kind, ordinals: Sequence[int], marks: Sequence[str]) -> list[Record]:
        searches = [bodies.named(ordinals[at : at + NAMED], ()) for at in range(0, len(ordinals), NAMED)]
        searches += [bodies.named((), marks[at : at + NAMED]) for at in range(0, len(marks), NAMED)]
        if not searches:
            return []

        async def read() -> list[Record]:
            pages = await self._cluster.search(
                await self._layout.index(kind), searches, is_request=len(ordinals) + len(marks) <= NAMED
            )
            return [record_from_hit(hit) for hits in pages for hit in hits]

        return await self._settled(kind, read)

    async def changes(self, kind: Kind, since: int, limit: int = 10_000) -> Changes:
        """See Catalogue. A change that was made beside one that is still under way may come again."""
        follower = self._followers[kind]
        return await self._connection.run(self._settled(kind, lambda: follower.changes(since, limit)))

    async def _settled(self, kind: Kind, read: Callable[[], Awaitable[Answer]]) -> Answer:
        """Read; once more where a rebuild has put another index in place."""
        for _ in range(MOVES):
            try:
                return await read()
            except IndexMovedError:
                self._layout.forget(kind)
        raise UnavailableError(PART, "its index is moved again and again")

    async def upsert(self, kind: Kind, patches: Sequence[Patch]) -> list[PatchOutcome | Refused]:
        """See CatalogueWriter. Each document for itself: when it raises, some may have been written.

        A patch that changes nothing but `updated_at_ms` is UNCHANGED and takes no revision. A deleted document is
        revived, under its old ordinal, by a patch with an `updated_at_ms` newer than the deletion.
        """
        return await self._connection.run(self._writer.upsert(kind, patches))

    async def ensure(self, kind: Kind, ids: Sequence[str]) -> list[int]:
        """See CatalogueWriter. The ordinal of a deleted document is that of its tombstone."""
        return await self._connection.run(self._writer.ensure(kind, ids))

    async def delete(
        self, kind: Kind, document_id: str, *, erase: bool = False, at_ms: int | None = None
    ) -> str | None:
        """See CatalogueWriter. A document that was deleted before can still be erased.

        The receipt is the same for the same document. at_ms: when it was deleted, where the caller knows; an upsert
        revives it only with an `updated_at_ms` newer than this and than the document's own.
        """
        if not is_id(document_id):
            return None
        return await self._connection.run(self._writer.delete(kind, document_id, erase=erase, at_ms=at_ms))

    async def erased(self, kind: Kind, ids: Sequence[str]) -> list[int | None]:
        """See CatalogueWriter."""
        return await self._connection.run(self._writer.erased(kind, ids))

    async def rebuild(self, on_progress: OnRebuild | None = None) -> int:
        """See CatalogueWriter. Searches and writes go on; see `rebuilding.rebuild`."""

        def show(kind: Kind, done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(kind, done, total)

        async def both() -> int:
            return sum([await rebuild(self._cluster, self._layout, kind, show) for kind in Kind])

        return await self._connection.run(both())
