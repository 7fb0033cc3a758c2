"""The outermost layer: every request gets an id, is timed and counted, and leaves one line in the log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.metrics import Metrics

ROUTES = frozenset({"/graphql", "/federation", "/livez", "/readyz", "/metrics"})
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

_log = structlog.get_logger("tandem.http")


class Observation:
    """ASGI middleware. Takes over a caller's `X-Request-Id` when it is harmless, and always answers with one."""

    def __init__(self, app: ASGIApp, metrics: Metrics, new_id: Callable[[], str]) -> None:
        self._app = app
        self._metrics = metrics
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI layer; passes everything but HTTP through untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else self._new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        status, is_stream = 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                is_stream = headers.get("content-type", "").startswith("text/event-stream")
            await send(message)

        start = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - start
            # A stream lasts as long as somebody listens: that is no time of an answer.
            route = "stream" if is_stream else scope["path"] if scope["path"] in ROUTES else "other"
            self._metrics.observe(route, status, seconds)
            if route not in _QUIET:
                # The path of a known route alone: a query string may hold a query, and with it whatever it asks about.
                _log.debug("request", route=route, status=status, ms=round(seconds * 1000, 1), request_id=request_id)
