"""Ports in memory that count their calls, and a small world to recommend in."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from pyroaring import BitMap

from recommender.documents import Changes, Document, Job, Kind, Talent
from recommender.errors import ModelRefusedError
from recommender.events import Event, EventType
from recommender.filters import Filter
from recommender.mirror import Mirror
from recommender.model import Hyperparameters, Manifest, Model, Neighbours, Side
from recommender.ports import Appended, Cache, LogState, ServedList, SubjectKey, VectorIndex
from recommender.recommender import Recommender
from recommender.search import Facet, FacetRequest, SearchPage, SearchRequest
from recommender.steering import Steering
from recommender.text import terms
from tests.factories import NOW_MS


class FakeCatalogue:
    """Documents in dictionaries, a real mirror over them."""

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self.calls: Counter[str] = Counter()
        self._documents: dict[Kind, dict[int, Document]] = {kind: {} for kind in Kind}
        self._mirrors = {kind: Mirror(kind) for kind in Kind}
        self._revisions = count(1)
        self.put(*documents)

    def put(self, *documents: Document) -> None:
        for kind, of_kind in ((Kind.TALENT, Talent), (Kind.JOB, Job)):
            some = [document for document in documents if isinstance(document, of_kind)]
            self._documents[kind].update({document.ordinal: document for document in some})
            self._mirrors[kind].apply(Changes(next(self._revisions), some, ()))

    def change(self, kind: Kind, ordinal: int, **fields: Any) -> None:
        self.put(replace(self._documents[kind][ordinal], **fields))

    def remove(self, kind: Kind, ordinal: int) -> None:
        del self._documents[kind][ordinal]
        self._mirrors[kind].apply(Changes(next(self._revisions), (), (ordinal,)))

    def all(self, kind: Kind) -> list[Document]:
        return list(self._documents[kind].values())

    async def mirror(self, kind: Kind) -> Mirror:
        self.calls[f"mirror {kind.value}"] += 1
        return self._mirrors[kind]

    def _matches(self, kind: Kind, wanted: Filter, text: str | None, as_of_ms: int) -> BitMap:
        found = self._mirrors[kind].matching(wanted, as_of_ms)
        asked = set(terms(text or ""))
        for ordinal in list(found) if asked else ():
            document = self._documents[kind][ordinal]
            parts = (document.title or "", *document.skills, document.description or "")
            if not asked <= {term for part in parts for term in terms(part)}:
                found.remove(ordinal)
        return found

    async def matching(
        self, kind: Kind, requests: Sequence[tuple[Filter, str | None]], as_of_ms: int, *, is_current: bool = False
    ) -> list[BitMap]:
        self.calls[f"matching {kind.value}"] += 1
        return [self._matches(kind, wanted, text, as_of_ms) for wanted, text in requests]

    async def facets(self, kind: Kind, requests: Sequence[FacetRequest], as_of_ms: int) -> list[list[Facet]]:
        self.calls[f"facets {kind.value}"] += 1
        answers = []
        for request in requests:
            within = self._mirrors[kind].eligible(as_of_ms) - request.without if request.eligible_only else None
            answers.append(
                self._mirrors[kind].facets(
                    request.filter, request.fields, request.attributes, request.size, as_of_ms, within=within
                )
            )
        return answers

    async def search(self, kind: Kind, requests: Sequence[SearchRequest], as_of_ms: int) -> list[SearchPage]:
        raise NotImplementedError

    async def get_many(
        self, kind: Kind, ordinals: Sequence[int] = (), ids: Sequence[str] = ()
    ) -> list[Document | None]:
        self.calls[f"get_many {kind.value}"] += 1
        by_id = {document.id: document for document in self._documents[kind].values()}
        return [*(self._documents[kind].get(o) for o in ordinals), *(by_id.get(i) for i in ids)]

    async def changes(self, kind: Kind, since: int, limit: int = 10_000) -> Changes:
        raise NotImplementedError


class FakeEventLog:
    """Events in a list."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.calls: Counter[str] = Counter()
        self.events: list[Event] = []
        self.add(*events)

    def add(self, *events: Event) -> None:
        for event in events:
            self.events.append(replace(event, seq=len(self.events) + 1))

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        self.add(*events)
        return [Appended.ACCEPTED] * len(events)

    async def history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool | int = False
    ) -> list[list[Event]]:
        self.calls["history"] += 1
        found = []
        for subject in subjects:
            own = [e for e in self.events if e.id_of(subject.kind) == subject.id]
            shown = [e.seq for e in own if e.type is EventType.IMPRESSION]
            kept = set(shown if impressions is True else shown[len(shown) - impressions :] if impressions else ())
            found.append([e for e in own if e.type is not EventType.IMPRESSION or e.seq in kept])
        return found

    async def versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        raise NotImplementedError

    def scan(self, after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        raise NotImplementedError

    async def state(self) -> LogState:
        times = [event.occurred_at_ms for event in self.events if event.occurred_at_ms is not None]
        return LogState(len(self.events), max(times, default=None))

    async def forget(self, subject: SubjectKey) -> int:
        raise NotImplementedError


class FakeServingLog:
    """Served lists in a list."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.served: list[ServedList] = []

    async def append(self, served: Sequence[ServedList]) -> None:
        self.calls["append"] += 1
        self.served.extend(served)

    async def get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        raise NotImplementedError

    def scan(self) -> AsyncIterator[Sequence[ServedList]]:
        raise NotImplementedError


class FakeModelStore:
    """Models in a dictionary; the newest is current. A version in `torn` is refused."""

    def __init__(self, *models: Model) -> None:
        self.calls: Counter[str] = Counter()
        self.models = {model.manifest.version: model for model in models}
        self.pointer = models[-1].manifest.version if models else None
        self.torn: set[str] = set()

    def versions(self) -> list[str]:
        return list(self.models)

    def current(self) -> str | None:
        return self.pointer

    def load(self, version: str) -> Model:
        self.calls["load"] += 1
        if version in self.torn:
            raise ModelRefusedError(f"model {version}: torn")
        return self.models[version]

    def publish(self, model: Model, *, make_current: bool = True) -> None:
        self.models[model.manifest.version] = model
        if make_current:
            self.pointer = model.manifest.version

    def promote(self, version: str, *, pin: bool = False) -> None:
        self.pointer = version


def model(version: str = "m1", talents: int = 40, jobs: int = 120, width: int = 8, seed: int = 1) -> Model:
    """Random factors for t1…, j1…; every third job has the factors of the one before it: exact ties."""
    rng = np.random.default_rng(seed)
    hyper = Hyperparameters(factors=width, regularization=0.5, alpha=4.0, half_life_days=30.0)
    factors = rng.standard_normal((jobs, width)).astype(np.float32)
    factors[2::3] = factors[1::3][: len(factors[2::3])]
    return Model(
        Manifest(version=version, trained_at_ms=NOW_MS, as_of_ms=NOW_MS, watermark=0, events=0, hyperparameters=hyper),
        Side(
            np.arange(1, talents + 1, dtype=np.uint32),
            rng.standard_normal((talents, width)).astype(np.float32),
            rng.random(talents).astype(np.float32),
        ),
        Side(np.arange(1, jobs + 1, dtype=np.uint32), factors, rng.random(jobs).astype(np.float32)),
    )


def neighbours(rows: int, of_each: int = 6, seed: int = 3) -> Neighbours:
    """Random neighbours for every row but each fifth, which has none; a few strengths are equal."""
    rng = np.random.default_rng(seed)
    picked = [
        np.sort(rng.choice(np.delete(np.arange(rows), row), min(of_each, rows - 1), replace=False)) if row % 5 else []
        for row in range(rows)
    ]
    columns = np.concatenate([np.asarray(of_row, np.int32) for of_row in picked])
    strengths = rng.integers(1, 9, len(columns)).astype(np.float32) / np.float32(7)
    return Neighbours(np.cumsum([0, *map(len, picked)]).astype(np.int64), columns, strengths)


def blended(base: Model, weight: float = 0.5, talent_weight: float = 0.5, popularity: float = 0.1) -> Model:
    """The model with neighbours on both sides and a prior of popularity."""
    hyper = replace(
        base.manifest.hyperparameters, neighbours=weight, talent_neighbours=talent_weight, popularity=popularity
    )
    return Model(
        replace(base.manifest, hyperparameters=hyper),
        replace(base.talents, neighbours=neighbours(len(base.talents.ordinals))),
        replace(base.jobs, neighbours=neighbours(len(base.jobs.ordinals))),
    )


class World:
    """A recommender over fakes; `now_ms` moves when a test moves it."""

    def __init__(
        self,
        documents: Iterable[Document] = (),
        events: Iterable[Event] = (),
        *models: Model,
        cache: Cache | None = None,
        steering: Steering | None = None,
    ) -> None:
        self.cache = cache
        self.catalogue = FakeCatalogue(documents)
        self.events = FakeEventLog(events)
        self.serving_log = FakeServingLog()
        self.models = FakeModelStore(*(models or (model(),)))
        self.vectors: VectorIndex | None = None
        self.nominated_from = 1
        self.steering = steering
        self.now_ms = NOW_MS
        self.recommender = self.replica()

    def replica(self) -> Recommender:
        """Another process over the same stores."""
        names = count(1)
        recommender = Recommender(
            catalogue=self.catalogue,
            events=self.events,
            serving_log=self.serving_log,
            models=self.models,
            clock_ms=lambda: self.now_ms,
            new_id=lambda: f"r{next(names)}",
            cache=self.cache,
            vectors=self.vectors,
            nominated_from=self.nominated_from,
            steering=self.steering,
        )
        if self.models.pointer is not None:
            recommender.refresh_model()
        return recommender

    @property
    def calls(self) -> dict[str, int]:
        return dict(self.catalogue.calls + self.events.calls + self.serving_log.calls)

    def forget_calls(self) -> None:
        for port in (self.catalogue, self.events, self.serving_log, self.models):
            port.calls.clear()
