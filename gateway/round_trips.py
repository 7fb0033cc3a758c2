"""What a request waits for, a question to a server or a step of making lists: timed, counted, and a span of it."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from gateway import instruments, tracing


class RoundTrip:
    """A context manager for one use. dependency, system: as in docs/metrics.md and OpenTelemetry's `db.system.name`."""

    __slots__ = ("_began", "_dependency", "_span", "_system")

    def __init__(self, dependency: str, system: str) -> None:
        self._dependency = dependency
        self._system = system
        self._span: AbstractContextManager[Any] | None = None

    def __enter__(self) -> RoundTrip:
        if tracing.traces() is not None:
            name = f"{self._system} {self._dependency}"
            self._span = tracing.part(name, {"db.system.name": self._system}, is_remote=True)
            self._span.__enter__()
        self._began = time.perf_counter()
        return self

    def headers(self) -> dict[str, Any]:
        """Options of Elasticsearch's client that show the request's trace in its tasks and slow log."""
        traces = tracing.traces()
        traceparent = None if traces is None else traces.traceparent()
        if traces is None or traceparent is None:
            return {}
        return {"opaque_id": traces.trace_id(), "headers": {"traceparent": traceparent}}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._began
        outcome = "answered" if kind is None else "cancelled" if issubclass(kind, asyncio.CancelledError) else "failed"
        instruments.dependency_seconds(self._dependency, outcome).observe(seconds)
        if self._span is not None:
            if kind is not None:
                tracing.annotate({"error.type": outcome})
            self._span.__exit__(kind, error, trace)


class Step:
    """A context manager for one step of making lists."""

    __slots__ = ("_began", "_name", "_span")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._span = tracing.part(self._name)
        self._span.__enter__()
        self._began = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        instruments.step_seconds(self._name).observe(time.perf_counter() - self._began)
        self._span.__exit__(kind, error, trace)
