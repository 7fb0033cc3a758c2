"""A catalogue on a server that may fail: answers then come from what this process has read of it, and are said to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

from pyroaring import BitMap

from gateway.resilience.guard import Guard
from gateway.resilience.loop_lag import LoopLag
from recommender.degradation import DegradedReason
from recommender.documents import Changes, Document, Kind, Patch, PatchOutcome, Refused
from recommender.errors import UnavailableError
from recommender.filters import Filter
from recommender.mirror import Mirror
from recommender.ports import Catalogue, CatalogueWriter, OnRebuild
from recommender.search import Facet, FacetRequest, SearchPage, SearchRequest

DOCUMENTS_KEPT: Final = 10_000  # of each kind, some 2 KB each


class ReadCatalogue(Catalogue, CatalogueWriter, Protocol):
    """A catalogue that also answers out of what it has read. `asks` False: at once, without a round trip, and a text
    that it would have to ask for matches nothing. Raises UnavailableError when it has not read anything."""

    def known_mirror(self, kind: Kind) -> Mirror:
        """The mirror as it was last brought up."""
        ...

    async def matching(
        self, kind: Kind, requests: Sequence[tuple[Filter, str | None]], as_of_ms: int, *, asks: bool = True
    ) -> list[BitMap]:
        """See Catalogue."""
        ...

    async def facets(
        self, kind: Kind, requests: Sequence[FacetRequest], as_of_ms: int, *, asks: bool = True
    ) -> list[list[Facet]]:
        """See Catalogue."""
        ...

    async def search(
        self, kind: Kind, requests: Sequence[SearchRequest], as_of_ms: int, *, asks: bool = True
    ) -> list[SearchPage]:
        """See Catalogue."""
        ...


class GuardedCatalogue:
    """`recommender.ports.Catalogue` and its writer before one that may fail.

    A reader who would be told (see degradation) gets what was known last: the columns of every document, and the
    documents themselves where they were read lately and have not changed; else a document lacks title and text. Every
    other reader, and whoever writes, gets the failure.
    """

    def __init__(self, catalogue: ReadCatalogue, lag: LoopLag | None = None) -> None:
        self._catalogue = catalogue
        self.guard = Guard("catalogue", DegradedReason.CATALOGUE, self._probe, lag=lag)
        self._documents: dict[Kind, OrderedDict[int, tuple[int, Document]]] = {kind: OrderedDict() for kind in Kind}

    async def _probe(self) -> None:
        """Also catches up with what has changed meanwhile, so that the first request afterwards need not."""
        for kind in Kind:
            await self._catalogue.mirror(kind)

    async def mirror(self, kind: Kind) -> Mirror:
        """See Catalogue."""
        try:
            return await self.guard.read(lambda: self._catalogue.mirror(kind))
        except UnavailableError as error:
            known = self._catalogue.known_mirror(kind)
            self.guard.degrade(error)
            return known

    async def matching(self, kind: Kind, requests: Sequence[tuple[Filter, str | None]], as_of_ms: int) -> list[BitMap]:
        """See Catalogue."""
        try:
            return await self.guard.read(lambda: self._catalogue.matching(kind, requests, as_of_ms))
        except UnavailableError as error:
            self.guard.degrade(error)
            return await self._catalogue.matching(kind, requests, as_of_ms, asks=False)

    async def facets(self, kind: Kind, requests: Sequence[FacetRequest], as_of_ms: int) -> list[list[Facet]]:
        """See Catalogue."""
        try:
            return await self.guard.read(lambda: self._catalogue.facets(kind, requests, as_of_ms))
        except UnavailableError as error:
            self.guard.degrade(error)
            return await self._catalogue.facets(kind, requests, as_of_ms, asks=False)

    async def search(self, kind: Kind, requests: Sequence[SearchRequest], as_of_ms: int) -> list[SearchPage]:
        """See Catalogue."""
        try:
            return await self.guard.read(lambda: self._catalogue.search(kind, requests, as_of_ms))
        except UnavailableError as error:
            self.guard.degrade(error)
            return await self._catalogue.search(kind, requests, as_of_ms, asks=False)

    async def get_many(
        self, kind: Kind, ordinals: Sequence[int] = (), ids: Sequence[str] = ()
    ) -> list[Document | None]:
        """See Catalogue."""
        revision = self._revision(kind)  # read before the documents: they are at least as new
        try:
            found = await self.guard.read(lambda: self._catalogue.get_many(kind, ordinals, ids))
        except UnavailableError as error:
            mirror = self._catalogue.known_mirror(kind)
            self.guard.degrade(error)
            return self._known(mirror, [*ordinals, *mirror.ordinals_of(ids)])
        self._keep(kind, revision, found)
        return found

    def _revision(self, kind: Kind) -> int:
        try:
            return self._catalogue.known_mirror(kind).revision
        except UnavailableError:
            return 0

    def _keep(self, kind: Kind, revision: int, documents: Sequence[Document | None]) -> None:
        kept = self._documents[kind]
        for document in documents:
            if document is not None:
                kept[document.ordinal] = revision, document
                kept.move_to_end(document.ordinal)
        while len(kept) > DOCUMENTS_KEPT:
            kept.popitem(last=False)

    def forget_kept(self, kind: Kind, ordinals: Sequence[int]) -> None:
        """Drop documents that are gone."""
        for ordinal in ordinals:
            self._documents[kind].pop(ordinal, None)

    def _known(self, mirror: Mirror, ordinals: Sequence[int | None]) -> list[Document | None]:
        """A kept document where it has not changed since, else what the columns hold; None for one that is gone."""
        kept, found = self._documents[mirror.kind], list[Document | None]()
        for ordinal in ordinals:
            document = None if ordinal is None else mirror.document(ordinal)
            if document is not None:
                revision, whole = kept.get(document.ordinal, (0, document))
                (changed_at,) = mirror.changed_at([document.ordinal])
                document = whole if changed_at <= revision else document
            found.append(document)
        return found

    async def changes(self, kind: Kind, since: int, limit: int = 10_000) -> Changes:
        """See Catalogue."""
        return await self.guard.read(lambda: self._catalogue.changes(kind, since, limit))

    async def upsert(self, kind: Kind, patches: Sequence[Patch]) -> Sequence[PatchOutcome | Refused]:
        """See CatalogueWriter."""
        return await self.guard.write(lambda: self._catalogue.upsert(kind, patches))

    async def ensure(self, kind: Kind, ids: Sequence[str]) -> list[int]:
        """See CatalogueWriter."""
        return await self.guard.write(lambda: self._catalogue.ensure(kind, ids))

    async def delete(
        self, kind: Kind, document_id: str, *, erase: bool = False, at_ms: int | None = None
    ) -> str | None:
        """See CatalogueWriter."""
        kept = self._documents[kind]
        for ordinal in [ordinal for ordinal, (_, document) in kept.items() if document.id == document_id]:
            del kept[ordinal]
        return await self.guard.write(lambda: self._catalogue.delete(kind, document_id, erase=erase, at_ms=at_ms))

    async def rebuild(self, on_progress: OnRebuild | None = None) -> int:
        """See CatalogueWriter."""
        return await self._catalogue.rebuild(on_progress)
