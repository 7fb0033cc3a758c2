"""The outermost layer: a request gets an id, is timed, counted and traced, and leaves a line in the log if worth it."""

from __future__ import annotations

import hashlib
import re
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import instruments, tracing
from gateway.graphql.persisted import Operation
from gateway.http.headers import header
from gateway.instruments import Outcome

ROUTES: Final = frozenset({"/graphql", "/federation", "/livez", "/readyz", "/metrics"})
LOGGED_SHARE: Final = 0.01  # of the requests that went well; those that did not are logged all
_QUIET: Final = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_SEVERITY: Final[tuple[Outcome, ...]] = ("ok", "client_error", "degraded", "shed", "error")
# What the code of an error says of whose fault it is; every other one is the caller's.
_OURS: Final = frozenset({"INTERNAL", "UNAVAILABLE", "NO_MODEL"})
_SHED: Final = frozenset({"OVERLOADED"})

State = dict[str, Any]  # of a request: its id, its trace, its operations, and what the view adds

_log = structlog.get_logger("tandem.http")


def outcome_of(codes: Iterable[str], degraded: Iterable[str] = ()) -> Outcome:
    """How an operation ended, by the codes of its errors and by what it was answered without; the worst of them."""
    found: set[Outcome] = {"error" if code in _OURS else "shed" if code in _SHED else "client_error" for code in codes}
    if any(degraded):
        found.add("degraded")
    return max(found, key=_SEVERITY.index, default="ok")


class ObservedOperation:
    """Times one operation, counts it and makes it a span. `ends` says how it did."""

    __slots__ = ("_cost", "_name", "_operation", "_outcome", "_span", "_start", "_state")

    def __init__(self, operation: Operation, state: State) -> None:
        self._operation = operation
        self._name = operation.name or instruments.OTHER
        self._state = state
        self._outcome: Outcome = "ok"
        self._cost = 0

    def __enter__(self) -> ObservedOperation:
        self._span: AbstractContextManager[Any] | None = None
        if tracing.traces() is not None:
            document = hashlib.sha256(self._operation.text.encode()).hexdigest()
            self._span = tracing.part(f"operation {self._name}", {"graphql.document.hash": document})
            self._span.__enter__()
        self._start = time.perf_counter()
        return self

    def ends(self, codes: Sequence[str], reasons: Sequence[str], cost: int, role: str) -> None:
        """codes: of its errors. reasons: why it was answered from less than usual. cost: see cost.py. role: whose."""
        self._outcome, self._cost = outcome_of(codes, reasons), cost
        for reason in reasons:
            instruments.DEGRADED.labels(reason).inc()
        if "THROTTLED" in codes:
            instruments.RATE_LIMITED.labels(role).inc()
        if "FORBIDDEN" in codes:
            instruments.AUTH_FAILURES.labels("forbidden").inc()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._count(time.perf_counter() - self._start)
        if self._span is not None:
            self._span.__exit__(kind, error, trace)

    def _count(self, seconds: float) -> None:
        instruments.operations(self._name, self._outcome).inc()
        trace_id = self._state["trace_id"]
        instruments.operation_seconds(self._name).observe(seconds, trace_id and {"trace_id": trace_id})
        if self._cost:
            instruments.QUERY_COST.observe(self._cost)
        tracing.annotate({"outcome": self._outcome})
        self._state["operations"].append((self._name, self._outcome))


class Observation:
    """ASGI middleware. Takes over a caller's `X-Request-Id` when it is harmless, and always answers with one.

    Without one the id is that of the caller's trace, where there is one.
    """

    def __init__(self, app: ASGIApp, new_id: Callable[[], str]) -> None:
        self._app = app
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI layer; passes everything but HTTP through untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The path of a known route alone: any other may be made up, and hold anything.
        route = scope["path"] if scope["path"] in ROUTES else "other"
        traces = tracing.traces()
        if traces is None or route in _QUIET:
            trace_id = tracing.given_trace_id(header(scope, b"traceparent")) if traces is None else traces.trace_id()
            await self._observed(scope, receive, send, route, trace_id)
            return
        attributes = {"http.request.method": scope["method"], "http.route": route}
        with traces.request(f"{scope['method']} {route}", Headers(scope=scope), attributes):
            await self._observed(scope, receive, send, route, traces.trace_id())

    async def _observed(self, scope: Scope, receive: Receive, send: Send, route: str, trace_id: str | None) -> None:
        given = header(scope, b"x-request-id") or ""
        request_id = given if _REQUEST_ID.fullmatch(given) else trace_id or self._new_id()
        state = scope.setdefault("state", {})
        state |= {"request_id": request_id, "trace_id": trace_id, "operations": []}
        status, is_stream = 500, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                told = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                message["headers"] = told
                is_stream = any(
                    name == b"content-type" and value.startswith(b"text/event-stream") for name, value in told
                )
            await send(message)

        instruments.IN_FLIGHT.inc()
        start = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - start
            instruments.IN_FLIGHT.dec()
            # A stream lasts as long as somebody listens: that is no time of an answer.
            route = "stream" if is_stream else route
            instruments.http_requests(route, status).inc()
            instruments.http_seconds(route).observe(seconds)
            tracing.annotate({"http.response.status_code": status})
            if route not in _QUIET:
                _log_request(state, route, status, seconds)


def _log_request(state: dict[str, Any], route: str, status: int, seconds: float) -> None:
    """One line, without anything of what was asked: names and numbers alone."""
    seen: list[tuple[str, Outcome]] = state["operations"]
    by_status: Outcome = "error" if status >= 500 else "client_error" if status >= 400 else "ok"
    outcome = max([by_status, *[one for _, one in seen]], key=_SEVERITY.index)
    # By the id, so that all gateways that a request went through keep it, or none.
    kept = outcome in ("degraded", "error") or zlib.crc32(state["request_id"].encode()) < LOGGED_SHARE * 2**32
    log = _log.info if kept else _log.debug
    fields: dict[str, Any] = {"operation": seen[0][0]} if len(seen) == 1 else {"operations": len(seen)} if seen else {}
    if state["trace_id"] not in (None, state["request_id"]):
        fields["trace_id"] = state["trace_id"]
    ms = round(seconds * 1000, 1)
    log("request", route=route, status=status, outcome=outcome, ms=ms, request_id=state["request_id"], **fields)
