"""What stands before a store in production: TLS with a throw-away authority, and a password before Elasticsearch."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trustme

REFUSAL = (
    b"HTTP/1.1 401 Unauthorized\r\nX-Elastic-Product: Elasticsearch\r\nContent-Type: application/json\r\n"
    b'WWW-Authenticate: Basic realm="security"\r\nConnection: close\r\nContent-Length: 69\r\n\r\n'
    b'{"error":{"type":"security_exception","reason":"no"},"status":401}   '
)


class Authority:
    """A certificate authority that nobody trusts unless told to, and what it certifies."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self.file = directory / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def server(self, host: str = "127.0.0.1", *, days: int = 1) -> ssl.SSLContext:
        """TLS for a server of this name; days < 0: whose certificate ended so many days ago."""
        now = datetime.datetime.now(datetime.UTC)
        ends = now + datetime.timedelta(days=days)
        certificate = self._authority.issue_cert(host, not_before=ends - datetime.timedelta(days=2), not_after=ends)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context


class Proxy:
    """Passes bytes between clients, with TLS if told to, and a server without.

    password: of the user `tandem`, asked for as Elasticsearch asks, once per connection; None asks nobody.
    """

    def __init__(self, upstream_port: int, tls: ssl.SSLContext | None, password: str | None) -> None:
        self.port = 0
        self._upstream_port = upstream_port
        self._tls = tls
        self._wanted = password and b"Basic " + base64.b64encode(f"tandem:{password}".encode())
        self._loop = asyncio.new_event_loop()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def start(self) -> None:
        """Listen, on a thread of its own."""
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()
        listening.wait()

    def stop(self) -> None:
        """Hang up on everybody."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self, listening: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(listening))

    async def _serve(self, listening: threading.Event) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        await self._stopped.wait()
        server.close()
        for answers in self._connections.values():
            answers.transport.abort()
        await asyncio.gather(*self._connections)

    async def _accept(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = answers
        try:
            await self._pass_on(client, answers)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            answers.close()
            with suppress(OSError):
                await answers.wait_closed()
            del self._connections[task]

    async def _pass_on(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        head = b""
        if self._wanted:
            head = await client.readuntil(b"\r\n\r\n")
            if b"authorization: " + self._wanted.lower() not in head.lower():
                answers.write(REFUSAL)
                await answers.drain()
                return
        server, questions = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        questions.write(head)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(client, questions))
                both.create_task(_copy(server, answers))
        except* OSError:
            pass
        finally:
            questions.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()


@contextmanager
def running_proxy(
    upstream_port: int, *, tls: ssl.SSLContext | None = None, password: str | None = None
) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    proxy = Proxy(upstream_port, tls, password)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
