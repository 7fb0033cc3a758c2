"""Traces: from the caller's header to the servers, nothing of anybody in them, and nobody waits for a collector."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import instruments, tracing
from gateway.adapters.elasticsearch.connection import Connection, address_from_url
from gateway.adapters.redis.cache import RedisCache
from gateway.adapters.redis.server import Timeouts
from gateway.tracing import end_traces, given_trace_id, set_up_traces, trace_to
from recommender.documents import Kind
from recommender.errors import UnavailableError
from tests.gateway.served_market import ServedMarket
from tests.otlp_collector import Collector, running_collector
from tests.servers import running_redis

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
LIST = 'query Mine { recommendedJobs(subject: { talentId: "t1" }, first: 5) { nodes { jobId title } } }'


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that this process sends to."""
    with running_collector() as running:
        set_up_traces(running.url, {})
        yield running
        end_traces()


def dropped() -> float:
    return instruments.SPANS_DROPPED._value.get()


async def test_one_trace_leads_from_the_caller_to_every_part_of_the_answer(
    market: ServedMarket, collector: Collector
) -> None:
    answer = await market.client.post("/graphql", json={"query": LIST}, headers=TRACEPARENT)
    assert answer.headers["x-request-id"] == TRACE
    end_traces()
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    (request,) = collector.named("POST /graphql")
    assert request.parent_span_id.hex() == PARENT
    (operation,) = collector.named("operation other")
    assert operation.parent_span_id == request.span_id
    (loading,) = collector.named("load lists")
    assert loading.parent_span_id == operation.span_id
    assert {span.name for span in collector.spans if span.parent_span_id == loading.span_id} >= {"match", "score"}


async def test_a_span_holds_nothing_of_what_was_asked_or_of_who_asked(
    market: ServedMarket, collector: Collector
) -> None:
    asked = {
        "query": "query S3cretName($id: ID!) { talent(talentId: $id) { title } }",
        "variables": {"id": "s3cret-id"},
    }
    market.catalogue.failing["get_many"] = ValueError("s3cret-argument")
    await market.client.post("/graphql?s3cret=1", json=asked, headers={"X-Request-Id": "s3cret-request"})
    await market.client.get("/s3cret-path")
    end_traces()
    assert len(collector.spans) >= 4
    assert "3cret" not in collector.text.lower()
    (operation,) = collector.named("operation")
    attributes = {one.key: one.value.string_value for one in operation.attributes}
    assert attributes["outcome"] == "error"
    assert len(attributes["graphql.document.hash"]) == 64


async def test_a_caller_who_keeps_no_trace_makes_us_keep_none(market: ServedMarket, collector: Collector) -> None:
    answer = await market.client.post(
        "/graphql", json={"query": LIST}, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}
    )
    assert answer.headers["x-request-id"] == TRACE
    end_traces()
    assert collector.spans == []


async def test_probes_and_what_no_request_waits_for_are_not_traced(market: ServedMarket, collector: Collector) -> None:
    await market.client.get("/livez")
    with tracing.part("load nothing"):
        pass
    end_traces()
    assert collector.spans == []


async def test_a_collector_that_hangs_costs_spans_and_no_time(market: ServedMarket, collector: Collector) -> None:
    collector.answers.clear()
    before, slowest = dropped(), 0.0
    traces = tracing.traces()
    assert traces is not None
    for _ in range(4_000):
        with traces.request("POST /graphql", {}, {}):
            pass
    for _ in range(20):
        start = time.perf_counter()
        await market.data("{ viewer { roles } }")
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.5
    assert dropped() - before > 1_000
    start = time.perf_counter()
    end_traces()
    assert time.perf_counter() - start < 5


async def test_what_a_collector_refuses_is_counted(market: ServedMarket, collector: Collector) -> None:
    collector.status, before = 400, dropped()
    await market.data("{ viewer { roles } }")
    end_traces()
    assert dropped() - before == 2


async def test_the_trace_goes_on_in_redis_on_its_own_thread(collector: Collector, tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        cache = RedisCache.open(
            server.url,
            namespace="test",
            catalogue="c",
            process="p",
            max_bytes=10_000_000,
            timeouts=Timeouts(connect_ms=1_000, read_ms=1_000, write_ms=1_000),
        )
        traces = tracing.traces()
        assert traces is not None
        with traces.request("POST /graphql", TRACEPARENT, {}):
            await cache.get_documents(Kind.JOB, [1, 2])
        cache.close()
    end_traces()
    (asked,) = collector.named("redis cache")
    assert asked.trace_id.hex() == TRACE
    assert asked.parent_span_id == collector.named("POST")[0].span_id


async def test_elasticsearch_knows_which_trace_a_task_is_of(collector: Collector, elasticsearch_url: str) -> None:
    connection = Connection(address_from_url(elasticsearch_url), timeout_ms=10_000)
    traces = tracing.traces()
    assert traces is not None

    async def tasks() -> list[dict[str, str]]:
        path = "/_tasks?detailed=true"
        answer = await connection.ask(
            lambda client: client.perform_request("GET", path, headers={"Accept": "application/json"})
        )
        return [task["headers"] for node in answer["nodes"].values() for task in node["tasks"].values()]

    with traces.request("POST /graphql", TRACEPARENT, {}):
        of_request = await connection.run(tasks())
    without = await connection.run(tasks())
    connection.close()
    end_traces()
    assert {"X-Opaque-Id": TRACE, "trace.id": TRACE}.items() <= next(one for one in of_request if one).items()
    assert TRACE not in str(without)
    (asked,) = collector.named("elasticsearch catalogue")
    assert asked.parent_span_id == collector.named("POST")[0].span_id


def test_only_a_well_formed_header_names_a_trace() -> None:
    assert given_trace_id(TRACEPARENT["traceparent"]) == TRACE
    for wrong in (
        None,
        "",
        TRACE,
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-01x",
    ):
        assert given_trace_id(wrong) is None


def test_without_an_address_nothing_is_traced_and_nothing_imported() -> None:
    code = (
        "import sys; from gateway.tracing import part, set_up_traces, traces; import gateway.http.app; "
        "assert set_up_traces(None, {}) is None and traces() is None; part('x').__enter__(); "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_opentelemetrys_own_variable_names_a_collector_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        traces = set_up_traces(None)
        assert traces is not None
        with traces.request("GET /graphql", {}, {}):
            pass
        end_traces()
        assert [span.name for span in running.spans] == ["GET /graphql"]


def test_a_missing_library_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(UnavailableError, match=r"install them with `pip install -e '\.\[tracing\]'`"):
        set_up_traces("http://127.0.0.1:4318", {})


async def test_an_answer_is_the_same_to_the_byte_with_and_without_traces(market: ServedMarket) -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    query = {"query": "{ jobs(first: 20) { nodes { jobId title } } }"}
    without = await market.client.post("/graphql", json=query, headers={"X-Request-Id": "same"})
    trace_to(InMemorySpanExporter())
    try:
        traced = await market.client.post("/graphql", json=query, headers={"X-Request-Id": "same"})
    finally:
        end_traces()
    assert (without.content, without.headers) == (traced.content, traced.headers)
