"""The catalogue in one SQLite file: documents as JSON rows, text in FTS5, everything else answered by the mirror."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock

from pyroaring import BitMap

from gateway.adapters.drafts import Draft, Tombstone, bad_id, checked_ids, is_id
from gateway.adapters.mirrored import facets_of, found, found_at_once, page_of
from gateway.adapters.sqlite import document_rows, text_index, tombstones
from gateway.adapters.sqlite.database import Database
from gateway.adapters.sqlite.text_index import TextIndex
from gateway.adapters.sqlite.tombstones import Tombstones
from gateway.adapters.term_postings import TextMatch
from recommender.documents import Changes, Document, Kind, Patch, PatchOutcome, Refused
from recommender.filters import Filter
from recommender.mirror import Mirror
from recommender.ports import OnRebuild
from recommender.search import Facet, FacetRequest, SearchPage, SearchRequest

SCHEMA = 1
PAGE = 2_000  # documents that the mirror takes in at a time: readers of the mirror wait for one page at most


class SqliteCatalogue:
    """Catalogue and CatalogueWriter in one file, for any number of processes.

    A revived document keeps its ordinal. Every change of a document takes the next number of one counter; the last one
    of each kind is compared with the mirror's before every answer, so another process's writes are seen at once.
    """

    def __init__(self, database: Database, *, currency: str) -> None:
        self._database = database
        with database.reading() as connection:
            self._tombstones = Tombstones(connection)
        self._mirrors = {kind: Mirror(kind, currency=currency) for kind in Kind}
        self._texts = {kind: TextIndex(kind) for kind in Kind}
        self._locks = {kind: Lock() for kind in Kind}
        self._mirrored: dict[Kind, int] = {}  # the file's state that the mirror is not behind

    @classmethod
    def open(cls, path: Path, *, currency: str = "USD") -> SqliteCatalogue:
        """Open the file, creating it where there is none.

        currency: in which pay is compared where a filter names none. Raises UnavailableError.
        """
        ddl = (*document_rows.DDL, *tombstones.DDL, *text_index.DDL)
        database = Database.open(path, part="catalogue", schema=SCHEMA, ddl=ddl, synchronous="FULL")
        return cls(database, currency=currency)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._database.close()

    @property
    def identity(self) -> str:
        """Tells this catalogue, whose ordinals mean nothing in another, from every other."""
        return self._tombstones.mark(Kind.JOB, "").hex()[:16]

    async def mirror(self, kind: Kind) -> Mirror:
        """See Catalogue. Reads nothing while the file is as it was."""
        mirror, state = self._mirrors[kind], self._database.state()
        if self._mirrored.get(kind) != state:
            with self._database.reading() as connection:
                revision = document_rows.revision_of(connection, kind)
            if mirror.revision < revision:
                await asyncio.to_thread(self._refresh, kind)
            self._mirrored[kind] = state  # which was there before what was read
        return mirror

    def _refresh(self, kind: Kind) -> None:
        with self._view(kind, ()):
            pass

    @contextmanager
    def _view(self, kind: Kind, texts: Sequence[str | None]) -> Iterator[tuple[Mirror, list[TextMatch | None]]]:
        """The mirror and the matches of texts, both of one revision as long as the block lasts."""
        mirror, index = self._mirrors[kind], self._texts[kind]
        with self._locks[kind]:
            with self._database.snapshot() as connection:
                revision = document_rows.revision_of(connection, kind)
                while mirror.revision < revision:
                    mirror.apply(document_rows.changes_since(connection, kind, mirror.revision, PAGE))
                matches = [index.match(connection, revision, text) for text in texts]
            yield mirror, matches

    async def matching(
        self, kind: Kind, requests: Sequence[tuple[Filter, str | None]], as_of_ms: int, *, is_current: bool = False
    ) -> list[BitMap]:
        """See Catalogue."""
        known = await found_at_once(self._mirrors[kind], requests, as_of_ms) if is_current else None
        if known is not None:
            return known

        def read() -> list[BitMap]:
            with self._view(kind, [text for _, text in requests]) as (mirror, matches):
                return [
                    found(mirror, wanted, match, as_of_ms) for (wanted, _), match in zip(requests, matches, strict=True)
                ]

        return await asyncio.to_thread(read)

    async def facets(self, kind: Kind, requests: Sequence[FacetRequest], as_of_ms: int) -> list[list[Facet]]:
        """See Catalogue; what a facet counts is said at Mirror.facets."""

        def read() -> list[list[Facet]]:
            with self._view(kind, [request.text for request in requests]) as (mirror, matches):
                return [
                    facets_of(mirror, request, match, as_of_ms)
                    for request, match in zip(requests, matches, strict=True)
                ]

        return await asyncio.to_thread(read)

    async def search(self, kind: Kind, requests: Sequence[SearchRequest], as_of_ms: int) -> list[SearchPage]:
        """See Catalogue; what a sort compares is said at Mirror.page."""

        def read() -> list[SearchPage]:
            with self._view(kind, [request.text for request in requests]) as (mirror, matches):
                return [
                    page_of(mirror, request, match, as_of_ms) for request, match in zip(requests, matches, strict=True)
                ]

        return await asyncio.to_thread(read)

    async def get_many(
        self, kind: Kind, ordinals: Sequence[int] = (), ids: Sequence[str] = ()
    ) -> list[Document | None]:
        """See Catalogue."""

        def read() -> list[Document | None]:
            with self._database.snapshot() as connection:
                by_ordinal = document_rows.documents_by(connection, kind, "ordinal", set(ordinals))
                by_id = document_rows.documents_by(connection, kind, "id", {one for one in ids if is_id(one)})
            named = {document.id: document for document in by_id}
            numbered = {document.ordinal: document for document in by_ordinal}
            return [numbered.get(ordinal) for ordinal in ordinals] + [named.get(text) for text in ids]

        return await asyncio.to_thread(read)

    async def changes(self, kind: Kind, since: int, limit: int = 10_000) -> Changes:
        """See Catalogue."""

        def read() -> Changes:
            with self._database.snapshot() as connection:
                return document_rows.changes_since(connection, kind, since, limit)

        return await asyncio.to_thread(read)

    async def upsert(self, kind: Kind, patches: Sequence[Patch]) -> list[PatchOutcome | Refused]:
        """See CatalogueWriter. One transaction: when it raises, nothing was written.

        A patch that changes nothing but `updated_at_ms` is UNCHANGED and takes no revision. A deleted document is
        revived, under its old ordinal, by a patch with an `updated_at_ms` newer than the deletion.
        """
        return await asyncio.to_thread(self._upsert, kind, patches)

    def _upsert(self, kind: Kind, patches: Sequence[Patch]) -> list[PatchOutcome | Refused]:
        ids = list(dict.fromkeys(patch.id for patch in patches if is_id(patch.id)))
        with self._database.writing() as connection:
            drafts = document_rows.drafts_of(connection, kind, ids)
            buried = self._tombstones.find(connection, kind, [one for one in ids if one not in drafts])
            outcomes: list[PatchOutcome | Refused] = []
            for patch in patches:
                if not is_id(patch.id):
                    outcomes.append(Refused(bad_id(patch.id)))
                    continue
                tombstone = buried.get(patch.id)
                if tombstone is not None and not tombstone.yields_to(patch):
                    outcomes.append(PatchOutcome.DELETED)
                    continue
                ordinal = None if tombstone is None else tombstone.ordinal
                draft = drafts.setdefault(patch.id, Draft(ordinal, None, None))
                outcomes.append(draft.apply(kind, patch))
                if tombstone is not None and draft.after is not None:
                    self._tombstones.lift(connection, kind, patch.id)
                    del buried[patch.id]
            document_rows.write(connection, kind, drafts)
        return outcomes

    async def ensure(self, kind: Kind, ids: Sequence[str]) -> list[int]:
        """See CatalogueWriter. The ordinal of a deleted document is that of its tombstone.

        Raises BadInputError for an id that is not 1 to 256 bytes of UTF-8.
        """
        return await asyncio.to_thread(self._ensure, kind, ids)

    def _ensure(self, kind: Kind, ids: Sequence[str]) -> list[int]:
        distinct = checked_ids(ids)
        with self._database.writing() as connection:
            ordinals = document_rows.ordinals_by_id(connection, kind, distinct)
            unknown = [one for one in distinct if one not in ordinals]
            buried = self._tombstones.find(connection, kind, unknown)
            ordinals.update({one: tombstone.ordinal for one, tombstone in buried.items()})
            drafts = {one: Draft(None, None, {}) for one in unknown if one not in buried}
            document_rows.write(connection, kind, drafts)
        ordinals.update({one: draft.ordinal for one, draft in drafts.items() if draft.ordinal is not None})
        return [ordinals[one] for one in ids]

    async def delete(
        self, kind: Kind, document_id: str, *, erase: bool = False, at_ms: int | None = None
    ) -> str | None:
        """See CatalogueWriter. A document that was deleted before can still be erased, again and again.

        The receipt is the same for the same document. at_ms: when it was deleted, where the caller knows; an upsert
        revives it only with an `updated_at_ms` newer than this and than the document's own.
        """
        return await asyncio.to_thread(self._delete, kind, document_id, erase, at_ms)

    def _delete(self, kind: Kind, document_id: str, erase: bool, at_ms: int | None) -> str | None:
        if not is_id(document_id):
            return None
        with self._database.writing() as connection:
            removed = document_rows.remove(connection, kind, document_id)
            if removed is not None:
                ordinal, updated_at_ms, revision = removed
                newest = max((at for at in (updated_at_ms, at_ms) if at is not None), default=None)
                tombstone = Tombstone(ordinal, newest, erase)
                self._tombstones.put(connection, kind, document_id, tombstone, revision)
            elif not erase or not self._tombstones.erase(connection, kind, document_id):
                return None
        if erase:
            self._database.checkpoint()
        return self._tombstones.mark(kind, document_id).hex()[:32]

    async def erased(self, kind: Kind, ids: Sequence[str]) -> list[int | None]:
        """See CatalogueWriter."""
        return await asyncio.to_thread(self._erased, kind, ids)

    def _erased(self, kind: Kind, ids: Sequence[str]) -> list[int | None]:
        with self._database.reading() as connection:
            found = self._tombstones.find(connection, kind, ids)
        return [found[one].ordinal if one in found and found[one].is_erased else None for one in ids]

    async def rebuild(self, on_progress: OnRebuild | None = None) -> int:
        """See CatalogueWriter. One transaction: readers see the old index until it is done."""
        return await asyncio.to_thread(self._rebuild, on_progress)

    def _rebuild(self, on_progress: OnRebuild | None) -> int:
        count = 0
        with self._database.writing() as connection:
            for kind in Kind:
                done, total = 0, document_rows.count(connection, kind)
                text_index.recreate(connection, kind)
                rows = document_rows.stored_rows(connection, kind)
                while batch := list(islice(rows, PAGE)):
                    text_index.add(connection, kind, batch)
                    done += len(batch)
                    if on_progress is not None:
                        on_progress(kind, done, total)
                count += done
        return count
