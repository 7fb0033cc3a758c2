"""Builds an index anew beside the one in use and puts it in its place, without a pause for readers or a lost write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.adapters.elasticsearch import bodies
from gateway.adapters.elasticsearch.cluster import Cluster, Hit, failure_of
from gateway.adapters.elasticsearch.connection import PART
from gateway.adapters.elasticsearch.layout import Layout
from gateway.adapters.elasticsearch.lease import Lease
from gateway.adapters.elasticsearch.records import record_from_hit
from recommender.documents import Kind
from recommender.errors import RefusedDocumentsError, UnavailableError
from recommender.ports import OnRebuild

PAGE = 1_000
FEW = 200  # when a pass copies no more than this, writers can wait for the next one
PASSES = 20
REASONS_KEPT = 1_000


async def rebuild(cluster: Cluster, layout: Layout, kind: Kind, on_progress: OnRebuild) -> int:
    """Copy every record into a new index and let the alias point to it; how many live documents there are.

    The first pass copies all that there is at one moment, the next ones what was written since the last, until little
    is left. Then the old index takes no more writes (its writers wait and try again), the rest is copied, and in one
    step the alias moves and the old index goes: a reader or writer that still names it fails, and asks for the new one.
    Ends it early, by itself or with the process, all is as before: see Lease.

    Raises RefusedDocumentsError, LeaseLostError, UnavailableError.
    """
    lease = Lease(cluster, layout, kind)
    async with lease.held():
        old = await layout.index(kind)
        new = await layout.create_next(kind)
        copy = _Copy(cluster, kind, old, new, on_progress)
        await copy.everything()
        for _ in range(PASSES):
            if await copy.news() <= FEW:
                break
        await lease.confirm()
        await cluster.block_writes(old, blocked=True)
        await copy.news()
        await cluster.refresh(new)
        total, live = await _count(cluster, new)
        if total != (await _count(cluster, old))[0] or await copy.is_behind():
            raise UnavailableError(PART, f"{new} does not hold as much as {old}; nothing was changed")
        await lease.confirm()
        await layout.switch(kind, old, new)
    return live


class _Copy:
    """Copies the records of one index to another, in passes."""

    def __init__(self, cluster: Cluster, kind: Kind, old: str, new: str, on_progress: OnRebuild) -> None:
        self._cluster, self._kind, self._old, self._new = cluster, kind, old, new
        self._on_progress = on_progress
        self._reached = -1  # the sequence number up to which nothing is missing
        self._copied = self._total = 0
        self._refused: dict[str, str] = {}
        self._refused_count = 0

    async def everything(self) -> None:
        """Copy what there is. A point in time takes a tenth of the searches' work where there are many pages."""
        checkpoint = await self._cluster.checkpoint(self._old)
        await self._cluster.refresh(self._old)
        self._total, _ = await _count(self._cluster, self._old)
        async for hits in self._cluster.scan(self._old, bodies.everything(), ["_shard_doc"], PAGE):
            await self._write(hits)
        self._check_refused()
        self._reached = checkpoint

    async def news(self) -> int:
        """Copy what was written since the last pass; how many records."""
        checkpoint = await self._cluster.checkpoint(self._old)
        await self._cluster.refresh(self._old)
        at, count = self._reached, 0
        while True:
            (hits,) = await self._cluster.search(self._old, [bodies.written_after(at, PAGE)], is_request=False)
            if hits:
                await self._write(hits)
                at = hits[-1]["_seq_no"]
                count += len(hits)
            if len(hits) < PAGE:
                break
        self._check_refused()
        self._reached = checkpoint
        return count

    async def is_behind(self) -> bool:
        """Whether something was written since the last pass."""
        return await self._cluster.checkpoint(self._old) > self._reached

    async def _write(self, hits: Sequence[Hit]) -> None:
        records = [record_from_hit(hit) for hit in hits]
        lines = [line for record in records for line in bodies.copied(self._new, self._kind, record)]
        for record, item in zip(records, await self._cluster.bulk(lines), strict=True):
            if item["status"] in (400, 413):
                self._refused_count += 1
                if len(self._refused) < REASONS_KEPT:
                    self._refused[record.id or record.mark] = item["error"]["reason"]
            elif "error" in item:
                raise failure_of(item["error"]["type"], item["status"])
        self._copied += len(hits)
        self._total = max(self._total, self._copied)
        self._on_progress(self._kind, self._copied, self._total)

    def _check_refused(self) -> None:
        if self._refused:
            raise RefusedDocumentsError(self._refused_count, self._refused)


async def _count(cluster: Cluster, index: str) -> tuple[int, int]:
    """Records of an index, and how many of them are live. To be refreshed before."""
    body: dict[str, Any] = {"term": {"is_live": True}}
    everything = await cluster.connection.ask(lambda client: client.count(index=index), is_request=False)
    live = await cluster.connection.ask(lambda client: client.count(index=index, query=body), is_request=False)
    return everything["count"], live["count"]
