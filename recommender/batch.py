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
from recommender.model import Factors, Model, Ordinals
from recommender.neighbours import neighbour_term
from recommender.newcomers import lent_to
from recommender.ports import Catalogue, EventLog, SubjectKey
from recommender.retrieval import best, ordinals_from_bitmap
from recommender.rules import Rule, RuleKind, in_force, ruled_out
from recommender.scoring import CHUNK_ROWS, Scores, Terms, float32_margin, score
from recommender.versions import LoadedModel, LoadedSide

T = TypeVar("T")
Places = npt.NDArray[np.intp]

SUBJECTS: Final = 512  # of one read of histories: some 10,000 events
BLOCK: Final = 64  # subjects of one product; more would not fit their scores for a tile into the second-level cache
TILE: Final = 4096  # items of one product
SAMPLED: Final = 8192  # items that a threshold is guessed from; the whole of a smaller catalogue
KEPT_POSTINGS: Final = 5_000  # traits whose holders are remembered from one read to the next
ROUNDING: Final = 1e-12  # of a float64 sum of three terms, and to spare


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

    @cached_property
    def factors(self) -> dict[str, Factors]:
        """A row per item for each product; zeros, which score 0 as they should, for an item that has none."""
        found = {}
        for name, side in self.loaded.tables.items():
            rows = side.rows(self.ordinals)
            found[name] = np.zeros((len(rows), side.factors.shape[1]), dtype=np.float32)
            found[name][rows >= 0] = side.factors[rows[rows >= 0]]
        return found

    def vectors_of(self, subjects: Sequence[_Subject]) -> dict[str, npt.NDArray[np.float64]]:
        """A row per subject for each product; zeros where it says nothing."""
        found = {name: np.zeros((len(subjects), rows.shape[1])) for name, rows in self.factors.items()}
        for place, subject in enumerate(subjects):
            for term in self.loaded.dense_of(subject.interest):
                found[term.name][place] = term.vector
        return found

    @cached_property
    def prior(self) -> Scores | None:
        """What popularity adds to each item's score; None when it adds nothing."""
        return score(Terms(self.loaded.side, bias=self.loaded.prior), self.ordinals) if self.loaded.prior else None

    @cached_property
    def nominators(self) -> Factors:
        """Rows whose product with (vector, 1) is the score: the factors, and the prior as one more column."""
        tables = list(self.factors.values())
        if self.prior is not None:
            tables.append(self.prior[:, None].astype(np.float32))
        return tables[0] if len(tables) == 1 else np.hstack(tables)

    @cached_property
    def sample(self) -> Factors:
        """Rows at equal distances, transposed."""
        step = max(1, len(self.ordinals) // SAMPLED)
        return np.ascontiguousarray(self.nominators[::step].T)

    @cached_property
    def margin(self) -> float:
        """See scoring.approximate, for unit vectors. Rounding the prior to float32 costs no more than one more term."""
        rows = self.nominators
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        return float32_margin(rows.shape[1] + 1, float(lengths.max(initial=0.0)))

    @cached_property
    def popular(self) -> tuple[Ordinals, Scores]:
        """All items in the order that everybody gets of whom nothing is known."""
        return best(self.popularity_terms, self.ordinals, len(self.ordinals), self.mirror)

    @property
    def popularity_terms(self) -> Terms:
        return Terms(self.loaded.side, bias=(self.loaded.popularity,))

    def warm(self) -> None:
        """Lay out everything before threads race for it."""
        _ = (self.ids, self.id_keys, self.nominators, self.sample, self.margin, self.popular, self.loaded.side.gram)

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
    """Of subjects with a vector: nominate by float32 products above a threshold, score in float64, order.

    Let t be a threshold and m the margin. When k items are approximated at t or above, the k-th best score is at least
    t − m, and whoever reaches it is approximated at t − 2m or above (see retrieval.shortlist). The threshold is guessed
    from a sample, low enough that k items nearly always reach it, and checked: partitioning every whole row would take
    2 ms a subject at 150,000 items. A guess that was too high, or so low that ties crowd in, is served by `best`.

    Neighbours only add, so they leave this true of the products and the prior: items that they add nothing to are
    nominated as before, and the others are nominated by `_raised`.
    """
    vectors = pool.vectors_of(subjects)
    wide = np.hstack([*vectors.values(), np.ones((len(subjects), 0 if pool.prior is None else 1))])
    lengths = np.sqrt(np.sum(wide * wide, axis=1))
    units = (wide / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    wanted = np.array([pool.k + len(subject.excluded) for subject in subjects])
    thresholds = _guess_thresholds(units @ pool.sample, wanted, len(pool.ordinals))
    owners, places, rough = _nominees(pool.nominators, units, (thresholds - 2 * pool.margin).astype(np.float32))
    bounds = np.searchsorted(owners, np.arange(len(subjects) + 1))
    reached = np.bincount(owners[rough >= thresholds[owners]], minlength=len(subjects))
    # Excluded items may be among those that reach it: `wanted` counts them in.
    is_sure = (reached >= np.minimum(wanted, len(pool.ordinals))) & (np.diff(bounds) <= 20 * wanted + 1000)
    is_sure &= lengths > 0
    chosen = np.flatnonzero(is_sure[owners])
    products = np.empty(len(owners))
    products[chosen] = _products(pool, vectors, owners[chosen], places[chosen])
    lists = []
    for place, (subject, low, high) in enumerate(zip(subjects, bounds[:-1], bounds[1:], strict=True)):
        # Whoever came after the model may score below 0, which no bound here allows for; nor are there many of them.
        if not is_sure[place] or len(pool.loaded.newcomers.rows.ordinals):
            lists.append(_one_by_one(pool, subject))
            continue
        nominated = places[low:high], products[low:high]
        if pool.loaded.has_neighbours:
            lists.append(_raised(pool, subject, *nominated, lengths[place] * thresholds[place]))
        else:
            lists.append(_settled(pool, subject, nominated[0], _summed(pool, *nominated)))
    return lists


def _products(
    pool: _Pool, vectors: Mapping[str, npt.NDArray[np.float64]], owners: npt.NDArray[np.intp], places: Places
) -> Scores:
    """The dense terms of each (subject, item), bit for bit as `scoring.score` sums them."""
    found = np.zeros(len(owners))
    for name, factors in pool.factors.items():
        for start in range(0, len(owners), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            rows = factors[places[chunk]].astype(np.float64)
            rows *= vectors[name][owners[chunk]]
            found[chunk] += rows.sum(axis=1)
    return found


def _summed(pool: _Pool, places: Places, values: Scores) -> Scores:
    """The sums of what comes before the prior, and the prior."""
    return values + (0.0 if pool.prior is None else pool.prior[places])


def _raised(pool: _Pool, subject: _Subject, places: Places, products: Scores, threshold: float) -> SubjectList:
    """Of nominees and of the items that neighbours add to.

    Whoever was not nominated scores below `threshold` without its neighbours, so with them below threshold + added. Of
    these items the largest are scored first: with the nominees they show what the k-th best score is at least, and only
    whoever may still reach that is scored as well.
    """
    term = neighbour_term(subject.interest, pool.loaded.side, pool.loaded.neighbour_weight)
    near = np.searchsorted(pool.ordinals, term.ordinals)
    inside = near < len(pool.ordinals)
    inside[inside] = pool.ordinals[near[inside]] == term.ordinals[inside]
    near, added = near[inside], term.values[inside]
    wanted = pool.k + len(subject.excluded)
    of_nominees = np.zeros(len(places))
    if len(near):
        at = np.minimum(np.searchsorted(near, places), len(near) - 1)
        of_nominees = np.where(near[at] == places, added[at], 0.0)
    scores = _summed(pool, places, products + of_nominees)
    rest = np.flatnonzero(~np.isin(near, places))
    rest = rest[np.argsort(-added[rest], kind="stable")]
    for part in (rest[:wanted], rest[wanted:]):
        if len(scores) >= wanted:
            least = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
            part = part[threshold + added[part] >= least - ROUNDING * abs(least)]
        found = _products(pool, pool.vectors_of([subject]), np.zeros(len(part), dtype=np.intp), near[part])
        places = np.concatenate([places, near[part]])
        scores = np.concatenate([scores, _summed(pool, near[part], found + added[part])])
    return _settled(pool, subject, places, scores)


def _guess_thresholds(
    sampled: npt.NDArray[np.float32], wanted: npt.NDArray[np.intp], population: int
) -> npt.NDArray[np.float64]:
    """A score per subject that at least `wanted` items surely (all sampled) or very likely reach."""
    size = sampled.shape[1]
    expected = wanted * (size / population)
    ranks = np.ceil(expected + (0 if size == population else 1) * (3 * np.sqrt(expected) + 3)).astype(np.intp)
    ranks = np.minimum(np.maximum(ranks, 1), size)
    thresholds = np.empty(len(wanted))
    for rank in np.unique(ranks).tolist():
        of_rank = np.flatnonzero(ranks == rank)
        thresholds[of_rank] = np.partition(sampled[of_rank], size - rank, axis=1)[:, size - rank]
    return thresholds


def _nominees(
    factors: Factors, units: npt.NDArray[np.float32], least: npt.NDArray[np.float32]
) -> tuple[Places, Places, npt.NDArray[np.float32]]:
    """Every (subject, item) approximated at `least` of the subject or above, by subject: owners, places, products."""
    owners, places, rough = [], [], []
    products = np.empty((len(units), TILE), dtype=np.float32)
    for start in range(0, len(factors), TILE):
        tile = factors[start : start + TILE]
        scores = products if len(tile) == TILE else np.empty((len(units), len(tile)), dtype=np.float32)
        np.matmul(units, tile.T, out=scores)
        found = np.flatnonzero(scores >= least[:, None])
        owner, place = np.divmod(found, len(tile))
        owners.append(owner)
        places.append(place + start)
        rough.append(scores.ravel()[found])
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return owner[order], np.concatenate(places)[order], np.concatenate(rough)[order]


def _settled(pool: _Pool, subject: _Subject, places: Places, scores: Scores) -> SubjectList:
    """The nominees in order, without the excluded."""
    if len(subject.excluded):
        kept = ~np.isin(places, subject.excluded)
        places, scores = places[kept], scores[kept]
    order = np.lexsort((pool.id_keys[places], -scores))[: pool.k]
    return SubjectList(subject.id, pool.ids[places[order]].tolist(), scores[order])


def _one_by_one(pool: _Pool, subject: _Subject) -> SubjectList:
    terms = pool.loaded.terms_of(subject.interest, pool.loaded.newcomers.rows)
    ordinals, scores = best(terms, np.delete(pool.ordinals, subject.excluded), pool.k, pool.mirror)
    return SubjectList(subject.id, pool.ids[np.searchsorted(pool.ordinals, ordinals)].tolist(), scores)
