"""The recommender: ranked lists, and why. Asks every port once per batch, whatever the number of lists in it.

The way of a batch: check → model, mirrors and histories → vectors (fold-in) or traits → what matches → score and cut →
serving log. The arithmetic is in the modules below; here is what is asked for, when, and what becomes of failures.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
from pyroaring import FrozenBitMap

from recommender.caching import Caching, Turn, Unmade
from recommender.content import as_document, traits_from
from recommender.degradation import DegradedReason, degrade, degraded
from recommender.documents import Document, Kind, Side
from recommender.eligibility import types_in_force
from recommender.errors import CursorExpiredError, TandemError, UnavailableError
from recommender.events import Event, EventType
from recommender.explain import explain_pair, unknown_pair
from recommender.fatigue import MOST_COUNTED
from recommender.features import features_of
from recommender.filters import JobFilter, TalentFilter
from recommender.grounds import (
    FetchedDocuments,
    ListContext,
    acted_on,
    grounds_of,
    is_likely,
    is_popular,
    probabilities,
    told,
)
from recommender.interest import MUTUAL_WEIGHT, Interest, interests_from_histories
from recommender.kept_documents import KeptDocuments
from recommender.kept_interests import KeptInterests, RestsOn
from recommender.kept_lists import snapshot_from
from recommender.kept_pages import KeptPages
from recommender.mirror import Mirror
from recommender.model import Model
from recommender.nomination import LEFT_ALONE_MS
from recommender.ports import (
    Cache,
    CachedList,
    Catalogue,
    EventLog,
    ModelStore,
    NomineeRequest,
    ServedItem,
    ServedList,
    ServingLog,
    SubjectKey,
    VectorIndex,
)
from recommender.query import (
    Exactness,
    Explanation,
    ListQuery,
    Mode,
    Options,
    Position,
    RankedItem,
    RankedPage,
    Reason,
    Strategy,
)
from recommender.ranking import (
    Draft,
    all_to_keep,
    basis_of,
    candidates_of,
    check_options,
    check_rebuilt,
    content_snapshot,
    cut_page,
    hidden_ids,
    hidden_then,
    is_much_shared,
    is_unread,
    lent_to_subjects,
    nominee_request,
    own_row,
    rests_on,
    row_of_subject,
    set_basis,
    set_key,
    strategies_of,
    strategy_of_page,
    trained_interest,
)
from recommender.reasons import reasons_for
from recommender.reranking import reranked
from recommender.rules import Rule, needs_subject, ruled_out, rules_for
from recommender.search import Facet, FacetField, FacetRequest
from recommender.snapshots import Snapshot, Snapshots, check_position, position_digest
from recommender.steering import Steering
from recommender.versions import LoadedModel, Versions

T = TypeVar("T")
Watched = Callable[[str], AbstractContextManager[object]]  # begins one step of making lists; its end ends it
Answer = RankedPage | TandemError | None

# Work that may take longer than about 2 ms leaves the event loop: a list costs some 0.4 ms by itself, and 40 ns for
# each candidate or 2 µs for each event of a history.
INLINE_LISTS: Final = 3
INLINE_PAGES: Final = 12
INLINE_CANDIDATES: Final = 40_000
INLINE_EVENTS: Final = 500
SHARED_TURNS: Final = 2  # how often a list waits for another request's computation before it does its own


class Recommender:
    """Ranked lists of jobs and talents, and why. `clock_ms` is now in epoch milliseconds, `new_id` names a request.

    documents: kept as objects beside a cache that is on a server. watched: told of each step (match, fold-in, score)
    while it is done. is_remote: whether catalogue or events are on servers.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        events: EventLog,
        serving_log: ServingLog,
        models: ModelStore,
        clock_ms: Callable[[], int],
        new_id: Callable[[], str],
        cache: Cache | None = None,
        documents: KeptDocuments | None = None,
        vectors: VectorIndex | None = None,
        nominated_from: int = 1,
        steering: Steering | None = None,
        mutual_weight: float = MUTUAL_WEIGHT,
        watched: Watched = lambda step: nullcontext(),
        is_remote: bool = True,
    ) -> None:
        self._catalogue = catalogue
        self._events = events
        self._serving_log = serving_log
        self._versions = Versions(models, clock_ms)
        self._snapshots = Snapshots()
        self._caching = None if cache is None else Caching(cache, clock_ms, documents)
        self._kept_pages = KeptPages()
        self._kept_interests = KeptInterests()
        self._followed: dict[Kind, Mirror] = {}
        self._vectors, self._nominated_from, self._vectors_alone_until_ms = vectors, nominated_from, 0
        self._clock_ms = clock_ms
        self._new_id = new_id
        self._steering = Steering() if steering is None else steering
        self._mutual_weight = mutual_weight
        self._watched = watched
        self._is_remote = is_remote

    @property
    def model(self) -> Model:
        """The serving model. Raises NoModelError when there is none yet."""
        return self._versions.serving.model

    @property
    def cache_counts(self) -> Mapping[tuple[str, str], int]:
        """What came of asking the cache since the process began; see Caching."""
        return {} if self._caching is None else self._caching.counts

    @property
    def serving(self) -> LoadedModel:
        """The serving model and what is derived from it. Raises NoModelError when there is none yet."""
        return self._versions.serving

    def refresh_model(self) -> bool:
        """Follow the store's pointer; whether the model changed. Blocks; lists in flight keep their model.

        Raises ModelRefusedError for a newer model that must not serve (at most once a minute); the old one goes on.
        """
        return self._versions.refresh()

    @property
    def steering(self) -> Steering:
        """What is set for all lists."""
        return self._steering

    def steer(self, rules: Sequence[Rule]) -> None:
        """Go on with other rules. What they exclude leaves every list at once; a list that is paged keeps its order."""
        self._steering = replace(self._steering, rules=tuple(rules))

    def show(self, page: RankedPage, documents: Sequence[Document | None]) -> None:
        """Take note of the documents of a page's items, read since it was made: see RankedPage.shown."""
        self._kept_pages.show(page, documents)

    def forget_pages(self) -> None:
        """Keep nothing of what was served: a document of it is gone, so that no such page would be served again."""
        self._kept_pages, self._kept_interests = KeptPages(), KeptInterests()

    async def lists(self, queries: Sequence[ListQuery], *, recorded: bool = True) -> list[Answer]:
        """A page per query, None for an unknown subject. Failures are returned, each in the place of its query.

        One call of each port answers them all (two of those that are asked per kind). Equal queries are one list.
        recorded: whether they are written to the serving log: not what nobody is shown.
        """
        distinct = list(dict.fromkeys(queries))
        try:
            answers = await self._pages(distinct, recorded)
        except TandemError as error:  # of what all of them need
            answers = [error] * len(distinct)
        by_query = dict(zip(distinct, answers, strict=True))
        return [by_query[query] for query in queries]

    async def _pages(self, queries: Sequence[ListQuery], recorded: bool) -> list[Answer]:
        answers: dict[int, Answer] = {}
        served: list[ServedList] = []
        drafts = self._recalled(await self._drafts(queries, answers), answers, served)
        if drafts:
            await self._make(drafts, answers, served)
        if served and recorded:
            await self._serving_log.append(served)
        return [answers[place] for place in range(len(queries))]

    def _recalled(
        self, drafts: Sequence[Draft], answers: dict[int, Answer], served: list[ServedList]
    ) -> Sequence[Draft]:
        """Answer the lists whose page is at hand; the lists that are left."""
        if self._caching is None or degraded():
            return drafts
        left = []
        for draft in drafts:
            kept = self._kept_pages.get(draft, self._new_id)
            if kept is None:
                left.append(draft)
                continue
            page, row = kept
            self._caching.counts["lists", "hit"] += 1
            first = page.items[0].position
            self._snapshots.put(first.pins, first.digest, page.context.snapshot)
            answers[draft.place] = page
            served.append(row if draft.is_somebodys else replace(row, subject=None))
        return left

    async def _make(self, drafts: Sequence[Draft], answers: dict[int, Answer], served: list[ServedList]) -> None:
        """Answer the lists with pages that are made now."""
        revisions = {draft.place: draft.mirror.revision for draft in drafts}
        failed = self.cache_counts.get(("cache", "failed"))
        await self._prepare(drafts)
        await self._rerank(drafts)
        ready = []
        for draft in drafts:
            try:
                check_rebuilt(draft)
                ready.append(draft)
            except CursorExpiredError as error:
                answers[draft.place] = error
        candidates = [candidates_of(draft, draft.history, draft.now_ms) for draft in ready]
        with self._watched("score"):
            cuts = await _apart(
                _is_long(ready, candidates),
                lambda: [cut_page(draft, among) for draft, among in zip(ready, candidates, strict=True)],
            )
        for draft, among, (ordinals, scores) in zip(ready, candidates, cuts, strict=True):
            page = self._page(draft, len(among), ordinals.tolist(), scores.tolist())
            answers[draft.place] = page
            if page.items:
                row = _served_list(draft, page)
                served.append(row)
                if failed == self.cache_counts.get(("cache", "failed")) and not degraded():
                    self._kept_pages.put(draft, page, row, revisions[draft.place])

    async def _drafts(self, queries: Sequence[ListQuery], answers: dict[int, Answer]) -> list[Draft]:
        """The lists that can be made, with their interest or traits; the others get their answer."""
        now_ms, steering, valid = self._clock_ms(), self._steering, {}
        for place, query in enumerate(queries):
            try:
                valid[place] = (query, await self._checked(query))
            except TandemError as error:
                answers[place] = error
        if not valid:
            return []
        asked = [query for query, _ in valid.values()]
        mirrors, histories = await self._all(
            lambda: self._mirrors(valid.values(), steering),
            lambda: self._histories(asked, impressions=steering.fatigue is not None),
        )
        drafts = []
        for place, (query, loaded) in valid.items():
            subject_id = query.subject_id
            # A talent is served unknown too: from events, else by popularity. Everything else must be in the catalogue.
            needs_subject = query.mode is Mode.SIMILAR or query.subject_kind is Kind.JOB
            if subject_id is not None and needs_subject and _is_missing(mirrors[query.subject_kind], subject_id):
                answers[place] = None
                continue
            after = query.after
            found = None if after is None else self._snapshots.get(after.pins, after.digest, now_ms)
            history, impressions = histories.get(SubjectKey(query.subject_kind, subject_id or ""), ((), ()))
            draft = Draft(place, query, loaded, now_ms, history, mirrors[query.item_kind], found)
            draft.is_rebuilt = after is not None and found is None
            draft.steering, draft.impressions = steering, impressions
            mirror = mirrors.get(query.subject_kind)
            draft.is_somebodys = subject_id is not None and (
                bool(history) or (mirror is not None and not _is_missing(mirror, subject_id))
            )
            draft.rules = rules_for(steering.rules, query, mirror, now_ms)
            asked_weight = query.options.mutual_weight
            draft.mutual_weight = self._mutual_weight if asked_weight is None else asked_weight
            if subject_id is not None and _is_known_by_content(query, loaded):
                draft.subject_ordinal = mirrors[query.subject_kind].ordinals_of([subject_id])[0]
            drafts.append(draft)
        if degraded() & {DegradedReason.EVENT_LOG, DegradedReason.DEADLINE}:
            await self._recollect(drafts)
        await self._meet(drafts)
        return drafts

    async def _recollect(self, drafts: Sequence[Draft]) -> None:
        """What the model was learnt from, of the subjects whose history nobody knows now: their interest as it was
        trained, and what kept items out of their lists then."""
        for draft in drafts:
            query = draft.query
            if query.mode is not Mode.RECOMMENDED or query.subject_id is None:
                continue
            subjects = await self._catalogue.mirror(query.subject_kind)
            subject = subjects.ordinals_of([query.subject_id])[0]
            if subject is not None and is_unread(draft, subject):
                draft.trained = trained_interest(draft, subject)
                draft.history = [*hidden_then(draft, subject), *draft.history]

    async def _meet(self, drafts: Sequence[Draft]) -> None:
        """Take in the items that came after the models. A list that is paged goes on with those of its beginning."""
        for draft in drafts:
            kind = draft.query.item_kind
            newcomers = draft.loaded.lists_of(kind).newcomers
            if newcomers.is_behind(draft.mirror):
                async with newcomers.turn:
                    if newcomers.is_behind(draft.mirror):
                        wanted = newcomers.wanted(draft.mirror)
                        documents = await self.documents(kind, wanted)
                        if not degraded():  # else they may lack their text
                            await _apart(bool(wanted), partial(newcomers.take, wanted, documents))
            draft.newcomers = newcomers.rows if draft.snapshot is None else draft.snapshot.newcomers

    async def _prepare(self, drafts: Sequence[Draft], turns: int = SHARED_TURNS) -> None:
        """What each list's order rests on, and what matches: kept, made here, or made by whoever is making it already.

        turns: how often yet to wait for others before a list is made here beside them.
        """
        caching, new = self._caching, [draft for draft in drafts if draft.snapshot is None]
        if caching is None or not turns or not new or any(draft.trained is not None for draft in new):
            if caching is not None and not turns:
                caching.counts["lists", "alone"] += len(new)
            await self._begin(new)
            await self._choose(drafts)
            await self._nominate(drafts)
            return
        for draft in new:
            set_key(draft)
        found = await caching.look_up([draft.key for draft in new])
        making = self._recall(caching, drafts, new, found, turns)
        is_for_others = any(isinstance(answer, Turn) and answer.leads for answer in found)
        await (_to_its_end(making) if is_for_others else making)

    async def _recall(
        self,
        caching: Caching,
        drafts: Sequence[Draft],
        new: Sequence[Draft],
        found: Sequence[CachedList | Turn],
        turns: int,
    ) -> None:
        """Go on with what `look_up` has found for the new ones among the lists."""
        held: list[Turn] = []
        try:
            await self._begin_or_take(caching, new, found, held)
            ready = [draft for draft in drafts if not draft.waits]
            await self._choose(ready)
            await self._nominate(ready)
            await self._keep(caching, [draft for draft in new if draft.leads])
            theirs = [draft for draft in new if draft.waits]
            others = await caching.wait([draft.known_turn for draft in theirs])
            await self._take(theirs, others)
        except BaseException as error:
            caching.abandon(held, error)
            raise
        if theirs:
            await self._prepare(theirs, turns if Unmade.LEFT in others else turns - 1)

    async def _begin_or_take(
        self, caching: Caching, drafts: Sequence[Draft], found: Sequence[CachedList | Turn], held: list[Turn]
    ) -> None:
        """The kept list, or a turn, of each list; those whose turn it is are begun. `held` gets every turn."""
        for draft, answer in zip(drafts, found, strict=True):
            if isinstance(answer, Turn):
                draft.turn = answer
                held.append(answer)
        await self._begin([draft for draft in drafts if draft.leads])
        there = [(draft, kept) for draft, kept in zip(drafts, found, strict=True) if isinstance(kept, CachedList)]
        await self._take([draft for draft, _ in there], [kept for _, kept in there])
        stale = [draft for draft, _ in there if draft.snapshot is None]
        for draft, turn in zip(stale, await caching.take_turns([draft.key for draft in stale]), strict=True):
            draft.turn = turn
            held.append(turn)
        await self._solve([draft for draft in stale if draft.leads])  # they are described already

    async def _take(self, drafts: Sequence[Draft], lists: Sequence[CachedList | Unmade]) -> None:
        """Go on with what was kept where it still holds: without a vector, when what it rests on is as it was."""
        kept = [
            (draft, found)
            for draft, found in zip(drafts, lists, strict=True)
            if isinstance(found, CachedList) and all(map(degrade, found.degraded))
        ]
        await self._describe([draft for draft, found in kept if found.basis])
        for draft, found in kept:
            if not found.basis or found.basis == basis_of(draft, by_interest=len(found.vector) > 0):
                draft.snapshot = snapshot_from(found)
        for draft in drafts:
            draft.turn = None

    async def _keep(self, caching: Caching, drafts: Sequence[Draft]) -> None:
        """Put what was made here into the cache; their snapshots get it as well."""
        is_long = len(drafts) > INLINE_LISTS or sum(len(draft.chosen) for draft in drafts) > INLINE_CANDIDATES
        made: list[CachedList | None] = await _apart(is_long, lambda: all_to_keep(drafts))
        for draft, kept in zip(drafts, made, strict=True):
            draft.snapshot = replace(draft.known_snapshot, kept=kept)
        turns = [draft.known_turn for draft in drafts]
        await caching.publish([(turn, kept) for turn, kept in zip(turns, made, strict=True) if kept is not None])
        await caching.give_up([turn for turn, kept in zip(turns, made, strict=True) if kept is None])

    async def _begin(self, drafts: Sequence[Draft]) -> None:
        """The interest, or else the traits, of each list's subject."""
        strangers = [draft for draft in drafts if _is_stranger(draft)]
        await self._describe(strangers)
        await self._solve(drafts)
        known = [draft for draft in drafts if draft.snapshot is None and not _is_stranger(draft)]
        await self._describe(known)

    async def _checked(self, query: ListQuery) -> LoadedModel:
        """The model to rank a valid query with. Raises BadInputError, NoModelError, CursorExpiredError."""
        check_options(query)
        if query.after is None:
            return self._versions.serving
        check_position(query, query.after)
        version = query.after.pins.model_version
        loaded = self._versions.loaded(version)
        return loaded if loaded is not None else await asyncio.to_thread(self._versions.load, version)

    async def _mirrors(
        self, queries: Collection[tuple[ListQuery, LoadedModel]], steering: Steering
    ) -> dict[Kind, Mirror]:
        kinds = {query.item_kind for query, _ in queries}
        kinds |= {
            query.subject_kind
            for query, loaded in queries
            if query.subject_id
            and (
                query.subject_kind is Kind.JOB
                or needs_subject(steering.rules, query)
                or _is_known_by_content(query, loaded)
            )
        }
        wanted = sorted(kinds, key=lambda kind: kind.value)
        found = await self._all(*(partial(self._catalogue.mirror, kind) for kind in wanted))
        mirrors: dict[Kind, Mirror] = dict(zip(wanted, found, strict=True))
        self._followed |= mirrors
        return mirrors

    async def _all(self, *asked: Callable[[], Awaitable[Any]]) -> list[Any]:
        """Every answer: at the same time where there are round trips to wait for, which takes a task for each."""
        if self._is_remote and len(asked) > 1:
            return await asyncio.gather(*(ask() for ask in asked))
        return [await ask() for ask in asked]

    async def _histories(
        self, queries: Iterable[ListQuery], *, impressions: bool
    ) -> dict[SubjectKey, tuple[list[Event], list[Event]]]:
        """What each subject did and was done to, and the impressions apart from it, where they are asked for."""
        subjects = list(
            dict.fromkeys(
                SubjectKey(query.subject_kind, query.subject_id)
                for query in queries
                if query.mode is Mode.RECOMMENDED and query.subject_id is not None
            )
        )
        if not subjects:
            return {}
        if not impressions:
            return {
                key: (events, []) for key, events in zip(subjects, await self._events.history(subjects), strict=True)
            }
        found = await self._events.history(subjects, impressions=MOST_COUNTED)
        return {
            key: (
                [event for event in events if event.type is not EventType.IMPRESSION],
                [event for event in events if event.type is EventType.IMPRESSION],
            )
            for key, events in zip(subjects, found, strict=True)
        }

    async def _solve(self, drafts: Sequence[Draft]) -> None:
        """Snapshots of the lists whose subject has a vector."""
        groups: dict[tuple[Kind, LoadedModel, float], list[Draft]] = defaultdict(list)
        for draft in drafts:
            groups[draft.query.item_kind, draft.loaded, draft.mutual_weight].append(draft)
        for (kind, loaded, mutual_weight), group in groups.items():
            wanted = [rests_on(draft) for draft in group]
            found = [self._kept_interests.get(one) for one in wanted]
            places = [place for place, interest in enumerate(found) if interest is None]
            lacking = [wanted[place] for place in places]

            def solve(
                kind: Kind = kind,
                loaded: LoadedModel = loaded,
                group: Sequence[Draft] = [group[place] for place in places],
                lacking: Sequence[RestsOn] = lacking,
                mutual_weight: float = mutual_weight,
            ) -> list[Interest]:
                return interests_from_histories(
                    [one.history for one in lacking],
                    kind,
                    loaded.model,
                    group[0].mirror.ordinals_of,
                    lent_to_subjects(group),
                    mutual_weight=mutual_weight,
                    subjects=[one.ordinal for one in lacking],
                )

            if lacking:
                is_long = len(lacking) > INLINE_LISTS or sum(len(one.history) for one in lacking) > INLINE_EVENTS
                with self._watched("fold-in"):
                    solved = await _apart(is_long, solve)
                for place, one, folded in zip(places, lacking, solved, strict=True):
                    found[place] = folded
                    self._kept_interests.put(one, folded)
            for draft, interest in zip(group, found, strict=True):
                if interest is None:
                    raise RuntimeError("every interest is solved by now")
                self._take_interest(draft, interest)

    def _take_interest(self, draft: Draft, folded: Interest) -> None:
        """Go on with the interest of a list, where that prefers anything."""
        interest = own_row(draft) if draft.query.mode is Mode.SIMILAR else draft.trained or folded
        if not interest.is_silent:
            acted = interest.is_by_events or draft.query.mode is Mode.SIMILAR or draft.trained is not None
            draft.snapshot = Snapshot(Strategy.COLLABORATIVE if acted else Strategy.CONTENT, interest)

    async def _describe(self, drafts: Sequence[Draft]) -> None:
        """Traits of the subjects without a vector: of their documents, of a profile itself."""
        subjects = {
            SubjectKey(draft.query.subject_kind, draft.query.subject_id)
            for draft in drafts
            if draft.query.subject_id is not None
        }
        documents = await self._documents({}, subjects)
        for draft in drafts:
            query = draft.query
            known = (
                query.profile if query.subject_id is None else documents.by_key(query.subject_kind, query.subject_id)
            )
            draft.traits = traits_from(known)
            if known is not None and _is_stranger(draft):
                draft.said = features_of(as_document(known))
            set_basis(draft)

    async def _documents(
        self, ordinals: Mapping[Kind, Iterable[int]], subjects: Iterable[SubjectKey]
    ) -> FetchedDocuments:
        """Documents by ordinal and by id, in one call per kind that has any."""
        asked = []
        for kind in Kind:
            ids = sorted({subject.id for subject in subjects if subject.kind is kind})
            of_kind = sorted(set(ordinals.get(kind, ())))
            if ids or of_kind:
                asked.append(self.documents(kind, of_kind, ids))
        found = await asyncio.gather(*asked)
        return FetchedDocuments(document for some in found for document in some if document is not None)

    async def documents(self, kind: Kind, ordinals: Sequence[int], ids: Sequence[str] = ()) -> list[Document | None]:
        """Documents by ordinals, then by ids.

        Those of ordinals are at least as new as the answer of this process that named them, those of ids as of now.
        """
        mirror = self._followed.get(kind)
        if self._caching is None or mirror is None or not ordinals:
            return await self._catalogue.get_many(kind, ordinals, ids)
        return await self._caching.documents(self._catalogue, mirror, ordinals, ids)

    async def _choose(self, drafts: Sequence[Draft]) -> None:
        """What matches each list's filter and text, and the postings of the traits of those that begin."""
        for kind in Kind:
            group = [draft for draft in drafts if draft.query.item_kind is kind]
            if not group:
                continue
            traits = dict.fromkeys(trait for draft in group for trait in draft.traits)
            asked = [(draft.query.filter, draft.query.text) for draft in group]
            requests = list(dict.fromkeys([*asked, *(trait.request(kind) for trait in traits)]))
            with self._watched("match"):
                found = await self._catalogue.matching(kind, requests, group[0].now_ms, is_current=True)
            chosen = dict(zip(requests, found, strict=True))
            postings = {trait: chosen[trait.request(kind)] for trait in traits}
            for draft in group:
                draft.chosen, draft.postings = chosen[draft.query.filter, draft.query.text], postings
            await self._share([draft for draft in group if draft.snapshot is None])

    async def _share(self, drafts: Sequence[Draft]) -> None:
        """Snapshots of the lists without a vector."""
        is_long = is_much_shared(drafts, INLINE_CANDIDATES)
        made = await _apart(is_long, lambda: [content_snapshot(draft) for draft in drafts])
        for draft, snapshot in zip(drafts, made, strict=True):
            draft.snapshot = snapshot

    async def _nominate(self, drafts: Sequence[Draft]) -> None:
        """Nominees of the vector index for the lists that would take a long search. One that gets none is searched.

        An index that failed is left alone for a while: waiting for it comes on top of the search.
        """
        if self._vectors is None or self._clock_ms() < self._vectors_alone_until_ms:
            return
        groups: dict[tuple[Kind, str, int], list[tuple[Draft, NomineeRequest]]] = defaultdict(list)
        for draft in drafts:
            request = nominee_request(draft, self._nominated_from)
            if request is not None:
                as_of_ms = draft.pins.as_of_ms if draft.is_rebuilt else draft.now_ms
                groups[draft.query.item_kind, draft.pins.model_version, as_of_ms].append((draft, request))
        try:
            for (kind, version, as_of_ms), group in groups.items():
                found = await self._vectors.nominate(kind, version, [request for _, request in group], as_of_ms)
                for (draft, _), nominees in zip(group, found, strict=True):
                    draft.nominees = nominees
        except UnavailableError:
            self._vectors_alone_until_ms = self._clock_ms() + LEFT_ALONE_MS

    async def _rerank(self, drafts: Sequence[Draft]) -> None:
        """The re-ranked top of the lists that want one and do not have it yet."""
        lacking = [draft for draft in drafts if draft.known_snapshot.prefix is None and draft.is_reranked]
        if not lacking:
            return
        prefixes = await _apart(True, lambda: [reranked(draft) for draft in lacking])
        for draft, prefix in zip(lacking, prefixes, strict=True):
            draft.snapshot = replace(draft.known_snapshot, prefix=prefix)

    def _page(self, draft: Draft, total: int, ordinals: Sequence[int], scores: Sequence[float]) -> RankedPage:
        query, pins = draft.query, draft.pins
        snapshot = replace(draft.known_snapshot, newcomers=draft.newcomers)
        digest = position_digest(query, snapshot)
        self._snapshots.put(pins, digest, snapshot)
        prefix_recall = None if snapshot.prefix is None else snapshot.prefix.recall
        recall = min((one for one in (draft.recall, prefix_recall) if one is not None), default=None)
        has_next, ordinals = len(ordinals) > query.first, ordinals[: query.first]
        shown = np.array(ordinals, dtype=np.uint32)
        strategies = strategies_of(draft, shown)
        rows = zip(ordinals, draft.mirror.ids_of(shown), scores, strategies, strict=False)
        before = 0 if query.after is None else query.after.rank
        items = [
            RankedItem(ordinal, name, rank, value, strategy, Position(pins, value, name, rank, digest))
            for rank, (ordinal, name, value, strategy) in enumerate(rows, before + 1)
        ]
        return RankedPage(
            items=items,
            total=total,
            has_next=has_next,
            has_previous=query.after is not None,
            strategy=strategy_of_page(snapshot.strategy, strategies),
            exactness=Exactness.EXACT if recall is None else Exactness.APPROXIMATE,
            recall=recall,
            model=draft.loaded.model.manifest,
            request_id=self._new_id(),
            context=ListContext(query, draft.loaded, draft.mirror, snapshot, draft.history, draft.now_ms, draft.rules),
        )

    async def reasons(self, requests: Sequence[tuple[RankedPage, RankedItem]]) -> list[list[Reason]]:
        """Why each item is in its page, most telling first. One call per kind of document for all of them."""
        namings = told(requests)
        ordinals: dict[Kind, set[int]] = defaultdict(set)
        subjects: set[SubjectKey] = set()
        for (page, item), naming in zip(requests, namings, strict=True):
            query = page.context.query
            ordinals[query.item_kind].update((item.ordinal, *(ordinal for ordinal, _ in naming)))
            if query.subject_id is not None:
                subjects.add(SubjectKey(query.subject_kind, query.subject_id))
        documents = await self._documents(ordinals, subjects)
        answers: list[list[Reason]] = []
        for (page, item), naming in zip(requests, namings, strict=True):
            context: ListContext = page.context
            subject = documents.subject_of(context.query)
            document = documents.at(context.query.item_kind, item.ordinal)
            if document is None:  # gone since the list was made
                answers.append([])
                continue
            best = next(acted_on(naming, context.query, subject, documents), None)
            popular = is_popular(context, item.ordinal)
            (likely,) = is_likely(context, np.array([item.ordinal], dtype=np.uint32))
            answers.append(
                reasons_for(subject, document, best, is_popular=popular, is_likely=likely, now_ms=context.as_of_ms)
            )
        return answers

    async def facets(
        self, requests: Sequence[tuple[RankedPage, tuple[FacetField, ...], tuple[str, ...], int]]
    ) -> list[list[Facet]]:
        """Counts over everything each list could show: what matches, is eligible and is not excluded.

        A request is a page, facet fields, names of attributes, and how many values of each.
        """
        answers: list[list[Facet]] = [[] for _ in requests]
        now_ms = self._clock_ms()
        for kind in Kind:
            places = [place for place, request in enumerate(requests) if request[0].context.query.item_kind is kind]
            if not places:
                continue
            asked = []
            for page, fields, attributes, size in (requests[place] for place in places):
                context: ListContext = page.context
                hidden = tuple(sorted(hidden_ids(context.query, context.history)))
                narrowed = replace(context.query.filter, exclude_ids=(*context.query.filter.exclude_ids, *hidden))
                out = FrozenBitMap(ruled_out(context.rules, context.mirror, now_ms))
                asked.append(
                    FacetRequest(
                        narrowed, context.query.text, fields, attributes, size, eligible_only=True, without=out
                    )
                )
            for place, facets in zip(places, await self._catalogue.facets(kind, asked, now_ms), strict=True):
                answers[place] = facets
        return answers

    async def interactions(
        self, requests: Sequence[tuple[RankedPage, RankedItem]], known: Callable[[Event], bool] | None = None
    ) -> list[list[EventType]]:
        """Types of the events in force between the page's subject and each item, oldest first, without IMPRESSION.

        known: of which events; None for all.
        """
        answers = []
        for page, item in requests:
            context: ListContext = page.context
            kind = context.query.item_kind
            pair = [event for event in context.history if event.id_of(kind) == item.id]
            answers.append(types_in_force(pair if known is None else filter(known, pair)))
        return answers

    async def explain(
        self,
        talent_id: str,
        job_id: str,
        side: Side,
        job_filter: JobFilter,
        talent_filter: TalentFilter,
        options: Options | None = None,
        known: Callable[[Event], bool] | None = None,
    ) -> Explanation:
        """Why a pair is, or is not, in the list of one side: the talent's list of jobs, the job's list of talents.

        The list is that of the side's own filter and the options, without text. known: see explain_pair.
        Raises NoModelError, UnavailableError.
        """
        is_talents = side is Side.TALENT
        query = ListQuery(
            mode=Mode.RECOMMENDED,
            subject_kind=Kind.TALENT if is_talents else Kind.JOB,
            subject_id=talent_id if is_talents else job_id,
            filter=job_filter if is_talents else talent_filter,
            options=Options() if options is None else options,
        )
        answers: dict[int, Answer] = {}
        drafts = await self._drafts([query], answers)
        pair = {SubjectKey(Kind.TALENT, talent_id), SubjectKey(Kind.JOB, job_id)}
        failure = answers.get(0)
        if isinstance(failure, TandemError):
            raise failure
        await self._begin(drafts)
        documents = await self._documents({}, pair)
        talent, job = documents.by_key(Kind.TALENT, talent_id), documents.by_key(Kind.JOB, job_id)
        if not drafts or job is None or (talent is None and (not is_talents or not drafts[0].history)):
            return unknown_pair(talent_id if talent is None else None, job_id if job is None else None)
        draft, (item, subject) = drafts[0], (job, talent) if is_talents else (talent, job)
        if item is None:
            raise RuntimeError("the item of an explained pair is known by now")
        draft.explained = item.ordinal
        await self._choose(drafts)
        grounds = grounds_of(draft.known_snapshot, draft.loaded, query.item_kind)
        named = {query.item_kind: [ordinal for ground in grounds for ordinal in ground.acted.tolist()]}
        history = await self._documents(named, ())

        def explained() -> Explanation:
            found = explain_pair(draft, subject, item, lambda ordinal: history.at(query.item_kind, ordinal), known)
            interest, kind = draft.known_snapshot.interest, query.item_kind
            own, mutual = probabilities(interest, draft.loaded, kind, draft.newcomers, item.ordinal)
            return replace(found, probability=own, mutual_probability=mutual)

        return await _apart(True, explained)


async def _apart(is_long: bool, work: Callable[[], T]) -> T:
    """The work's result; long work leaves the event loop to others (NumPy lets go of the interpreter)."""
    return await asyncio.to_thread(work) if is_long else work()


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await work that goes on if who awaits it is cancelled: others wait for what it makes."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


def _is_long(drafts: Sequence[Draft], candidates: Sequence[Sized]) -> bool:
    """Whether cutting these pages takes longer than the event loop may be kept; a page of a kept list takes 0.1 ms."""
    searched = [len(among) for draft, among in zip(drafts, candidates, strict=True) if draft.is_searched]
    return len(searched) > INLINE_LISTS or len(drafts) > INLINE_PAGES or sum(searched) > INLINE_CANDIDATES


def _is_lent(query: ListQuery, loaded: LoadedModel) -> bool:
    """Whether what the subject of a list says of itself counts in it."""
    return query.mode is Mode.RECOMMENDED and loaded.model.lends_to(query.subject_kind)


def _is_known_by_content(query: ListQuery, loaded: LoadedModel) -> bool:
    """Whether the row of the subject itself counts in a list, besides its history."""
    return _is_lent(query, loaded) or (query.mode is Mode.RECOMMENDED and loaded.model.clients is not None)


def _is_stranger(draft: Draft) -> bool:
    """Whether the subject's own words are needed: they would count, and the model does not know them."""
    if not _is_lent(draft.query, draft.loaded):
        return False
    return not row_of_subject(draft) >= 0


def _is_missing(mirror: Mirror, document_id: str) -> bool:
    return mirror.ordinals_of([document_id])[0] is None


def _served_list(draft: Draft, page: RankedPage) -> ServedList:
    query = draft.query
    return ServedList(
        request_id=page.request_id,
        served_at_ms=draft.now_ms,
        subject=SubjectKey(query.subject_kind, query.subject_id) if draft.is_somebodys and query.subject_id else None,
        kind=query.item_kind,
        model_version=page.model.version,
        placement=query.options.placement,
        items=[ServedItem(item.rank, item.ordinal, item.score, item.strategy.value) for item in page.items],
    )
