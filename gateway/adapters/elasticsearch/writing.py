"""Writes records by compare-and-set: read what is there, decide, write if it is still there, else decide again."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from gateway.adapters.documents import UPDATED_AT, Stored, content
from gateway.adapters.drafts import Draft, Tombstone, bad_id, checked_ids, is_id
from gateway.adapters.elasticsearch import bodies
from gateway.adapters.elasticsearch.cluster import TOO_MANY_REQUESTS, Cluster, failure_of
from gateway.adapters.elasticsearch.connection import LONGEST_WAIT_S, PART, IndexMovedError
from gateway.adapters.elasticsearch.layout import Layout
from gateway.adapters.elasticsearch.lease import Lease, Vigil
from gateway.adapters.elasticsearch.records import Record
from recommender.documents import Kind, Patch, PatchOutcome, Refused
from recommender.errors import RefusedDocumentsError, UnavailableError

BATCH = 1_000  # documents that are read, and written, in one round trip
TRIES = 60  # of one batch: with waits of up to half a second, a rebuild's last pass has long ended


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of one record: `record` is written unless it is None."""

    record: Record | None
    is_change: bool = True  # that readers can see


Decide = Callable[[str, Record | None], Decision]  # of an id and what is there


@dataclass(slots=True)
class Written:
    """What became of some ids so far. ordinals: by id. last_seq: by index. refused: by id, what the engine says."""

    ordinals: dict[str, int] = field(default_factory=dict)
    last_seq: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class Writer:
    """Changes the records of every kind. Several may be at work, in this and in other processes."""

    def __init__(self, cluster: Cluster, layout: Layout) -> None:
        self._cluster, self._layout = cluster, layout
        # Writers of one process would only lose to each other.
        self._turn = {kind: asyncio.Lock() for kind in Kind}

    async def upsert(self, kind: Kind, patches: Sequence[Patch]) -> list[PatchOutcome | Refused]:
        """See CatalogueWriter.upsert. What the engine does not take of one id is refused as a whole."""
        places: dict[str, list[int]] = {}
        outcomes: list[PatchOutcome | Refused] = [PatchOutcome.UNCHANGED] * len(patches)
        for place, patch in enumerate(patches):
            if is_id(patch.id):
                places.setdefault(patch.id, []).append(place)
            else:
                outcomes[place] = Refused(bad_id(patch.id))

        def decide(document_id: str, found: Record | None) -> Decision:
            own = [patches[place] for place in places[document_id]]
            decision, results = apply(kind, self._layout.mark(kind, document_id), document_id, found, own)
            for place, outcome in zip(places[document_id], results, strict=True):
                outcomes[place] = outcome
            return decision

        written = await self._write(kind, list(places), decide)
        for document_id, reason in written.refused.items():
            for place in places[document_id]:
                outcomes[place] = Refused(reason)
        return outcomes

    async def ensure(self, kind: Kind, ids: Sequence[str]) -> list[int]:
        """See CatalogueWriter.ensure."""

        def decide(document_id: str, found: Record | None) -> Decision:
            if found is not None:
                return Decision(None)
            return Decision(Record(self._layout.mark(kind, document_id), 0, document_id, {}, None))

        written = await self._write(kind, checked_ids(ids), decide)
        if written.refused:
            raise RefusedDocumentsError(len(written.refused), written.refused)
        return [written.ordinals[one] for one in ids]

    async def delete(self, kind: Kind, document_id: str, *, erase: bool, at_ms: int | None) -> str | None:
        """See CatalogueWriter.delete."""
        removed = False

        def decide(_: str, found: Record | None) -> Decision:
            nonlocal removed
            removed = False
            if found is None:
                return Decision(None)
            if found.stored is not None:
                times = [at for at in (found.stored.get(UPDATED_AT), at_ms) if at is not None]
                tombstone = Tombstone(found.ordinal, max(times, default=None), erase)
                removed = True
                return Decision(replace(found, id=None, stored=None, tombstone=tombstone))
            assert found.tombstone is not None  # noqa: S101
            if not erase:
                return Decision(None)
            removed = True
            if found.tombstone.is_erased:
                return Decision(None)
            return Decision(replace(found, tombstone=replace(found.tombstone, is_erased=True)), is_change=False)

        written = await self._write(kind, [document_id], decide)
        if written.refused:
            raise RefusedDocumentsError(len(written.refused), written.refused)
        return self._layout.mark(kind, document_id)[:32] if removed else None

    async def erased(self, kind: Kind, ids: Sequence[str]) -> list[int | None]:
        """See CatalogueWriter.erased."""
        index = await self._layout.index(kind)
        marks = [self._layout.mark(kind, one) for one in ids]
        found: dict[str, Record] = {}
        for start in range(0, len(marks), BATCH):
            found |= await self._cluster.records(index, marks[start : start + BATCH])
        tombstones = [found[mark].tombstone if mark in found else None for mark in marks]
        return [left.ordinal if left is not None and left.is_erased else None for left in tombstones]

    async def _write(self, kind: Kind, ids: Sequence[str], decide: Decide) -> Written:
        """Decide about every id until its record is written. Visible to every search on return."""
        written = Written()
        async with self._turn[kind]:
            remaining = iter(ids)
            while batch := list(islice(remaining, BATCH)):
                await self._write_batch(kind, batch, decide, written)
        for index, seq_no in written.last_seq.items():
            await self._publish(index, seq_no)
        return written

    async def _write_batch(self, kind: Kind, ids: Sequence[str], decide: Decide, written: Written) -> None:
        open_ids, given = list(ids), dict[str, int]()
        lease = Lease(self._cluster, self._layout, kind)
        vigil = Vigil(lease)
        for attempt in range(TRIES):
            if attempt:
                wait_s = min(LONGEST_WAIT_S, 0.002 * 2**attempt) * (0.5 + secrets.randbelow(100) / 100)
                await asyncio.sleep(wait_s)
                if wait_s > LONGEST_WAIT_S / 4:  # a rebuild holds writers up for less, if it lives
                    await vigil.look(wait_s)
                    if vigil.is_silent:
                        await lease.heal(vigil.entry)
            try:
                index = await self._layout.index(kind)
                open_ids = await self._write_once(kind, index, open_ids, decide, written, given)
            except IndexMovedError:
                self._layout.forget(kind)
            if not open_ids:
                break
        self._layout.give_back(kind, sorted(given.values()))
        if open_ids:
            raise UnavailableError(PART, "its index takes no writes; is it blocked, or a long `tandem index` at work?")

    async def _write_once(
        self,
        kind: Kind,
        index: str,
        ids: Sequence[str],
        decide: Decide,
        written: Written,
        given: dict[str, int],
    ) -> list[str]:
        """One try; the ids that another writer was faster with. given: ordinals of new documents not yet written."""
        marks = {one: self._layout.mark(kind, one) for one in ids}
        found = await self._cluster.records(index, list(marks.values()))
        decisions = {one: decide(one, found.get(marks[one])) for one in ids}
        new = [one for one, decision in decisions.items() if decision.record and not decision.record.ordinal]
        lacking = [one for one in new if one not in given]
        given.update(zip(lacking, await self._layout.ordinals(kind, len(lacking)), strict=True))
        lines: list[dict[str, Any]] = []
        asked: list[tuple[str, int]] = []
        for one, decision in decisions.items():
            before = found.get(marks[one])
            if decision.record is None:
                written.ordinals[one] = before.ordinal if before is not None else 0
                continue
            record = decision.record if decision.record.ordinal else replace(decision.record, ordinal=given[one])
            revision = None if decision.is_change or before is None else before.revision
            lines += bodies.written(index, kind, record, revision=revision)
            asked.append((one, record.ordinal))
        again: list[str] = []
        for (one, ordinal), item in zip(asked, await self._cluster.bulk(lines) if lines else [], strict=True):
            if "error" not in item:
                written.last_seq[index] = max(written.last_seq.get(index, -1), item["_seq_no"])
                written.ordinals[one] = ordinal
                if given.get(one) == ordinal:  # else another writer has created it, and the number is not used
                    del given[one]
            elif item["error"]["type"] == "version_conflict_engine_exception":
                again.append(one)
            elif _may_pass(item):
                again.append(one)
                if isinstance(failure_of(item["error"]["type"], item["status"]), IndexMovedError):
                    self._layout.forget(kind)
            elif item["status"] in (400, 413):
                written.refused[one] = item["error"]["reason"]
            else:
                raise failure_of(item["error"]["type"], item["status"])
        return again

    async def _publish(self, index: str, seq_no: int) -> None:
        """Wait until nothing before this write is under way, and make it visible.

        Both before it is acknowledged: so a reader's revision always reaches what is acknowledged, and an answer kept
        under a revision never lacks what another reader knows by the same.
        """
        try:
            wait_s = 0.001
            while await self._cluster.checkpoint(index) < seq_no:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 0.05)
            await self._cluster.refresh(index)
        except IndexMovedError:
            pass  # a rebuild has copied the write, and made its index visible before it took the place of this one


def _may_pass(item: dict[str, Any]) -> bool:
    """Whether a write was turned away for now, because the index is being replaced."""
    kind = item["error"]["type"]
    if kind == "cluster_block_exception":
        return bool(item["status"] != TOO_MANY_REQUESTS)  # 429 with a block is a full disk, which does not pass
    return bool(kind == "index_not_found_exception")


def apply(
    kind: Kind, mark: str, document_id: str, found: Record | None, patches: Sequence[Patch]
) -> tuple[Decision, list[PatchOutcome | Refused]]:
    """Patches of one id applied in order to what is there."""
    before: Stored | None = None if found is None else found.stored
    tombstone = None if found is None else found.tombstone
    draft = Draft(None if found is None else found.ordinal, before, before)
    outcomes: list[PatchOutcome | Refused] = []
    for patch in patches:
        if draft.after is None and tombstone is not None and not tombstone.yields_to(patch):
            outcomes.append(PatchOutcome.DELETED)
            continue
        outcomes.append(draft.apply(kind, patch))
    after = draft.after
    if after is None or after == before:
        return Decision(None), outcomes
    base = found if found is not None else Record(mark, 0, document_id, None, None)
    is_change = before is None or content(before) != content(after)
    return Decision(replace(base, id=document_id, stored=after, tombstone=None), is_change), outcomes
