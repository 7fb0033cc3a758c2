"""Answers by gzip for who takes it; everybody else gets the same headers without the work."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import Message, Receive, Scope, Send

from gateway.http.headers import all_headers

COMPRESSED_FROM = 1_024  # bytes: below, one packet holds it anyway
COMPRESSION_LEVEL = 4  # 1 to 9: beyond, a percent less size costs twice the time
VARY = (b"vary", b"Accept-Encoding")


class Compression(GZipMiddleware):
    """ASGI middleware. Starlette's own begins as much for who takes no gzip as for who does."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI layer; leaves everything but GraphQL by POST to Starlette's."""
        is_ours = scope["type"] == "http" and scope["path"] == "/graphql" and scope["method"] == "POST"
        if not is_ours or _takes_gzip(scope):
            await super().__call__(scope, receive, send)
            return

        async def send_varying(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_compressible(message):
                message["headers"] = [*message["headers"], VARY]
            await send(message)

        await self.app(scope, receive, send_varying)


def _takes_gzip(scope: Scope) -> bool:
    return any("gzip" in value for value in all_headers(scope, b"accept-encoding"))


def _is_compressible(message: Message) -> bool:
    """Whether somebody else would have got it smaller: of a stream only the events of one are sent as they are."""
    for name, value in message["headers"]:
        if name == b"content-length":
            return int(value) >= COMPRESSED_FROM
        if name == b"content-type" and value.startswith(b"text/event-stream"):
            return False
    return True
