"""Builds an index anew beside the one in use and puts it in its place, without a pause for readers or a lost write."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gateway.adapters.elasticsearch import bodies
from gateway.adapters.elasticsearch.cluster import Cluster, failure_of
from gateway.adapters.elasticsearch.connection import PART, IndexMovedError
from gateway.adapters.elasticsearch.layout import Layout
from gateway.adapters.elasticsearch.records import Record, record_from_hit
from recommender.documents import Kind
from recommender.errors import UnavailableError

PAGE = 1_000
FEW = 200  # when a pass copies no more than this, writers can wait for the next one
PASSES = 20


async def rebuild(cluster: Cluster, layout: Layout, kind: Kind) -> int:
    """Copy every record into a new index and let the alias point to it; how many live documents there are.

    Passes copy what was written since the last one, until little is left. Then the old index takes no more writes (its
    writers wait and try again), the rest is copied, and in one step the alias moves and the old index goes: a reader or
    writer that still names it fails, and asks for the new one.
    """
    layout.forget(kind)
    old = await layout.index(kind)
    new = await layout.create_next(kind)
    is_blocked = False
    try:
        reached = -1
        for _ in range(PASSES):
            reached, count = await _copy(cluster, kind, old, new, reached)
            if count <= FEW:
                break
        is_blocked = True
        await cluster.connection.ask(
            lambda client: client.indices.add_block(index=old, block="write"), is_request=False
        )
        await _copy(cluster, kind, old, new, reached)
        await cluster.refresh(new)
        total, live = await _count(cluster, new)
        if total != (await _count(cluster, old))[0]:
            raise UnavailableError(PART, f"{new} does not hold as much as {old}; nothing was changed")
        await _switch(cluster, layout.alias[kind], old, new)
    except BaseException:
        await _delete(cluster, new)
        if is_blocked:
            await _unblock(cluster, old)
        raise
    layout.forget(kind)
    for left in await layout.indices(kind):
        if left != new:  # what a rebuild that was broken off has left
            await _delete(cluster, left)
    return live


async def _delete(cluster: Cluster, index: str) -> None:
    await cluster.connection.ask(
        lambda client: client.indices.delete(index=index, ignore_unavailable=True), is_request=False
    )


async def _copy(cluster: Cluster, kind: Kind, old: str, new: str, after: int) -> tuple[int, int]:
    """Copy what was written after a sequence number; how far nothing is missing, and how many records there were."""
    checkpoint = await cluster.checkpoint(old)
    await cluster.refresh(old)
    at, count = after, 0
    while True:
        (hits,) = await cluster.search(old, [bodies.written_after(at, PAGE)], is_request=False)
        if hits:
            await _write(cluster, kind, new, [record_from_hit(hit) for hit in hits])
            at = hits[-1]["_seq_no"]
            count += len(hits)
        if len(hits) < PAGE:
            return checkpoint, count


async def _write(cluster: Cluster, kind: Kind, index: str, records: Sequence[Record]) -> None:
    lines = [line for record in records for line in bodies.copied(index, kind, record)]
    for item in await cluster.bulk(lines):
        if "error" in item:
            raise failure_of(item["error"]["type"], item["status"])


async def _count(cluster: Cluster, index: str) -> tuple[int, int]:
    """Records of an index, and how many of them are live. To be refreshed before."""
    body: dict[str, Any] = {"term": {"is_live": True}}
    everything = await cluster.connection.ask(lambda client: client.count(index=index), is_request=False)
    live = await cluster.connection.ask(lambda client: client.count(index=index, query=body), is_request=False)
    return everything["count"], live["count"]


async def _switch(cluster: Cluster, alias: str, old: str, new: str) -> None:
    actions = [{"add": {"index": new, "alias": alias}}, {"remove_index": {"index": old}}]
    try:
        await cluster.connection.ask(lambda client: client.indices.update_aliases(actions=actions), is_request=False)
    except IndexMovedError:
        raise UnavailableError(PART, f"another rebuild has replaced {old} meanwhile; it will do") from None


async def _unblock(cluster: Cluster, index: str) -> None:
    with suppress(IndexMovedError):  # when it is gone, the block is gone with it
        await cluster.connection.ask(
            lambda client: client.indices.put_settings(index=index, settings={"index.blocks.write": False}),
            is_request=False,
        )
