"""A process's copy of one kind: the mirror and the cached postings, kept current by what has changed in the index."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

from gateway.adapters.elasticsearch import bodies
from gateway.adapters.elasticsearch.cluster import Cluster
from gateway.adapters.elasticsearch.connection import PART, IndexMovedError
from gateway.adapters.elasticsearch.layout import Layout
from gateway.adapters.elasticsearch.records import Record, base_of, record_from_hit
from gateway.adapters.elasticsearch.text_cache import LivePostings, TextCache, match_of
from gateway.adapters.leaving import for_who_may_leave
from gateway.adapters.term_postings import TextMatch, relevance_by_term
from recommender.documents import Changes, Kind
from recommender.errors import UnavailableError
from recommender.mirror import Mirror
from recommender.text import terms

PAGE = 2_000  # documents of one page of changes, and that the mirror takes in at a time
MOVES = 20  # times that an index may move under one call


class Follower:
    """Follows one kind. Its coroutines run in the connection's loop, `view` in any thread."""

    def __init__(self, cluster: Cluster, layout: Layout, kind: Kind, *, currency: str) -> None:
        self.kind = kind
        self.mirror = Mirror(kind, currency=currency)
        self._cluster, self._layout = cluster, layout
        self._texts = TextCache()
        self._lock = RLock()  # the mirror and the postings are of one state whenever nobody holds it
        self._looking: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    # ---- What has changed ------------------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Take in every write that was acknowledged before this call: one round trip when there is none.

        Callers that come while a look is under way share the next one: that under way may have begun too early.
        """
        if self._next is None:
            self._next = asyncio.create_task(for_who_may_leave(self._after(self._looking)))
        await asyncio.shield(self._next)

    async def _after(self, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        self._looking, self._next = self._next, None
        for _ in range(MOVES):
            try:
                await self._look()
            except IndexMovedError:
                self._layout.forget(self.kind)
            else:
                return
        raise UnavailableError(PART, "its index is moved again and again")

    async def news(self) -> tuple[str, bodies.Body]:
        """The search, and in which index, that finds something when anything has changed since the mirror's state."""
        index = await self._layout.index(self.kind)
        return index, bodies.news(self.mirror.revision, base_of(index))

    async def _look(self) -> None:
        index, question = await self.news()
        (news,) = await self._cluster.search(index, [question], only=("_id",))
        if not news:
            return
        # What is written but not yet visible may stand before what is visible. The checkpoint says how far nothing is
        # missing, once a refresh has made visible what it counts.
        checkpoint = base_of(index) + 1 + await self._cluster.checkpoint(index)
        await self._cluster.refresh(index)
        if not self.mirror.revision:
            await self._load(index, checkpoint)
            return
        reached = self.mirror.revision
        while True:
            changed = await self._changed(index, reached, PAGE)
            if changed:
                reached = changed[-1].revision
                await asyncio.to_thread(self._apply, changed, max(self.mirror.revision, min(reached, checkpoint)))
            if len(changed) < PAGE:
                return

    async def _load(self, index: str, checkpoint: int) -> None:
        """Take in everything as it stands at one moment. Broken off, it is begun again: the revision stays 0."""
        newest = 0
        async for hits in self._cluster.scan(index, bodies.everything(), ["_shard_doc"], PAGE):
            records = [record_from_hit(hit) for hit in hits]
            newest = max(newest, *(record.revision for record in records))
            await asyncio.to_thread(self._apply, records, 0)
        await asyncio.to_thread(self._apply, (), min(newest, checkpoint))

    async def _changed(self, index: str, since: int, limit: int) -> list[Record]:
        """What changed after a revision as far as it is visible, oldest first, at most `limit` records."""
        searches = bodies.changed(since, base_of(index), limit)
        found = await self._cluster.search(index, searches, is_request=False)
        records = [record_from_hit(hit) for hits in found for hit in hits]
        return sorted(records, key=lambda record: record.revision)[:limit]

    async def changes(self, since: int, limit: int) -> Changes:
        """See Catalogue.changes. A change that was made beside one that is still under way may come again."""
        return changes_of(self.kind, *await self.records(since, limit))

    async def records(self, since: int, limit: int) -> tuple[list[Record], int]:
        """What changed after a revision, oldest first, and the revision up to which nothing is missing in it."""
        index = await self._layout.index(self.kind)
        checkpoint = base_of(index) + 1 + await self._cluster.checkpoint(index)
        await self._cluster.refresh(index)
        records: list[Record] = []
        while len(records) < limit:
            page = min(PAGE, limit - len(records))
            more = await self._changed(index, records[-1].revision if records else since, page)
            records += more
            if len(more) < page:
                break
        reached = min(records[-1].revision, checkpoint) if records else since
        return records, max(since, reached)

    def _apply(self, records: Sequence[Record], revision: int) -> None:
        changes = changes_of(self.kind, records, revision)
        relevances: list[tuple[int, dict[str, int]]] = []
        with self._lock:
            is_watching = self._texts.is_watching
        if is_watching:
            relevances = [(one.ordinal, relevance_by_term(one.stored or {})) for one in records]
        with self._lock:
            if self._texts.is_watching and not is_watching:  # a fetch has begun meanwhile
                relevances = [(one.ordinal, relevance_by_term(one.stored or {})) for one in records]
            self.mirror.apply(changes)
            self._texts.change(relevances)

    # ---- Text ------------------------------------------------------------------------------------------------------

    async def ready(self, texts: Sequence[str | None]) -> dict[str, LivePostings]:
        """The postings of every term of the texts; the mirror then holds all that was acknowledged before the call.

        As long as the caller keeps them they stay true, together with the mirror.
        """
        wanted = list(dict.fromkeys(term for text in texts for term in terms(text or "")))
        with self._lock:
            known = {term: found for term in wanted if (found := self._texts.get(term)) is not None}
        missing = [term for term in wanted if term not in known]
        if not missing:
            await self.catch_up()
            return known
        with self._lock:
            begun = self._texts.begin()
        try:
            fetched = await self._fetch(missing)
            # This look comes after the fetch and so brings all that the fetch saw: both are then of one state.
            await self.catch_up()
        except BaseException:
            with self._lock:
                self._texts.abandon()
            raise
        with self._lock:
            self._texts.finish(begun, fetched)
        return known | {one.term: one for one in fetched}

    def known(self, texts: Sequence[str | None]) -> dict[str, LivePostings]:
        """The postings that are here already; of a term that was never asked for, or is forgotten, those of no
        document: better no row than a wrong one."""
        wanted = dict.fromkeys(term for text in texts for term in terms(text or ""))
        with self._lock:
            return {term: self._texts.get(term) or LivePostings(term, ()) for term in wanted}

    async def _fetch(self, wanted: Sequence[str]) -> list[LivePostings]:
        """Postings of terms, in one round trip for each 10,000 documents of the most frequent one.

        Each document is met once, by its ordinal, at one moment or another: what changes meanwhile is mended after.
        """
        found: dict[str, list[tuple[int, int]]] = {term: [] for term in wanted}
        after = dict.fromkeys(wanted, 0)
        for _ in range(MOVES):
            try:
                index = await self._layout.index(self.kind)
                while after:
                    searches = [bodies.having_term(term, ordinal) for term, ordinal in after.items()]
                    pages = await self._cluster.search(index, searches, only=("sort", "_score"))
                    for term, hits in zip(list(after), pages, strict=True):
                        found[term] += [_posting(hit) for hit in hits]
                        if len(hits) < bodies.TERMS_PAGE:
                            del after[term]
                        else:
                            after[term] = hits[-1]["sort"][0]
            except IndexMovedError:
                self._layout.forget(self.kind)
            else:
                break
        return [LivePostings(term, pairs) for term, pairs in found.items()]

    @contextmanager
    def view(
        self, texts: Sequence[str | None], postings: dict[str, LivePostings]
    ) -> Iterator[tuple[Mirror, list[TextMatch | None]]]:
        """The mirror and the matches of texts, both of one state as long as the block lasts. postings: from `ready`."""
        with self._lock:
            yield self.mirror, [match_of([postings[term] for term in terms(text or "")]) for text in texts]


async def catch_up_together(cluster: Cluster, followers: Sequence[Follower]) -> None:
    """Have each take in every write that was acknowledged before: one round trip for all when there is none."""
    try:
        questions = [await follower.news() for follower in followers]
        found = await cluster.search_each(questions, only=("_id",))
    except IndexMovedError:
        behind = list(followers)
    else:
        behind = [follower for follower, news in zip(followers, found, strict=True) if news]
    await asyncio.gather(*(follower.catch_up() for follower in behind))


def changes_of(kind: Kind, records: Sequence[Record], revision: int) -> Changes:
    """Records as changes, each once, in its newest state."""
    latest = {record.ordinal: record for record in records}
    live = [record.document(kind) for record in latest.values() if record.stored is not None]
    gone = [record.ordinal for record in latest.values() if record.stored is None]
    return Changes(revision, live, gone, max((record.revision for record in records), default=0))


def _posting(hit: dict[str, Any]) -> tuple[int, int]:
    return hit["sort"][0], int(hit["_score"])
