"""A catalogue and an event log in memory, as far as an import needs them. They keep what was written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from recommender.documents import Changes, Document, Job, Kind, Patch, PatchOutcome, Refused, Talent
from recommender.events import Event
from recommender.mirror import Mirror
from recommender.ports import Appended, LogState, SubjectKey


@dataclass
class FakeCatalogue:
    """Documents in two dicts. `buried` are the ids that have a tombstone, `refused` those that are never taken."""

    documents: dict[Kind, dict[str, Document]] = field(default_factory=lambda: {Kind.TALENT: {}, Kind.JOB: {}})
    buried: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    calls: list[tuple[str, int]] = field(default_factory=list)

    def talent(self, talent_id: str) -> Talent:
        found = self.documents[Kind.TALENT][talent_id]
        assert isinstance(found, Talent)
        return found

    def job(self, job_id: str) -> Job:
        found = self.documents[Kind.JOB][job_id]
        assert isinstance(found, Job)
        return found

    async def upsert(self, kind: Kind, patches: Sequence[Patch]) -> list[PatchOutcome | Refused]:
        self.calls.append(("upsert", len(patches)))
        return [self._upsert(kind, patch) for patch in patches]

    def _upsert(self, kind: Kind, patch: Patch) -> PatchOutcome | Refused:
        documents = self.documents[kind]
        if patch.id in self.refused:
            return Refused("it is not taken")
        if patch.id in self.buried:
            return PatchOutcome.DELETED
        old = documents.get(patch.id)
        if old is None:
            documents[patch.id] = self._patched(self._bare(kind, patch.id), patch)
            return PatchOutcome.CREATED
        if patch.updated_at_ms is not None and patch.updated_at_ms < (old.updated_at_ms or 0):
            return PatchOutcome.STALE
        new = self._patched(old, patch)
        documents[patch.id] = new
        return PatchOutcome.UNCHANGED if new == old else PatchOutcome.UPDATED

    def _bare(self, kind: Kind, document_id: str) -> Document:
        ordinal = 1 + len(self.documents[kind])
        if kind is Kind.TALENT:
            return Talent(ordinal=ordinal, talent_id=document_id)
        return Job(ordinal=ordinal, job_id=document_id)

    def _patched(self, document: Document, patch: Patch) -> Document:
        fields: dict[str, Any] = dict(patch.fields)
        if "attributes" in fields:
            merged = {**document.attributes, **fields["attributes"]}
            fields["attributes"] = {name: value for name, value in merged.items() if value is not None}
        if patch.updated_at_ms is not None:
            fields["updated_at_ms"] = patch.updated_at_ms
        return replace(document, **fields)

    async def ensure(self, kind: Kind, ids: Sequence[str]) -> list[int]:
        self.calls.append(("ensure", len(ids)))
        for document_id in ids:
            if document_id not in self.buried:
                self.documents[kind].setdefault(document_id, self._bare(kind, document_id))
        return [0 for _ in ids]

    async def get_many(
        self, kind: Kind, ordinals: Sequence[int] = (), ids: Sequence[str] = ()
    ) -> list[Document | None]:
        self.calls.append(("get_many", len(ids)))
        return [self.documents[kind].get(document_id) for document_id in ids]

    async def mirror(self, kind: Kind) -> Mirror:
        return Mirror(kind)

    async def changes(self, kind: Kind, since: int, limit: int = 10_000) -> Changes:
        return Changes(since, (), ())

    async def erased(self, kind: Kind, ids: Sequence[str]) -> list[int | None]:
        return [None] * len(ids)

    async def _not_for_imports(self, *_: Any, **__: Any) -> NoReturn:
        raise AssertionError("an import has no business here")

    matching = facets = search = delete = rebuild = _not_for_imports


@dataclass
class FakeEventLog:
    """A list of events. `fails_after` breaks it when it would hold more."""

    kept: dict[str, Event] = field(default_factory=dict)
    batches: list[int] = field(default_factory=list)
    fails_after: int | None = None

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        if self.fails_after is not None and len(self.kept) + len(events) > self.fails_after:
            raise KeyboardInterrupt
        self.batches.append(len(events))
        return [self._append(event) for event in events]

    def _append(self, event: Event) -> Appended:
        old = self.kept.setdefault(event.event_id, event)
        if old is event:
            return Appended.ACCEPTED
        return Appended.DUPLICATE if replace(old, seq=0) == event else Appended.CONFLICT

    async def history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool | int = False
    ) -> list[list[Event]]:
        raise AssertionError("an import has no business here")

    async def versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        raise AssertionError("an import has no business here")

    def scan(self, after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        raise AssertionError("an import has no business here")

    async def state(self) -> LogState:
        raise AssertionError("an import has no business here")

    async def forget(self, subject: SubjectKey) -> int:
        raise AssertionError("an import has no business here")


@dataclass
class FakeStores:
    """Both of them."""

    catalogue: FakeCatalogue = field(default_factory=FakeCatalogue)
    events: FakeEventLog = field(default_factory=FakeEventLog)
