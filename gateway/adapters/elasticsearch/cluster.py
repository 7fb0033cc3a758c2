"""The few questions that the catalogue asks a cluster, one round trip each."""

from __future__ import annotations

import asyncio
import secrets
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

import orjson
from elasticsearch import NotFoundError

from gateway.adapters.elasticsearch.bodies import Body, multi_search
from gateway.adapters.elasticsearch.connection import (
    BUSY,
    BUSY_SECONDS,
    PART,
    BusyError,
    Connection,
    IndexMovedError,
    Patience,
    TooLargeError,
)
from gateway.adapters.elasticsearch.records import Record, record_from_hit
from recommender.errors import UnavailableError

Hit = dict[str, Any]

BULK_BYTES = 4 * 2**20  # of one bulk: a small node (512 MB of heap) buffers about 50 MB of them for all its writers
TOO_MANY_REQUESTS = 429
TURNED_AWAY: dict[str, Any] = {"status": TOO_MANY_REQUESTS, "error": {"type": BUSY[0]}}
TOO_LARGE = "it is larger than a request that the server takes (http.max_content_length)"
KEEP_ALIVE = "2m"  # of a point in time, from one page to the next
# Of each answer, whether it is one, and a whole one.
OUTCOME = ("responses.status", "responses.error.type", "responses.timed_out", "responses._shards.failed")
NO_SHARD = ("search_phase_execution_exception", "no_shard_available_action_exception")
GOING_S = (0.0, 0.01, 0.03, 0.1)  # an index that is removed has its name a little longer than its shards


class Cluster:
    """Reads and writes records. Everything may raise IndexMovedError and UnavailableError."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # All searches of one process ask the same copy of a shard, so that a later one never sees an earlier state.
        self._preference = secrets.token_hex(8)

    async def search(
        self, index: str, searches: Sequence[Body], *, is_request: bool = True, only: Sequence[str] = ()
    ) -> list[list[dict[str, Any]]]:
        """The hits of each search, in one round trip. only: the parts of a hit that are wanted."""
        return await self.search_each([(index, search) for search in searches], is_request=is_request, only=only)

    async def search_each(
        self, searches: Sequence[tuple[str, Body]], *, is_request: bool = True, only: Sequence[str] = ()
    ) -> list[list[dict[str, Any]]]:
        """The same, each search in an index of its own."""
        lines = multi_search(self._preference, searches)
        wanted = [f"responses.hits.hits.{name}" for name in only] if only else ["responses.hits.hits"]
        answer = await self.connection.ask(
            lambda client: client.msearch(searches=lines, filter_path=[*wanted, *OUTCOME]), is_request=is_request
        )
        responses = answer.get("responses", ()) if isinstance(answer.body, dict) else ()
        if len(responses) != len(searches):
            raise UnavailableError(PART, "Elasticsearch gave an answer with something else in it")
        found = []
        for (index, _), response in zip(searches, responses, strict=True):
            if (error := response.get("error")) is not None:
                raise await self._failure(index, error["type"], response["status"])
            # Asked not to, a cluster gives no part of an answer; what stands before one may know nothing of that.
            if response.get("timed_out") or response.get("_shards", {}).get("failed"):
                raise UnavailableError(PART, "Elasticsearch gave a part of an answer")
            found.append(response.get("hits", {}).get("hits", []))
        return found

    async def records(self, index: str, marks: Sequence[str]) -> dict[str, Record]:
        """Records by mark, of this moment and not of the last refresh; unknown ones are left out."""
        answer = await self.connection.ask(lambda client: client.mget(index=index, ids=list(marks)), is_request=False)
        found = {}
        for one in answer["docs"]:
            if (error := one.get("error")) is not None:
                raise await self._failure(index, error["type"], 404)
            if one["found"]:
                found[one["_id"]] = record_from_hit(one)
        return found

    async def bulk(self, lines: Sequence[Body]) -> list[dict[str, Any]]:
        """What became of each write (two lines): `status`, `_seq_no` and, where it failed, `error`.

        At the pace of the cluster: what its full queues or buffers turn away was not done; it is sent again after a
        wait, and in smaller requests. Raises UnavailableError when nothing gets through for BUSY_SECONDS.
        """
        found: dict[int, dict[str, Any]] = {}
        writes = [b"\n".join(orjson.dumps(line) for line in lines[at : at + 2]) for at in range(0, len(lines), 2)]
        left, most_bytes, patience = list(range(len(writes))), BULK_BYTES, Patience()
        while left:
            batch = left[: _count_within(most_bytes, [len(writes[place]) for place in left])]
            half = max(1, sum(len(writes[place]) for place in batch) // 2)
            busy = BusyError(PART, f"Elasticsearch has taken no write for {BUSY_SECONDS:.0f} s; try again later")
            try:
                items = await self._bulk([writes[place] for place in batch])
            except BusyError as error:
                items, most_bytes, busy = [TURNED_AWAY] * len(batch), half, error
            except TooLargeError:
                if len(batch) > 1:
                    most_bytes = half
                    continue
                items = [{"status": 413, "error": {"type": "too_large", "reason": TOO_LARGE}}]
            done = {place: item for place, item in zip(batch, items, strict=True) if not _is_turned_away(item)}
            found |= done
            left = [place for place in left if place not in done]
            if done:
                most_bytes, patience = min(BULK_BYTES, 2 * most_bytes), Patience()
            if len(done) < len(batch):
                await patience.wait(busy)
        return [found[place] for place in range(len(writes))]

    async def _bulk(self, writes: Sequence[Any]) -> list[dict[str, Any]]:
        answer = await self.connection.ask_once(
            lambda client: client.bulk(
                operations=list(writes),
                filter_path=["items.*.status", "items.*._seq_no", "items.*.error.type", "items.*.error.reason"],
            ),
            is_request=False,
        )
        return [next(iter(item.values())) for item in answer["items"]]

    async def scan(self, index: str, body: Body, sort: Sequence[Body | str], page: int) -> AsyncIterator[list[Hit]]:
        """All hits of a search in order, page by page, as they stood at one moment, the last refresh."""
        point: str = (
            await self.connection.ask(
                lambda client: client.open_point_in_time(index=index, keep_alive=KEEP_ALIVE), is_request=False
            )
        )["id"]
        after: list[Any] | None = None
        try:
            while True:
                answer = await self._page(point, {**body, "size": page, "sort": list(sort)}, after)
                hits: list[Hit] = answer["hits"]["hits"]
                point = answer.get("pit_id", point)
                if hits:
                    yield hits
                if len(hits) < page:
                    return
                after = hits[-1]["sort"]
        finally:
            with suppress(UnavailableError, IndexMovedError):  # else it ends by itself after KEEP_ALIVE
                await self.connection.ask(lambda client: client.close_point_in_time(id=point), is_request=False)

    async def _page(self, point: str, body: Body, after: list[Any] | None) -> Any:
        async def ask(client: Any) -> Any:
            try:
                return await client.search(
                    **body,
                    pit={"id": point, "keep_alive": KEEP_ALIVE},
                    search_after=after,
                    track_total_hits=False,
                    allow_partial_search_results=False,
                )
            except NotFoundError as error:  # the point in time has gone with its index
                raise IndexMovedError(error.message) from error

        return await self.connection.ask(ask, is_request=False)

    async def checkpoint(self, index: str) -> int:
        """The sequence number up to which every write is done on every copy; -1 when there is none."""
        answer = await self.connection.ask(
            lambda client: client.indices.stats(index=index, metric="docs", level="shards"), is_request=False
        )
        for copy in answer["indices"].get(index, {"shards": {"0": []}})["shards"]["0"]:
            if copy["routing"]["primary"]:
                return int(copy["seq_no"]["global_checkpoint"])
        raise await self._failure(index, NO_SHARD[1], 503)

    async def block_writes(self, index: str, *, blocked: bool) -> None:
        """Let an index take no more writes, and wait for those under way; or let it take them again."""

        async def ask(client: Any) -> None:
            if blocked:
                await client.indices.add_block(index=index, block="write")
            else:
                await client.indices.put_settings(index=index, settings={"index.blocks.write": False})

        await self.connection.ask(ask, is_request=False)

    async def refresh(self, index: str) -> None:
        """Make every write that is done visible to searches."""
        await self.connection.ask(lambda client: client.indices.refresh(index=index), is_request=False)

    async def _failure(self, index: str, kind: str, status: int) -> Exception:
        """As failure_of; what lacks its shards because it is being removed has moved."""
        for wait_s in GOING_S if kind in NO_SHARD else ():
            await asyncio.sleep(wait_s)
            if not await self.connection.ask(lambda client: client.indices.exists(index=index)):
                return IndexMovedError(index)
        return failure_of(kind, status)


def _count_within(most_bytes: int, sizes: Sequence[int]) -> int:
    """How many of these fit, at least one."""
    return max(1, bisect_right(list(accumulate(sizes)), most_bytes))


def _is_turned_away(item: Mapping[str, Any]) -> bool:
    """Whether a full queue or buffer kept a write from being done."""
    return item["status"] == TOO_MANY_REQUESTS and item["error"]["type"] in BUSY


def failure_of(kind: str, status: int) -> Exception:
    """The error of one part of an answer, in our words."""
    if kind == "index_not_found_exception" or (kind == "cluster_block_exception" and status == 403):
        return IndexMovedError(kind)
    if kind == "cluster_block_exception":
        return UnavailableError(PART, "Elasticsearch takes no writes: its disk is full; free some space there")
    return UnavailableError(PART, f"Elasticsearch answered {status} {kind}")


def entry_of(answer: Mapping[str, Any]) -> tuple[dict[str, Any], int, int]:
    """The body of a got document and its place in the order of writes, for the next compare-and-set."""
    return answer["_source"], answer["_seq_no"], answer["_primary_term"]
