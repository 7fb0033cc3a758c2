"""One client of an Elasticsearch for every loop and thread of the process, and its failures in our words."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from elastic_transport import ConnectionError as NoConnectionError
from elastic_transport import ConnectionTimeout
from elasticsearch import (
    ApiError,
    AsyncElasticsearch,
    AuthenticationException,
    AuthorizationException,
    OrjsonSerializer,
    TransportError,
    UnsupportedProductError,
)

from gateway.adapters.leaving import for_who_may_leave
from gateway.adapters.tls import certificate_problem, root_first
from gateway.round_trips import RoundTrip
from recommender.errors import AwayError, UnavailableError

Answer = TypeVar("Answer")
PART = "catalogue"

OPEN_SECONDS = 3.0  # for the first answer: a server that hangs is not worth a longer wait at the start
BULK_SECONDS = 30.0  # for what no request waits for: bulks, first loads, index changes
MOST_CONNECTIONS = 16
BUSY_SECONDS = 30.0
LONGEST_WAIT_S = 0.5
BUSY = ("es_rejected_execution_exception", "circuit_breaking_exception")  # full queues or buffers, or too little heap


class IndexMovedError(Exception):
    """The index is gone, or takes no writes: a rebuild has put, or is putting, another in its place."""


class BusyError(UnavailableError):
    """The cluster turned a request away unread, because it has too much to do: it can be sent again later."""


class TooLargeError(UnavailableError):
    """The cluster does not read a request of this size."""


class Patience:
    """Waits that grow while a cluster is busy, BUSY_SECONDS in all."""

    def __init__(self) -> None:
        self._count = 0
        self._waited_s = 0.0

    async def wait(self, error: BusyError) -> None:
        """Wait, or raise the error when that was done for too long."""
        if self._waited_s > BUSY_SECONDS:
            raise error
        wait_s = min(LONGEST_WAIT_S, 0.005 * 2**self._count) * (0.5 + secrets.randbelow(100) / 100)
        await asyncio.sleep(wait_s)
        self._count, self._waited_s = self._count + 1, self._waited_s + wait_s


@dataclass(frozen=True, slots=True)
class Address:
    """Where the cluster is and who asks. `text` is fit to be shown: it holds no password."""

    hosts: tuple[str, ...]
    user: tuple[str, str] | None
    ca_certs: str | None

    @property
    def text(self) -> str:
        """Its hosts."""
        return ", ".join(self.hosts)


def address_from_url(url: str) -> Address:
    """From `elasticsearch://[user:password@]host:port`, several hosts by commas.

    `elasticsearch+https://` encrypts; `?ca_certs=/path` names the authority of its certificate, else it is one that the
    system or SSL_CERT_FILE names.
    """
    parts = urlsplit(url)
    who, _, places = parts.netloc.rpartition("@")
    scheme = "https" if parts.scheme.endswith("https") else "http"
    hosts = tuple(f"{scheme}://{place if _has_port(place) else place + ':9200'}" for place in places.split(","))
    name, _, password = who.partition(":")
    certificates = parse_qs(parts.query).get("ca_certs")
    return Address(
        hosts, (unquote(name), unquote(password)) if who else None, certificates[0] if certificates else None
    )


def _has_port(place: str) -> bool:
    return bool(re.search(r"(^[^:]*|\]):[0-9]+$", place))


class Connection:
    """Runs everything that talks to the cluster in a loop of its own, on a thread of its own.

    A client belongs to the loop that it was first used in, while an adapter serves whatever loop asks, one after the
    other or several at once. So the client has its own loop, and callers hand their questions over.

    timeout_ms: of what a request waits for; that is never tried twice. What no request waits for is asked again when
    the cluster, having too much to do, has turned it away and so not done it; no other failure is tried twice.
    """

    def __init__(self, address: Address, *, timeout_ms: int) -> None:
        self.address = address
        self._timeout_s = timeout_ms / 1_000
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: AsyncElasticsearch | None = None
        self._clients: dict[float, AsyncElasticsearch] = {}  # of the same connections, by time-out
        self._has_answered = False
        self._closed = False

    async def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """The answer of a coroutine that uses `ask`, from any loop."""
        loop = self._started(work)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(for_who_may_leave(work), loop))

    def run_now(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """The same where there is no loop; blocks."""
        return asyncio.run_coroutine_threadsafe(work, self._started(work)).result()

    def _started(self, work: Coroutine[Any, Any, Any]) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                work.close()
                raise UnavailableError(PART, "it is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_run, args=(self._loop,), name="tandem-elasticsearch", daemon=True
                )
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Close the client and end its thread. May be called twice."""
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        if self._thread is not None:
            self._thread.join()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def ask(
        self, question: Callable[[AsyncElasticsearch], Awaitable[Answer]], *, is_request: bool = True
    ) -> Answer:
        """One round trip, within `run`. is_request: with the time-out of the request path, else that of bulks.

        Raises IndexMovedError, UnavailableError.
        """
        patience = Patience()
        while True:
            try:
                return await self.ask_once(question, is_request=is_request)
            except BusyError as error:
                if is_request:
                    raise
                await patience.wait(error)

    async def ask_once(
        self, question: Callable[[AsyncElasticsearch], Awaitable[Answer]], *, is_request: bool
    ) -> Answer:
        """The same, and raises BusyError at once."""
        if self._client is None:
            self._client = self._new_client()
        longest = BULK_SECONDS if self._has_answered else OPEN_SECONDS
        seconds = self._timeout_s if is_request else max(self._timeout_s, longest)
        try:
            with RoundTrip(PART, "elasticsearch") as trip:
                answer = await question(self._asking(self._client, seconds, trip.headers()))
        except ApiError as error:
            raise self._failure(error) from error
        except TransportError as error:
            kind = AwayError if _is_away(error) else UnavailableError
            raise kind(PART, self._reason(error, seconds)) from error
        self._has_answered = True
        return answer

    def _asking(self, client: AsyncElasticsearch, seconds: float, headers: Mapping[str, Any]) -> AsyncElasticsearch:
        """The client with a time-out, and with the headers of a trace where there are any.

        To make one takes as long as all else that the client does for a small question, so those without are kept.
        """
        if headers:
            return client.options(request_timeout=seconds, **headers)
        known = self._clients.get(seconds)
        if known is None:
            known = self._clients[seconds] = client.options(request_timeout=seconds)
        return known

    def _new_client(self) -> AsyncElasticsearch:
        secure: dict[str, Any] = {}
        if self.address.hosts[0].startswith("https:"):
            # Our own context, because the client's does not look whether the certificate is for this IP address.
            secure["ssl_context"] = self._tls_context()
        if self.address.user is not None:
            secure["basic_auth"] = self.address.user
        return AsyncElasticsearch(
            list(self.address.hosts),
            max_retries=0,
            retry_on_timeout=False,
            connections_per_node=MOST_CONNECTIONS,
            serializers={"application/json": OrjsonSerializer()},
            **secure,
        )

    def _tls_context(self) -> ssl.SSLContext:
        path = self.address.ca_certs
        try:
            return ssl.create_default_context(cafile=path)
        except OSError as error:  # ssl.SSLError is one
            what = "holds no certificate" if isinstance(error, ssl.SSLError) else f"cannot be read ({error.strerror})"
            raise UnavailableError(PART, f"{path}, the ca_certs of TANDEM_CATALOGUE_URL, {what}") from error

    def _failure(self, error: ApiError) -> Exception:
        # What answers in place of Elasticsearch may say anything.
        kind = error.error if re.fullmatch(r"[a-z_]+", str(error.error)) else ""
        if kind == "index_not_found_exception" or (kind == "cluster_block_exception" and error.status_code == 403):
            return IndexMovedError(error.message)
        place = f"Elasticsearch at {self.address.text}"
        if isinstance(error, AuthenticationException) and self.address.user is None:
            return UnavailableError(
                PART, f"{place} wants a user and a password; put them into TANDEM_CATALOGUE_URL, as user:password@host"
            )
        if error.status_code == 429 and kind in BUSY:
            return BusyError(PART, f"{place} has too much to do ({kind})")
        if error.status_code == 413:
            return TooLargeError(PART, f"{place} takes no request of this size; raise its http.max_content_length")
        if isinstance(error, AuthenticationException):
            return UnavailableError(
                PART, f"{place} refused the user and password of TANDEM_CATALOGUE_URL; correct them"
            )
        if isinstance(error, AuthorizationException):
            return UnavailableError(
                PART,
                f"{place} does not let the user of TANDEM_CATALOGUE_URL do this; grant it the index privilege `all`",
            )
        if kind == "media_type_header_exception":
            return UnavailableError(PART, f"{place} is of another major version; Tandem needs Elasticsearch 9")
        if kind == "cluster_block_exception":
            return UnavailableError(PART, f"{place} takes no writes: its disk is full; free some space there")
        # A balancer before it answers 502 to 504 in its place while it is away.
        if isinstance(error, UnsupportedProductError) or (error.status_code < 500 and not _is_elasticsearch(error)):
            return UnavailableError(
                PART,
                f"what answers at {self.address.text} is no Elasticsearch; correct the host and port in "
                "TANDEM_CATALOGUE_URL",
            )
        is_away = error.status_code >= 500
        return (AwayError if is_away else UnavailableError)(
            PART, f"{place} answered {error.status_code} {kind}".rstrip()
        )

    def _reason(self, error: TransportError, seconds: float) -> str:
        place = f"Elasticsearch at {self.address.text}"
        if isinstance(error, ConnectionTimeout):
            return f"{place} did not answer within {seconds * 1_000:.0f} ms; look whether it runs, and at its load"
        for cause in root_first(error):
            match cause:
                case ssl.SSLCertVerificationError():
                    problem = certificate_problem(cause, "name its authority by ?ca_certs=/path or SSL_CERT_FILE")
                    return f"the certificate of {place} {problem}"
                case ssl.SSLError():
                    return f"{place} does not speak TLS; write elasticsearch:// instead, or correct the port"
                case socket.gaierror():
                    return f"the host name of {place} cannot be found; correct TANDEM_CATALOGUE_URL"
                case ConnectionRefusedError():
                    return f"{place} cannot be reached; start it or correct TANDEM_CATALOGUE_URL"
        if isinstance(error, NoConnectionError):
            return (
                f"{place} hung up, or gave no answer in HTTP; correct the port in TANDEM_CATALOGUE_URL, or write "
                "elasticsearch+https:// if it wants TLS"
            )
        return f"{place} gave an answer that cannot be read"


def _is_away(error: TransportError) -> bool:
    """Whether it may answer by itself later: nobody is there, or has no time, or the name is not known yet."""
    passing = (ConnectionRefusedError, ConnectionResetError, socket.gaierror, ConnectionTimeout)
    return any(isinstance(cause, passing) for cause in root_first(error))


def _is_elasticsearch(error: ApiError) -> bool:
    return error.meta.headers.get("x-elastic-product") == "Elasticsearch"


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
