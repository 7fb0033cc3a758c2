"""/metrics: what is counted, for one process and for several, and that the table in the docs is what there is."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from starlette.datastructures import State

from gateway import instruments
from gateway.graphql.persisted import Operation, PersistedOperations
from gateway.http.app import build_app
from gateway.http.auth import build_access
from gateway.http.observation import ObservedOperation, outcome_of
from gateway.instruments import Followed, exposition
from gateway.settings import Settings
from gateway.shared_counts import forget, shared_directory
from tests.gateway.served_market import ServedMarket

DOCS = Path(__file__).parents[2] / "docs"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def shown(text: str) -> dict[str, float]:
    """Every sample, by its name and labels as they are written."""
    return {
        sample.name + ",".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in prometheus(text)
        for sample in family.samples
    }


async def scraped(market: ServedMarket) -> dict[str, float]:
    return shown((await market.client.get("/metrics")).text)


async def grown(market: ServedMarket, before: dict[str, float]) -> dict[str, float]:
    """What has grown since, and by how much."""
    now = await scraped(market)
    return {name: value - before.get(name, 0.0) for name, value in now.items() if value > before.get(name, 0.0)}


async def test_a_request_is_counted_by_route_status_and_outcome(market: ServedMarket) -> None:
    before = await scraped(market)
    await market.data("{ viewer { roles } }")
    await market.ask("{ nope }")
    await market.client.post("/graphql", content=b"{", headers={"Content-Type": "application/json"})
    await market.client.get("/somewhere/private")
    more = await grown(market, before)
    assert more["tandem_http_requests_total route=/graphql, status=200"] == 2
    assert more["tandem_http_requests_total route=/graphql, status=400"] == 1
    assert more["tandem_http_requests_total route=other, status=404"] == 1
    assert more["tandem_http_request_seconds_count route=/graphql"] == 3
    assert more["tandem_operations_total operation=other, outcome=ok"] == 1
    assert more["tandem_operations_total operation=other, outcome=client_error"] == 1
    assert more["tandem_operation_seconds_count operation=other"] == 2
    assert "private" not in str(more)


async def test_a_failure_of_ours_is_an_error_and_no_clients(market: ServedMarket) -> None:
    market.catalogue.failing["get_many"] = ValueError("boom")
    before = await scraped(market)
    await market.ask('{ talent(talentId: "t1") { title } }')
    assert (await grown(market, before))["tandem_operations_total operation=other, outcome=error"] == 1


async def test_who_is_over_the_rate_or_not_let_in_is_counted(market: ServedMarket) -> None:
    before = await scraped(market)
    with ObservedOperation(Operation("{ x }"), State({"trace_id": None, "operations": []})) as observed:
        observed.ends(["THROTTLED"], [], 0, "talent")
    await market.client.post("/graphql", json={"query": "{ viewer { roles } }"}, headers={"Authorization": "Bearer x"})
    more = await grown(market, before)
    assert more["tandem_rate_limited_total role=talent"] == 1
    assert more["tandem_auth_failures_total reason=bad token"] == 1


async def test_events_are_counted_by_what_became_of_them(market: ServedMarket) -> None:
    before = await scraped(market)
    event = '{ eventId: "e-1", actor: TALENT, type: APPLY, talentId: "t1", jobId: "j2" }'
    for _ in range(2):
        await market.data(f"mutation {{ recordEvents(input: {{ events: [{event}] }}) {{ acceptedCount }} }}")
    more = await grown(market, before)
    assert more["tandem_events_total outcome=accepted"] == 1
    assert more["tandem_events_total outcome=duplicate"] == 1


def test_the_worst_of_an_answer_is_its_outcome() -> None:
    assert outcome_of([]) == "ok"
    assert outcome_of(["BAD_USER_INPUT"]) == "client_error"
    assert outcome_of([], ["CATALOGUE"]) == "degraded"
    assert outcome_of(["BAD_USER_INPUT"], ["CACHE"]) == "degraded"
    assert outcome_of(["FORBIDDEN", "UNAVAILABLE"], ["CACHE"]) == "error"


async def test_only_trusted_operations_are_counted_by_their_name(market: ServedMarket) -> None:
    trusted = "query Feed { viewer { roles } }"
    access, operations = build_access(Settings(auth="open")), PersistedOperations(trusted={"feed": trusted})
    app = build_app(market.services, access, operations=operations)
    market.client._transport.app = app  # type: ignore[attr-defined]
    before = await scraped(market)
    await market.data(trusted)
    await market.client.post("/graphql", json={"documentId": "feed"})
    await market.data("query MadeUp { viewer { roles } }")
    more = await grown(market, before)
    assert more["tandem_operations_total operation=Feed, outcome=ok"] == 2
    assert more["tandem_operations_total operation=other, outcome=ok"] == 1
    assert "MadeUp" not in str(more)


def test_no_more_operations_are_told_apart_than_a_dashboard_can_show() -> None:
    many = {str(number): f"query Q{number} {{ viewer {{ roles }} }}" for number in range(300)}
    assert len(PersistedOperations(trusted=many).names) == 200


async def test_what_is_so_at_the_moment_is_shown(market: ServedMarket) -> None:
    found = await scraped(market)
    assert found["tandem_model_info version=m1"] == 1
    assert found["tandem_model_age_seconds"] == 86_400
    assert found["tandem_http_requests_in_flight"] == 1  # the scrape itself
    assert found["tandem_resident_bytes"] > 10_000_000
    assert any(name.startswith("tandem_build_info version=") for name in found)


async def test_work_that_has_not_ended_is_shown_until_it_has(market: ServedMarket) -> None:
    before = (await scraped(market))["tandem_loop_tasks"]
    work = [asyncio.create_task(asyncio.sleep(60)) for _ in range(5)]
    assert (await scraped(market))["tandem_loop_tasks"] == before + 5
    for one in work:
        one.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    assert (await scraped(market))["tandem_loop_tasks"] == before


async def test_a_model_that_serves_no_more_is_not_shown(market: ServedMarket) -> None:
    instruments.MODEL_INFO.labels("before").set(1)
    instruments.MODEL_INFO.labels("before").set(0)
    assert "tandem_model_info version=before" not in await scraped(market)


async def test_a_slow_bucket_names_a_trace_in_it(market: ServedMarket) -> None:
    await market.client.post("/graphql", json={"query": "{ viewer { roles } }"}, headers={"traceparent": TRACEPARENT})
    answer = await market.client.get("/metrics", headers={"Accept": OPENMETRICS})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    named = [
        sample.exemplar.labels["trace_id"]
        for family in openmetrics(answer.text)
        for sample in family.samples
        if sample.name == "tandem_operation_seconds_bucket" and sample.exemplar
    ]
    assert TRACE in named
    assert TRACE not in (await market.client.get("/metrics")).text


async def test_the_trace_of_the_caller_is_the_request_id_unless_one_was_given(market: ServedMarket) -> None:
    answer = await market.client.get("/livez", headers={"traceparent": TRACEPARENT})
    assert answer.headers["x-request-id"] == TRACE
    both = {"traceparent": TRACEPARENT, "X-Request-Id": "mine"}
    assert (await market.client.get("/livez", headers=both)).headers["x-request-id"] == "mine"
    wrong = {"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}
    assert (await market.client.get("/livez", headers=wrong)).headers["x-request-id"].startswith("r")


def test_a_counter_follows_counts_that_only_grow() -> None:
    followed = Followed(instruments.GUARDED, "test")
    for counts in ({"answered": 3}, {"answered": 5, "failed": 1}, {"answered": 5, "failed": 1}):
        followed.follow(counts)
    found = shown(exposition()[0].decode())
    assert found["tandem_guarded_total dependency=test, outcome=answered"] == 5
    assert found["tandem_guarded_total dependency=test, outcome=failed"] == 1


COUNTING = """
    import sys
    from pathlib import Path
    from gateway.shared_counts import share
    share(Path(sys.argv[1]), int(sys.argv[2]))
    from gateway import instruments
    instruments.http_requests("/graphql", 200).inc(int(sys.argv[3]))
    instruments.http_seconds("/graphql").observe(0.04)
    instruments.WORKERS.set(1)
    instruments.MODEL_AGE.set(int(sys.argv[3]))
    print(instruments.exposition()[0].decode())
"""


def counted_by(directory: Path, place: int, count: int) -> dict[str, float]:
    """What a process shows that counts, and ends without a word."""
    ran = subprocess.run(
        [sys.executable, "-c", dedent(COUNTING), str(directory), str(place), str(count)],
        capture_output=True,
        text=True,
        check=True,
    )
    return shown(ran.stdout)


def test_one_look_is_a_look_at_all_processes_those_that_ended_among_them() -> None:
    requests = "tandem_http_requests_total route=/graphql, status=200"
    with shared_directory() as directory:
        assert counted_by(directory, 0, 3)[requests] == 3
        found = counted_by(directory, 1, 4)
        assert (found[requests], found["tandem_http_request_seconds_count route=/graphql"]) == (7, 2)
        assert (found["tandem_workers"], found["tandem_model_age_seconds"]) == (2, 4)
        files = sorted(directory.iterdir())
        forget(directory, 1)
        found = counted_by(directory, 0, 2)  # takes the place of the first, and its counts with it
        assert (found[requests], found["tandem_workers"], found["tandem_model_age_seconds"]) == (9, 1, 2)
        assert {path.name for path in directory.iterdir()} <= {path.name for path in files}
    assert not directory.exists()


def test_every_metric_is_in_the_docs_as_it_is() -> None:
    kinds = {"counter": "counter", "histogram": "histogram", "gauge": "gauge"}
    rows = []
    for family in instruments.families():
        labels = ", ".join(f"`{label}`" for label in family.labels) or "—"
        rows.append(f"| `{family.name}` | {kinds[family.kind]} | {labels} | {family.meaning} |")
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if re.match(r"\| `tandem_", line)]
    assert table == rows, "\n".join(rows)


@pytest.mark.parametrize("family", instruments.families(), ids=lambda family: family.name)
def test_no_metric_has_a_label_that_callers_could_fill(family: instruments.Family) -> None:
    known = {"route", "status", "operation", "outcome", "reason", "role", "dependency", "of", "version", "step"}
    assert set(family.labels) <= known
