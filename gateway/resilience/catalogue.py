"""A catalogue on a server that may fail: answers then come from what this process has read of it, and are said to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pyroaring import BitMap

from gateway.resilience.guard import Guard
from gateway.resilience.loop_lag import LoopLag
from gateway.resilience.together import Together
from recommender.degradation import DegradedReason
from recommender.documents import Changes, Document, Kind, Patch, PatchOutcome, Refused
from recommender.errors import UnavailableError
from recommender.filters import Filter
from recommender.kept_documents import KeptDocuments
from recommender.mirror import Mirror
from recommender.ports import Catalogue, CatalogueWriter, OnRebuild
from recommender.search import Facet, FacetRequest, SearchPage, SearchRequest


class ReadCatalogue(Catalogue, CatalogueWriter, Protocol):
    """A catalogue that also answers out of what it has read. `asks` False: at once, without a round trip, and a text
    that it would have to ask for matches nothing. Raises UnavailableError when it has not read anything."""

    def known_mirror(self, kind: Kind) -> Mirror:
        """The mirror as it was last brought up."""
        ...

    async def mirrors(self, kinds: Sequence[Kind]) -> dict[Kind, Mirror]:
        """Those of several kinds, see Catalogue.mirror; asked for together."""
        ...

    async def matching(
        self,
        kind: Kind,
        requests: Sequence[tuple[Filter, str | None]],
        as_of_ms: int,
        *,
        is_current: bool = False,
        asks: bool = True,
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

    def __init__(
        self, catalogue: ReadCatalogue, lag: LoopLag | None = None, documents: KeptDocuments | None = None
    ) -> None:
        self._catalogue = catalogue
        self._documents = KeptDocuments() if documents is None else documents
        self.guard = Guard("catalogue", DegradedReason.CATALOGUE, self._probe, lag=lag)
        self._looks = Together(catalogue.mirrors)

    async def _probe(self) -> None:
        """Also catches up with what has changed meanwhile, so that the first request afterwards need not."""
        await self._catalogue.mirrors(list(Kind))

    async def mirror(self, kind: Kind) -> Mirror:
        """See Catalogue."""
        try:
            (mirror,) = await self.guard.read(lambda: self._looks.get([kind]))
        except UnavailableError as error:
            known = self._catalogue.known_mirror(kind)
            self.guard.degrade(error)
            return known
        return mirror

    async def matching(
        self, kind: Kind, requests: Sequence[tuple[Filter, str | None]], as_of_ms: int, *, is_current: bool = False
    ) -> list[BitMap]:
        """See Catalogue. What asks nobody cannot fail either."""
        if is_current and all(text is None for _, text in requests):
            return await self._catalogue.matching(kind, requests, as_of_ms, is_current=True)
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
        mirror = self._mirror(kind)
        revision = 0 if mirror is None else mirror.revision  # read before the documents: they are at least as new
        try:
            found = await self.guard.read(lambda: self._catalogue.get_many(kind, ordinals, ids))
        except UnavailableError as error:
            known = self._catalogue.known_mirror(kind)
            self.guard.degrade(error)
            return self._known(known, [*ordinals, *known.ordinals_of(ids)])
        if mirror is not None:
            self._documents.put(mirror, revision, [document for document in found if document is not None])
        return found

    def _mirror(self, kind: Kind) -> Mirror | None:
        try:
            return self._catalogue.known_mirror(kind)
        except UnavailableError:
            return None

    def _known(self, mirror: Mirror, ordinals: Sequence[int | None]) -> list[Document | None]:
        """A kept document where it has not changed since, else what the columns hold; None for one that is gone."""
        kept = self._documents.get(mirror, [ordinal for ordinal in ordinals if ordinal is not None])
        columns = [None if ordinal is None else mirror.document(ordinal) for ordinal in ordinals]
        return [None if one is None else kept.get(one.ordinal, one) for one in columns]

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
        self._documents.forget_id(kind, document_id)
        return await self.guard.write(lambda: self._catalogue.delete(kind, document_id, erase=erase, at_ms=at_ms))

    async def erased(self, kind: Kind, ids: Sequence[str]) -> list[int | None]:
        """See CatalogueWriter."""
        return await self.guard.write(lambda: self._catalogue.erased(kind, ids))

    async def rebuild(self, on_progress: OnRebuild | None = None) -> int:
        """See CatalogueWriter."""
        return await self._catalogue.rebuild(on_progress)
