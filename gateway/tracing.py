"""Traces by OpenTelemetry: off, and nothing of it imported, unless the address of a collector is set.

A span says what was done, never for whom or with what: names of routes, of trusted operations and of servers, the hash
of a document; no text, arguments, tokens or ids of people.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from gateway import instruments
from recommender.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

Attributes = Mapping[str, str | int]

QUEUED: Final = 2_048  # spans that wait for the collector; more are dropped, and counted
EXPORT_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0  # that ending the process waits for a collector
_STANDARD: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_NOTHING: Final = nullcontext()
_NONE: Final[Attributes] = {}


def given_trace_id(traceparent: str | None) -> str | None:
    """The trace that a caller's header names; None for none, or what is no such header."""
    found = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
    return None if found is None else found[1]


class Traces:
    """Spans of this process, on their way to a collector."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import propagate, trace

        self._provider = provider
        self._tracer = provider.get_tracer("tandem")
        self._trace, self._propagate = trace, propagate

    def request(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> AbstractContextManager[Any]:
        """The span of a request, below its caller's."""
        parent = self._propagate.extract({"traceparent": headers.get("traceparent", "")})
        return self._tracer.start_as_current_span(
            name, context=parent, kind=self._trace.SpanKind.SERVER, attributes=attributes, record_exception=False
        )

    def part(self, name: str, attributes: Attributes, *, is_remote: bool) -> AbstractContextManager[Any]:
        """A span below the present one; without one, none: what no request waits for is not traced."""
        if not self._trace.get_current_span().get_span_context().is_valid:
            return _NOTHING
        kind = self._trace.SpanKind.CLIENT if is_remote else self._trace.SpanKind.INTERNAL
        # An exception's text may quote what the caller sent.
        return self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        )

    def trace_id(self) -> str | None:
        """The present trace; None outside of any."""
        context = self._trace.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    def traceparent(self) -> str | None:
        """The header that makes somebody else's spans parts of the present one; None outside of any trace."""
        context = self._trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def annotate(self, attributes: Attributes) -> None:
        """Add to the present span."""
        self._trace.get_current_span().set_attributes(attributes)

    def close(self) -> None:
        """Send what waits, but not for long."""
        ending = threading.Thread(target=self._provider.shutdown, name="tandem-traces-end", daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS)


_traces: Traces | None = None


def set_up_traces(url: str | None, environment: Mapping[str, str] = os.environ) -> Traces | None:
    """Trace from now on where there is a collector to send to; None where there is none.

    url: of TANDEM_OTLP_URL, before OpenTelemetry's own variables. Raises UnavailableError without the libraries.
    """
    if url is None and not any(environment.get(name) for name in _STANDARD):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "tracing", "its libraries are not installed; install them with `pip install -e '.[tracing]'`"
        ) from error
    endpoint = None if url is None else f"{url.rstrip('/')}/v1/traces"
    return trace_to(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS))


def trace_to(exporter: SpanExporter) -> Traces:
    """Trace from now on, to this exporter."""
    global _traces  # like the metrics, one for the process
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    name = os.environ.get("OTEL_SERVICE_NAME", "tandem")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}), shutdown_on_exit=False)
    provider.add_span_processor(_bounded(exporter))
    _traces = Traces(provider)
    return _traces


def end_traces() -> None:
    """Trace no more; what waits is sent, but not for long."""
    global _traces
    ending, _traces = _traces, None
    if ending is not None:
        ending.close()


def traces() -> Traces | None:
    """None while tracing is off."""
    return _traces


def part(name: str, attributes: Attributes = _NONE, *, is_remote: bool = False) -> AbstractContextManager[Any]:
    """A span of a part of a request; nothing while tracing is off."""
    return _NOTHING if _traces is None else _traces.part(name, attributes, is_remote=is_remote)


def annotate(attributes: Attributes) -> None:
    """Say more of the present span; nothing while tracing is off."""
    if _traces is not None:
        _traces.annotate(attributes)


def _bounded(exporter: SpanExporter) -> SpanProcessor:
    """The library's batches, with what it drops counted."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    waiting = threading.Semaphore(QUEUED)

    class Counted(SpanExporter):
        """Counts what the collector did not take."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            """See the library."""
            waiting.release(len(spans))
            result = SpanExportResult.FAILURE
            try:
                result = exporter.export(spans)
            finally:
                if result is not SpanExportResult.SUCCESS:
                    instruments.SPANS_DROPPED.inc(len(spans))
            return result

        def shutdown(self) -> None:
            """See the library."""
            exporter.shutdown()

    class Bounded(BatchSpanProcessor):
        """Drops, and says so, instead of taking more than the queue holds."""

        def on_end(self, span: ReadableSpan) -> None:
            """See the library."""
            if not (span.context and span.context.trace_flags.sampled):
                return
            if waiting.acquire(blocking=False):
                super().on_end(span)
            else:
                instruments.SPANS_DROPPED.inc()

    return Bounded(Counted(), max_queue_size=QUEUED, schedule_delay_millis=1_000)
