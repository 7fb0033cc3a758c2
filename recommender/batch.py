"""Everyone's top k at once: the served order, by matrix products over all cores."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap
from threadpoolctl import threadpool_limits

from recommender.content import Trait, content_term, traits_from, weigh
from recommender.documents import Document, JobStatus, Kind
from recommender.eligibility import Exclude, excluded_ids
from recommender.events import Event
from recommender.features import features_of
from recommender.filters import Filter, JobFilter, TalentFilter
from recommender.interest import MUTUAL_WEIGHT, Interest, interests_from_histories
from recommender.mirror import Mirror
from recommender.model import Model, Ordinals
from recommender.newcomers import lent_to
from recommender.ports import Catalogue, EventLog, SubjectKey
from recommender.retrieval import best, best_of_each, ordinals_from_bitmap
from recommender.rules import Rule, RuleKind, in_force, ruled_out
from recommender.scoring import Scores, Terms
from recommender.versions import LoadedModel, LoadedSide

T = TypeVar("T")
Places = npt.NDArray[np.intp]

SUBJECTS: Final = 512  # of one read of histories: some 10,000 events
BLOCK: Final = (
    128  # subjects of one pass over the items; more would not fit their scores of a tile into the second-level cache
)
KEPT_POSTINGS: Final = 5_000  # traits whose holders are remembered from one read to the next


@dataclass(frozen=True, slots=True, eq=False)
class SubjectList:
    """One subject's list, best first."""

    subject_id: str
    item_ids: Sequence[str]
    scores: Scores


async def lists_for_everyone(
    *,
    catalogue: Catalogue,
    events: EventLog,
    model: Model,
    subject_kind: Kind,
    k: int,
    exclude: Exclude,
    as_of_ms: int,
    workers: int,
    mutual_weight: float = MUTUAL_WEIGHT,
    rules: Sequence[Rule] = (),
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> AsyncGenerator[list[SubjectList], None]:
    """The top k of every talent (of jobs) or job (of talents) of the catalogue, in order of their ordinals.

    The score, the order and the exclusions are those of `Recommender.lists`, with `as_of_ms` as its now. Nobody is left
    out; a list is shorter than k only when fewer items may be recommended. workers: threads that compute. rules: what
    they exclude is left out, but for those of a placement.
    """
    pool = await _open_pool(catalogue, model, subject_kind, k, exclude, as_of_ms, mutual_weight, rules)
    subjects = pool.subject_ids
    chunks = deque(subjects[start : start + SUBJECTS] for start in range(0, len(subjects), SUBJECTS))
    done, running = 0, deque[asyncio.Task[list[SubjectList]]]()
    # One thread of BLAS for each of ours: its own would fight them.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(workers) as executor:
        reader = _Reader(catalogue, events, pool, executor)
        try:
            while chunks or running:
                while chunks and len(running) <= workers:
                    running.append(asyncio.ensure_future(reader.lists(chunks.popleft())))
                found = await running.popleft()
                done += len(found)
                on_progress(done, len(subjects))
                yield found
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def _open_pool(
    catalogue: Catalogue,
    model: Model,
    subject_kind: Kind,
    k: int,
    exclude: Exclude,
    as_of_ms: int,
    mutual_weight: float,
    rules: Sequence[Rule],
) -> _Pool:
    item_kind = Kind.JOB if subject_kind is Kind.TALENT else Kind.TALENT
    out = [rule for rule in in_force(rules, RuleKind.EXCLUDE, as_of_ms) if rule.item_kind is item_kind]
    for_all = [rule for rule in out if rule.subjects is None and not rule.placements]
    for_some = [rule for rule in out if rule.subjects is not None and not rule.placements]
    mirrors = dict(zip(Kind, await asyncio.gather(*map(catalogue.mirror, Kind)), strict=True))
    anybody = JobFilter(statuses=tuple(JobStatus)) if subject_kind is Kind.JOB else TalentFilter()
    (everybody,) = await catalogue.matching(subject_kind, [(anybody, None)], as_of_ms)
    loaded = LoadedModel(model)
    newcomers = loaded.lists_of(item_kind).newcomers
    while newcomers.is_behind(mirrors[item_kind]):
        wanted = newcomers.wanted(mirrors[item_kind])
        newcomers.take(wanted, await catalogue.get_many(item_kind, wanted))
    return _Pool(
        model=model,
        loaded=loaded.lists_of(item_kind),
        strangers=loaded.side(subject_kind),
        mirror=mirrors[item_kind],
        subject_mirror=mirrors[subject_kind],
        subject_ids=mirrors[subject_kind].ids_of(ordinals_from_bitmap(everybody)),
        subject_kind=subject_kind,
        eligible=mirrors[item_kind].eligible(as_of_ms),
        out=ruled_out(for_all, mirrors[item_kind], as_of_ms),
        ruled=[
            (mirrors[item_kind].matching(rule.items, as_of_ms), _ids_of(mirrors[subject_kind], rule.subjects, as_of_ms))
            for rule in for_some
        ],
        k=k,
        exclude=exclude,
        as_of_ms=as_of_ms,
        mutual_weight=mutual_weight,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Pool:
    """Everything that can be listed, laid out once: item n of the pool is the n-th by ordinal.

    loaded: the items' side. strangers: the subjects', whose rows those without one are compared to. out: items that
    rules keep from everybody. ruled: those that they keep from some subjects, and the ids of these.
    """

    model: Model
    loaded: LoadedSide
    strangers: LoadedSide
    mirror: Mirror
    subject_mirror: Mirror
    subject_ids: Sequence[str]
    subject_kind: Kind
    eligible: BitMap
    out: BitMap
    k: int
    exclude: Exclude
    as_of_ms: int
    mutual_weight: float
    ruled: Sequence[tuple[BitMap, Set[str]]]

    @property
    def item_kind(self) -> Kind:
        return self.mirror.kind

    @cached_property
    def ordinals(self) -> Ordinals:
        return ordinals_from_bitmap(self.eligible - self.out)

    @cached_property
    def ids(self) -> npt.NDArray[np.object_]:
        return np.array(self.mirror.ids_of(self.ordinals), dtype=object)

    @cached_property
    def id_keys(self) -> npt.NDArray[np.uint64]:
        return self.mirror.id_order(self.ordinals)

    def id_order(self, ordinals: Ordinals) -> npt.NDArray[np.uint64]:
        """As of the mirror, without waiting for it."""
        return self.id_keys[np.searchsorted(self.ordinals, ordinals)]

    def ids_of(self, ordinals: Ordinals) -> list[str]:
        """As of the mirror."""
        return self.mirror.ids_of(ordinals)

    @cached_property
    def popular(self) -> tuple[Ordinals, Scores]:
        """All items in the order that everybody gets of whom nothing is known."""
        return best(self.popularity_terms, self.ordinals, len(self.ordinals), self.mirror)

    @property
    def popularity_terms(self) -> Terms:
        return Terms(self.loaded.side, bias=(self.loaded.popularity,))

    def warm(self) -> None:
        """Lay out everything before threads race for it."""
        _ = (self.ids, self.id_keys, self.popular)
        self.loaded.warm()

    def ordinals_of_subjects(self, ids: Sequence[str]) -> Ordinals:
        """0 for a subject that has gone meanwhile; no document has it."""
        return np.array([ordinal or 0 for ordinal in self.subject_mirror.ordinals_of(ids)], dtype=np.uint32)

    def places_out(self, subject_id: str, ids: set[str]) -> Places:
        """Places in the pool of those ids, and of what rules keep from the subject, ascending."""
        found = BitMap(ordinal for ordinal in self.mirror.ordinals_of(list(ids)) if ordinal is not None)
        found.update(*(items for items, subjects in self.ruled if subject_id in subjects))
        ordinals = ordinals_from_bitmap(found)
        places = np.searchsorted(self.ordinals, ordinals)
        inside = places < len(self.ordinals)
        inside[inside] = self.ordinals[places[inside]] == ordinals[inside]
        return places[inside]


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """A subject whose history is read. `excluded`: places in the pool that it must not see, ascending."""

    id: str
    interest: Interest
    excluded: Places


class _Reader:
    """Reads chunks of subjects and hands their arithmetic to threads."""

    def __init__(self, catalogue: Catalogue, events: EventLog, pool: _Pool, executor: Executor) -> None:
        self._catalogue = catalogue
        self._events = events
        self._pool = pool
        self._executor = executor
        self._postings: dict[Trait, BitMap] = {}
        self._warmed: asyncio.Future[None] | None = None

    async def lists(self, ids: Sequence[str]) -> list[SubjectList]:
        """The lists of one chunk, in its order."""
        if not len(self._pool.ordinals):
            return [SubjectList(name, (), np.empty(0)) for name in ids]
        if self._warmed is None:
            self._warmed = asyncio.ensure_future(self._apart(self._pool.warm))
        await self._warmed
        histories = await self._events.history([SubjectKey(self._pool.subject_kind, name) for name in ids])
        said = await self._said(ids)
        subjects = await self._apart(lambda: _subjects(self._pool, ids, histories, said))
        silent = [subject for subject in subjects if subject.interest.is_silent]
        documents = await self._described([subject.id for subject in silent])
        postings = await self._holders({trait for document in documents.values() for trait in traits_from(document)})
        spoken = [subject for subject in subjects if not subject.interest.is_silent]

        def compute() -> dict[str, SubjectList]:
            found = {
                subject.id: _from_content(self._pool, subject, documents.get(subject.id), postings)
                for subject in silent
            }
            for start in range(0, len(spoken), BLOCK):
                found.update(
                    (made.subject_id, made) for made in _from_interests(self._pool, spoken[start : start + BLOCK])
                )
            return found

        found = await self._apart(compute)
        return [found[name] for name in ids]

    async def _apart(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _said(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """What those say of themselves to whom the model would lend something, and has no row of."""
        if not self._pool.model.lends_to(self._pool.subject_kind):
            return {}
        rows = self._pool.strangers.side.rows(self._pool.ordinals_of_subjects(ids))
        strangers = [name for name, row in zip(ids, rows.tolist(), strict=True) if row < 0]
        return {name: features_of(found) for name, found in (await self._described(strangers)).items()}

    async def _described(self, ids: Sequence[str]) -> dict[str, Document]:
        if not ids:
            return {}
        found = await self._catalogue.get_many(self._pool.subject_kind, (), ids)
        return {document.id: document for document in found if document is not None}

    async def _holders(self, traits: set[Trait]) -> dict[Trait, BitMap]:
        if len(self._postings) > KEPT_POSTINGS:
            self._postings.clear()
        known = {trait: self._postings[trait] for trait in traits if trait in self._postings}
        lacking = sorted(traits - known.keys(), key=lambda trait: (trait.field.value, trait.value))
        if lacking:
            kind = self._pool.item_kind
            requests = [trait.request(kind) for trait in lacking]
            found = await self._catalogue.matching(kind, requests, self._pool.as_of_ms)
            known.update(zip(lacking, found, strict=True))
            self._postings.update(known)
        return known


def _ids_of(mirror: Mirror, wanted: Filter | None, as_of_ms: int) -> Set[str]:
    return frozenset() if wanted is None else frozenset(mirror.ids_of(list(mirror.matching(wanted, as_of_ms))))


def _subjects(
    pool: _Pool, ids: Sequence[str], histories: Sequence[Sequence[Event]], said: Mapping[str, Sequence[str]]
) -> list[_Subject]:
    lent = None
    if pool.model.lends_to(pool.subject_kind):
        strangers, ordinals = pool.strangers, pool.ordinals_of_subjects(ids)
        lent = lent_to(strangers.side, strangers.newcomers, ordinals, [said.get(name, ()) for name in ids])
    interests = interests_from_histories(
        histories,
        pool.item_kind,
        pool.model,
        pool.mirror.ordinals_of,
        lent,
        mutual_weight=pool.mutual_weight,
        subjects=pool.subject_mirror.ordinals_of(ids),
    )
    return [
        _Subject(name, interest, pool.places_out(name, excluded_ids(history, pool.item_kind, pool.exclude)))
        for name, interest, history in zip(ids, interests, histories, strict=True)
    ]


def _from_content(
    pool: _Pool, subject: _Subject, document: Document | None, postings: dict[Trait, BitMap]
) -> SubjectList:
    """Of a subject without a vector: what it shares, then what is popular; everybody's when it shares nothing."""
    weighted = weigh(traits_from(document), postings, pool.eligible)
    excluded = pool.ordinals[subject.excluded]
    if weighted:
        terms = Terms(
            pool.loaded.side,
            sparse=(content_term(weighted, postings),),
            bias=(pool.loaded.popularity,),
        )
        candidates = np.delete(pool.ordinals, subject.excluded)
        ordinals, scores = best(terms, candidates, pool.k, pool.mirror)
    else:
        ordinals, scores = pool.popular
        kept = np.flatnonzero(~np.isin(ordinals[: pool.k + len(excluded)], excluded))[: pool.k]
        ordinals, scores = ordinals[kept], scores[kept]
    return SubjectList(subject.id, pool.ids[np.searchsorted(pool.ordinals, ordinals)].tolist(), scores)


def _from_interests(pool: _Pool, subjects: Sequence[_Subject]) -> list[SubjectList]:
    """Of subjects with a vector: the best of everything, so many more as the subject must not see."""
    newcomers = pool.loaded.newcomers.rows
    lists = [
        (pool.loaded.terms_of(subject.interest, newcomers), pool.k + len(subject.excluded)) for subject in subjects
    ]
    found = []
    for subject, (ordinals, scores) in zip(subjects, best_of_each(lists, pool.ordinals, pool), strict=True):
        places = np.searchsorted(pool.ordinals, ordinals)
        if len(subject.excluded):
            kept = ~np.isin(places, subject.excluded)
            places, scores = places[kept], scores[kept]
        found.append(SubjectList(subject.id, pool.ids[places[: pool.k]].tolist(), scores[: pool.k]))
    return found
