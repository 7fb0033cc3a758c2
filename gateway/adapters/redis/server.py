"""One Redis or Valkey server: how it is reached, what it must be like to hold events, and what its failures mean."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - redis' own, which is no OSError
    InvalidResponse,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
)
from redis.maint_notifications import MaintNotificationsConfig

from gateway.adapters.tls import certificate_problem, root_first
from gateway.round_trips import RoundTrip
from recommender.errors import AwayError, UnavailableError

DEFAULT_PORT = 6379
# First version that has what the scripts need, and the first major that nobody has tried.
REDIS_VERSIONS = ((7, 0), (9, 0))
VALKEY_VERSIONS = ((7, 2), (10, 0))
WAITAOF_SINCE = (7, 2)  # of Redis; every Valkey has it


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the server may take. Nothing is tried again: the caller knows whether that is worth its time.

    read_ms: of a look-up in a request. With `appendfsync always` the server answers nobody while it syncs, so this has
    to be longer than the disk's slow syncs. write_ms: of anything else. sync_ms: of the wait for the disk.
    """

    connect_ms: int = 50
    read_ms: int = 100
    write_ms: int = 5_000
    sync_ms: int = 3_000


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of itself."""

    name: str  # with its version
    fsync: str | None  # appendfsync; None when the server doesn't tell
    has_waitaof: bool

    @property
    def promise(self) -> str:
        """What an acknowledgement means with this server, and what would be better."""
        if self.fsync == "always":
            return "an acknowledged event is on the disk"
        return "an acknowledged event is on the disk, and waits up to a second for it; appendfsync always is quicker"


class Server:
    """Connections to one server. `quick` is for look-ups in a request, `slow` for all else.

    Made and used on one event loop. Each pool is bounded: who finds no free connection waits as long as for an answer.
    """

    def __init__(self, url: str, *, part: str, timeouts: Timeouts, connections: int) -> None:
        self.address = address(url)
        self._may_not_speak_tls = url.startswith("rediss:")
        self._database = urlsplit(url).path.strip("/")
        self._part = part
        self._timeouts = timeouts
        self.quick = _client(url, timeouts.connect_ms, timeouts.read_ms, connections)
        # A connection is opened before anything hurries, so it may take longer.
        self.slow = _client(url, timeouts.write_ms, timeouts.write_ms, connections)

    async def open(self, connections: int) -> Facts:
        """Check the server and open some connections, so that the first requests find them."""
        with self.failures():
            info = await self.slow.info("everything")
            fsync = await self._fsync()
            facts = facts_of(info, fsync, part=self._part, address=self.address)
            await asyncio.gather(*(client.ping() for client in (self.quick, self.slow) for _ in range(connections)))
        return facts

    async def close(self) -> None:
        """Close every connection."""
        for client in (self.quick, self.slow):
            await client.aclose()
            await client.connection_pool.disconnect()

    async def run_durably(
        self, script: AsyncScript, keys: Sequence[str], arguments: Sequence[Any], *, sync: bool
    ) -> Any:
        """Run a script and wait for the disk, in one round trip: the wait is for the writes of its connection.

        sync: False leaves the wait to a later call. Raises the client's failures, and UnavailableError when the disk is
        too slow.
        """
        pipeline = self.slow.pipeline(transaction=False)
        pipeline.evalsha(script.sha, len(keys), *keys, *arguments)
        if sync:
            pipeline.execute_command("WAITAOF", 1, 0, self._timeouts.sync_ms)
        answer, *synced = await pipeline.execute(raise_on_error=False)
        if isinstance(answer, NoScriptError):  # the server was restarted, or its scripts were flushed
            await self.slow.script_load(script.script)
            return await self.run_durably(script, keys, arguments, sync=sync)
        for each in (answer, *synced):
            if isinstance(each, Exception):
                raise each
        if synced and int(synced[0][0]) < 1:
            raise UnavailableError(
                self._part,
                f"{self.address}: the disk did not take the events within {self._timeouts.sync_ms} ms; send them again",
            )
        return answer

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Time what is asked, and turn the client's failures into ours."""
        try:
            with RoundTrip(self._part, "redis"):
                yield
        except (RedisError, OSError) as error:
            kind = AwayError if _is_away(error) else UnavailableError
            raise kind(self._part, f"{self.address}: {self._why(error)}") from error

    async def _fsync(self) -> str | None:
        try:
            found: dict[Any, Any] = await self.slow.config_get("appendfsync")
        except AuthenticationError:
            raise
        except ResponseError:  # a managed server may keep its configuration to itself
            return None
        value = found.get("appendfsync", found.get(b"appendfsync"))
        return value.decode() if isinstance(value, bytes) else value

    def _why(self, error: Exception) -> str:
        """What happened and what to do, in one line."""
        text = str(error)
        match error:
            case BusyLoadingError():
                return "it is still loading its data; wait until it is done"
            case _ if "NOAUTH" in text or "must be called with the client already authenticated" in text:
                return "it wants a password; put it into the URL, as :password@host or user:password@host"
            case _ if isinstance(error, AuthenticationError) or text.startswith("WRONGPASS"):
                return "it refuses the user or the password; correct them in the URL"
            case NoPermissionError():
                return f"its user lacks a permission ({text}); grant it by ACL SETUSER"
            case ReadOnlyError():
                return "it is a replica, which takes no writes; name the primary"
            case OutOfMemoryError():
                return "its memory is full (maxmemory); give it more"
            case MovedError():
                return f"another node of its cluster holds the keys ({text}); name that node"
            case _ if text.startswith("MISCONF") or "No space left" in text:
                return "it cannot write its files; free space on its disk, and look into its log"
            case _ if "WAITAOF" in text and "appendonly" in text:
                return "its append-only file was switched off; set appendonly yes"
            case _ if "REPLAYING" in text:
                return "its histories are written anew; wait for `tandem replay`, and run it again if it was broken off"
            case _ if "WRONGTYPE" in text:
                return "a key of this namespace holds something else; set another TANDEM_NAMESPACE"
            case _ if "DB index" in text:
                return f"it has no database {self._database}; correct the number in the URL"
            case InvalidResponse():
                return "what answers there is no Redis; correct the host and the port in the URL"
            case TimeoutError() if self._may_not_speak_tls:
                return "it did not answer in time; if it speaks no TLS there, write redis://, else look at its load"
            case TimeoutError():
                return "it did not answer in time; look whether it runs, at its load and at the network"
            case ConnectionError():
                return self._no_connection(error)
            case _:
                return text

    def _no_connection(self, error: ConnectionError) -> str:
        for cause in root_first(error):
            match cause:
                case ssl.SSLCertVerificationError():
                    problem = certificate_problem(cause, "set SSL_CERT_FILE to the file of its authority")
                    return f"its certificate {problem}"
                case ssl.SSLError():
                    return "it does not speak TLS here; write redis:// instead of rediss://, or correct the port"
                case socket.gaierror():
                    return "this host name cannot be found; correct the URL"
        if "No connection available" in str(error):
            return "every connection is busy; look at its load"
        if "onnection closed" in str(error) or "reset" in str(error):
            return "it closed the connection; look whether it runs, and whether it wants TLS (rediss://)"
        return "nothing answers there; start the server or correct the URL"


def address(url: str) -> str:
    """Host and port of a URL, without user and password."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or DEFAULT_PORT}"


def facts_of(info: Mapping[str, Any], fsync: str | None, *, part: str, address: str) -> Facts:
    """What INFO says, checked. Raises UnavailableError when such a server may lose events."""
    valkey = "valkey_version" in info
    product, found = ("Valkey", info["valkey_version"]) if valkey else ("Redis", info.get("redis_version", "0"))
    version = _version(str(found))
    first, beyond = VALKEY_VERSIONS if valkey else REDIS_VERSIONS
    has_waitaof = valkey or version >= WAITAOF_SINCE
    problem: str | None = None
    if not first <= version < beyond:
        problem = (
            f"it is {product} {found}, and this version of Tandem knows {product} "
            f"{first[0]}.{first[1]} up to and without {beyond[0]}; use one of those"
        )
    elif info.get("loading"):
        problem = "it is still loading its data; wait until it is done"
    elif info.get("role") not in (None, "master"):
        problem = "it is a replica, which takes no writes; name the primary"
    elif not info.get("aof_enabled"):
        problem = (
            "it keeps no append-only file, so that a crash would lose events; set appendonly yes "
            "(now: CONFIG SET appendonly yes; for good: in its configuration)"
        )
    elif fsync == "no":
        problem = "appendfsync no leaves it open when an event reaches the disk; set appendfsync always or everysec"
    elif fsync != "always" and not has_waitaof:
        # Seen, by kill -9 under load: while a sync is under way such a server answers before it has written at all.
        problem = (
            f"appendfsync {fsync or '(not told)'} of {product} {found} may lose acknowledged events; set "
            "appendfsync always, or use Redis from 7.2 or Valkey"
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        problem = "it cannot write its append-only file; free space on its disk, and look into its log"
    elif str(info.get("maxmemory_policy", "")).startswith("allkeys"):
        problem = (
            f"maxmemory-policy {info['maxmemory_policy']} drops events when memory is short; set noeviction, "
            "or a volatile- policy if a cache shares the server"
        )
    if problem is not None:
        raise (AwayError if info.get("loading") else UnavailableError)(part, f"{address}: {problem}")
    return Facts(f"{product} {found}", fsync, has_waitaof)


def _is_away(error: Exception) -> bool:
    """Whether it may answer by itself later: nobody is there, or has no time, or it reads its data first."""
    if not isinstance(error, ConnectionError | TimeoutError | OSError) or isinstance(error, AuthenticationError):
        return False
    return not any(isinstance(cause, ssl.SSLError) for cause in root_first(error))


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0]
    return (int(major) if major.isdigit() else 0, int(minor) if minor.isdigit() else 0)


def _client(url: str, connect_ms: int, answer_ms: int, connections: int) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=answer_ms / 1000,
        socket_connect_timeout=connect_ms / 1000,
        socket_timeout=answer_ms / 1000,
        retry=Retry(NoBackoff(), 0),
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
        client_name="tandem-events",
    )
    return Redis(connection_pool=pool)
