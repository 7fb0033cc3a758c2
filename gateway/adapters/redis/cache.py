"""The cache in Redis or Valkey: shared by every gateway, bounded by itself, no error when it is gone.

Keys, all behind the prefix `{<namespace>:cache}:<catalogue>:`

l:<model>:<history>:<digest>   a list; the digest is of subject, filter, text, options and of what the history names
l:…:claim                      the process that is making it
d:<kind>:<ordinal>             a document
o:<digest>                     the text of an operation that clients name by its hash
rate:<digest>                  without the catalogue: until when what a caller has spent counts
index, sizes                   all keys by their expiry, and their bytes: so the cache keeps its bounds itself
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from redis.commands.core import AsyncScript

from gateway.adapters.redis import cache_scripts as scripts
from gateway.adapters.redis.cache_encoding import (
    GarbageError,
    decoded_document,
    decoded_list,
    encoded_document,
    encoded_list,
)
from gateway.adapters.redis.io_thread import IoThread
from gateway.adapters.redis.server import Server, Timeouts
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.ports import CachedDocument, CachedList, Lost

PART = "cache"
CONNECTIONS = 32  # per pool and process
OPENED_AT_START = 4
MAX_VALUE_BYTES = 1 << 20  # a list of a subject without history, over half a million jobs that share something with it
PUT_BATCH = 100  # values that one script writes: some 0.6 ms

Value = TypeVar("Value")


class RedisCache:
    """`recommender.ports.Cache` on one Redis or Valkey server, for any number of processes.

    address: where it is. Its failures are UnavailableErrors.
    """

    def __init__(
        self, thread: IoThread, server: Server, *, namespace: str, catalogue: str, process: str, max_bytes: int
    ) -> None:
        self.address = server.address
        self._thread = thread
        self._server = server
        self._process = process
        self._max_bytes = max_bytes
        self._prefix = f"{{{namespace}:cache}}:{catalogue}:"
        self._bounds = [f"{{{namespace}:cache}}:index", f"{{{namespace}:cache}}:sizes"]
        self._look_up = server.quick.register_script(scripts.LOOK_UP)
        self._claim = server.quick.register_script(scripts.CLAIM)
        self._release = server.quick.register_script(scripts.RELEASE)
        self._put = server.slow.register_script(scripts.PUT)
        self._spend = server.quick.register_script(scripts.SPEND)
        self._rates = f"{{{namespace}:cache}}:rate:"

    @classmethod
    def open(
        cls,
        url: str,
        *,
        namespace: str,
        catalogue: str,
        process: str,
        max_bytes: int,
        timeouts: Timeouts,
    ) -> RedisCache:
        """Make ready; a server that cannot be reached is asked again when it is needed.

        url: as of the event log. catalogue: names the catalogue whose ordinals these are. process: names this process.
        """
        thread = IoThread(PART)

        async def make() -> RedisCache:  # the pools belong to the thread's loop from the beginning
            server = Server(url, part=PART, timeouts=timeouts, connections=CONNECTIONS)
            return cls(thread, server, namespace=namespace, catalogue=catalogue, process=process, max_bytes=max_bytes)

        return thread.run_blocking(make())

    def problem(self) -> str | None:
        """Why the cache is of no use now, and what to do, in one line; blocks. None when all is well."""
        try:
            self._thread.run_blocking(self._greet())
        except UnavailableError as error:
            return str(error)
        return None

    async def _greet(self) -> None:
        """Open some connections, so that the first requests find them."""
        with self._server.failures():
            await self._server.slow.ping()
            info = await self._server.slow.info("replication")
            if info.get("role") not in (None, "master"):
                raise UnavailableError(
                    PART, f"{self.address}: it is a replica, which takes no writes; name the primary"
                )
            await asyncio.gather(*(self._server.quick.ping() for _ in range(OPENED_AT_START)))

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._thread.close(self._server.close())

    async def get_lists(self, keys: Sequence[str], claim_ms: int) -> list[CachedList | Lost]:
        """See ListCache. One round trip. What is garbage has not been claimed."""
        full = self._list_keys(keys)
        values = await self._run(self._look_up, full, [self._process, claim_ms])
        return [
            (Lost.ABSENT if value else Lost.CLAIMED) if isinstance(value, int) else _read(decoded_list, key, value)
            for key, value in zip(full, values, strict=True)
        ]

    async def put_lists(self, lists: Mapping[str, CachedList], ttl_ms: int) -> None:
        """See ListCache. One round trip for each hundred."""
        full = dict(zip(self._list_keys(list(lists)), lists.values(), strict=True))
        values = {key: encoded_list(key, kept) for key, kept in full.items()}
        await self._write(values, ttl_ms)
        too_large = [key for key, value in values.items() if len(value) > MAX_VALUE_BYTES]
        await self._run(self._release, too_large, [self._process])

    async def claim(self, keys: Sequence[str], claim_ms: int) -> list[bool]:
        """See ListCache. One round trip."""
        return [bool(won) for won in await self._run(self._claim, self._list_keys(keys), [self._process, claim_ms])]

    async def release(self, keys: Sequence[str]) -> None:
        """See ListCache. One round trip."""
        await self._run(self._release, self._list_keys(keys), [self._process])

    async def get_documents(self, kind: Kind, ordinals: Sequence[int]) -> list[CachedDocument | Lost]:
        """See DocumentCache. One round trip."""
        if not ordinals:
            return []
        keys = [self._document_key(kind, ordinal) for ordinal in ordinals]
        values = await self._thread.run(self._get(keys))
        return [
            Lost.ABSENT if value is None else _read(lambda key, given: decoded_document(key, kind, given), key, value)
            for key, value in zip(keys, values, strict=True)
        ]

    async def put_documents(self, kind: Kind, documents: Sequence[CachedDocument], ttl_ms: int) -> None:
        """See DocumentCache. One round trip for each hundred."""
        keys = [self._document_key(kind, kept.document.ordinal) for kept in documents]
        pairs = zip(keys, documents, strict=True)
        await self._write({key: encoded_document(key, kind, kept) for key, kept in pairs}, ttl_ms)

    async def forget_documents(self, kind: Kind, ordinals: Sequence[int]) -> None:
        """See DocumentCache. One round trip."""
        keys = [self._document_key(kind, ordinal) for ordinal in ordinals]

        async def forget() -> None:
            with self._server.failures():
                await self._server.quick.unlink(*keys)

        if keys:
            await self._thread.run(forget())

    async def get_text(self, digest: str) -> str | None:
        """The text of an operation, None when it is not there. One round trip."""
        (value,) = await self._thread.run(self._get([f"{self._prefix}o:{digest}"]))
        return None if value is None else str(bytes(value), errors="replace")

    async def put_text(self, digest: str, text: str, ttl_ms: int) -> None:
        """Keep the text of an operation for at most `ttl_ms`. One round trip."""
        await self._write({f"{self._prefix}o:{digest}": text.encode()}, ttl_ms)

    async def spend(self, key: str, cost: int, limit: int) -> tuple[int, int, int]:
        """Spend a cost of `limit` a minute, or nothing; see cache_scripts.SPEND. One round trip."""
        remaining, wait_ms, full_ms = await self._run(self._spend, [self._rates + key], [cost, limit])
        return int(remaining), int(wait_ms), int(full_ms)

    def _list_keys(self, keys: Sequence[str]) -> list[str]:
        return [f"{self._prefix}l:{key}" for key in keys]

    def _document_key(self, kind: Kind, ordinal: int) -> str:
        return f"{self._prefix}d:{kind.value}:{ordinal}"

    async def _get(self, keys: Sequence[str]) -> list[Any]:
        with self._server.failures():
            found: list[Any] = await self._server.quick.mget(keys)
        return found

    async def _run(self, script: AsyncScript, keys: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
        if not keys:
            return []

        async def run() -> list[Any]:
            with self._server.failures():
                answers: list[Any] = await script(list(keys), list(arguments))
            return answers

        return await self._thread.run(run())

    async def _write(self, values: Mapping[str, bytes], ttl_ms: int) -> None:
        kept = [(key, value) for key, value in values.items() if len(value) <= MAX_VALUE_BYTES]
        for start in range(0, len(kept), PUT_BATCH):
            batch = kept[start : start + PUT_BATCH]
            keys, arguments = [*self._bounds, *(key for key, _ in batch)], [self._process, ttl_ms, self._max_bytes]
            await self._run(self._put, keys, [*arguments, *(value for _, value in batch)])


def _read(decode: Callable[[str, bytes], Value], key: str, value: bytes) -> Value | Lost:
    try:
        return decode(key, value)
    except GarbageError:
        return Lost.GARBAGE
