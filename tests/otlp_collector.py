"""A real collector of traces for the tests: takes OTLP over HTTP, and can be told to hang or to refuse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """What came, as protobuf spans. answers: whether requests are answered; status: with what."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Any] = []
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()

    @property
    def text(self) -> str:
        """Everything that was sent, to look for what must not be there."""
        return "\n".join(str(span) for span in self.spans)

    def named(self, start: str) -> list[Any]:
        """Spans whose names begin so."""
        return [span for span in self.spans if span.name.startswith(start)]


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.answers.wait(30)
            if collector.status == 200:
                given = ExportTraceServiceRequest.FromString(body)
                collector.spans += [
                    span for one in given.resource_spans for scope in one.scope_spans for span in scope.spans
                ]
            self.send_response(collector.status)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Nothing: the test's output is the test's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = Collector(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
