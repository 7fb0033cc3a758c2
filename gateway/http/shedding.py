"""The outermost layer: what is more than can be answered in time is refused before any of it is read."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.resilience.admission import Admission, Caller
from recommender.degradation import CURRENT

ALWAYS: Final = frozenset({"/livez", "/readyz", "/metrics"})
BATCH_FROM: Final = 5  # the urgency of RFC 9218: 0 is the most urgent, 3 the default
RETRY_AFTER_SECONDS: Final = b"1"
_URGENCY = re.compile(rb"(?:^|[,\s])u=([0-7])(?:$|[,;\s])")
_BODY = orjson.dumps(
    {
        "errors": [
            {
                "message": "too much is asked at once: ask again after the seconds of `Retry-After`",
                "extensions": {"code": "OVERLOADED"},
            }
        ]
    }
)
_START: Message = {
    "type": "http.response.start",
    "status": 503,
    "headers": [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(_BODY)).encode()),
        (b"cache-control", b"private, no-store"),
        (b"retry-after", RETRY_AFTER_SECONDS),
    ],
}
_END: Message = {"type": "http.response.body", "body": _BODY}


def _written(*more: tuple[bytes, bytes]) -> bytes:
    headers = b"".join(b"%s: %s\r\n" % header for header in (*_START["headers"], *more))
    return b"HTTP/1.1 503 Service Unavailable\r\n" + headers + b"\r\n" + _BODY


# The whole answer, for a server that writes it itself; and the last one of a connection.
ANSWER: Final = _written()
LAST_ANSWER: Final = _written((b"connection", b"close"))


def asked_by(scope: Mapping[str, Any]) -> tuple[Caller, bool, bool]:
    """Who asks, whether nobody waits for the answer, and whether it is to be a stream."""
    caller: Caller = None
    is_batch = is_stream = False
    for name, value in scope["headers"]:
        if name == b"authorization":
            caller = value
        elif name == b"priority":
            urgency = _URGENCY.search(value)
            is_batch = urgency is not None and int(urgency[1]) >= BATCH_FROM
        elif name == b"accept":
            is_stream = b"text/event-stream" in value
    if caller is None:
        caller = scope["client"] and scope["client"][0]
    return caller, is_batch, is_stream


class Shedding:
    """ASGI middleware. A caller is who sends the same `Authorization`, or without one, who has the same address.

    `Priority: u=5` to `u=7` (RFC 9218) says that nobody waits for the answer: it comes after those for people.
    A stream has a place until it begins.
    """

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI layer; passes everything but HTTP through untouched, and what watches over this process."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        caller, is_batch, is_stream = asked_by(scope)
        admission = self._admission
        if not admission.enter(caller, is_batch=is_batch) and not await admission.wait(caller, is_batch=is_batch):
            await send(_START)
            await send(_END)
            return
        begun_s, has_left = time.monotonic(), False

        def leave() -> None:
            nonlocal has_left
            if not has_left:
                has_left = True
                current = CURRENT.get()
                admission.leave(caller, time.monotonic() - begun_s, 0.0 if current is None else current.waited_s)

        async def send_stream(message: Message) -> None:
            leave()
            await send(message)

        try:
            await self._app(scope, receive, send_stream if is_stream else send)
        finally:
            leave()
