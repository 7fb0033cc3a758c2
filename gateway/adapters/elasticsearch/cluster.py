"""The few questions that the catalogue asks a cluster, one round trip each."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.adapters.elasticsearch.bodies import Body, multi_search
from gateway.adapters.elasticsearch.connection import PART, Connection, IndexMovedError
from gateway.adapters.elasticsearch.records import Record, record_from_hit
from recommender.errors import UnavailableError


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
        lines = multi_search(index, self._preference, searches)
        wanted = [f"responses.hits.hits.{name}" for name in only] if only else ["responses.hits.hits"]
        answer = await self.connection.ask(
            lambda client: client.msearch(
                searches=lines, filter_path=[*wanted, "responses.status", "responses.error.type"]
            ),
            is_request=is_request,
        )
        found = []
        for response in answer["responses"]:
            if (error := response.get("error")) is not None:
                raise failure_of(error["type"], response["status"])
            found.append(response.get("hits", {}).get("hits", []))
        return found

    async def records(self, index: str, marks: Sequence[str]) -> dict[str, Record]:
        """Records by mark, of this moment and not of the last refresh; unknown ones are left out."""
        answer = await self.connection.ask(lambda client: client.mget(index=index, ids=list(marks)), is_request=False)
        found = {}
        for one in answer["docs"]:
            if (error := one.get("error")) is not None:
                raise failure_of(error["type"], 404)
            if one["found"]:
                found[one["_id"]] = record_from_hit(one)
        return found

    async def bulk(self, lines: Sequence[Body]) -> list[dict[str, Any]]:
        """What became of each write: `status`, `_seq_no` and, where it failed, `error`."""
        answer = await self.connection.ask(
            lambda client: client.bulk(
                operations=list(lines),
                filter_path=["items.*.status", "items.*._seq_no", "items.*.error.type", "items.*.error.reason"],
            ),
            is_request=False,
        )
        return [next(iter(item.values())) for item in answer["items"]]

    async def checkpoint(self, index: str) -> int:
        """The sequence number up to which every write is done on every copy; -1 when there is none."""
        answer = await self.connection.ask(
            lambda client: client.indices.stats(index=index, metric="docs", level="shards"), is_request=False
        )
        for copy in answer["indices"][index]["shards"]["0"]:
            if copy["routing"]["primary"]:
                return int(copy["seq_no"]["global_checkpoint"])
        raise UnavailableError(PART, f"index {index} has no primary shard")

    async def refresh(self, index: str) -> None:
        """Make every write that is done visible to searches."""
        await self.connection.ask(lambda client: client.indices.refresh(index=index), is_request=False)


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
