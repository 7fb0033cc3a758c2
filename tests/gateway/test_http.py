"""HTTP: what is refused and how, which type an answer has, and that no input makes it a 500."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query

from gateway.graphql.documents import CACHED_DOCUMENTS, DOCUMENTS
from gateway.http import request_body
from gateway.http.negotiation import GRAPHQL, response_type
from gateway.http.problem import JSON, HttpProblem
from tests.gateway.served_market import ServedMarket

QUERY = "{ viewer { roles } }"
JSON_TYPE = {"Content-Type": "application/json"}


def code_of(response: httpx.Response) -> str:
    body = response.json()
    assert set(body) <= {"errors", "data"}
    return str(body["errors"][0]["extensions"]["code"])


MALFORMED: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "BAD_REQUEST"),
    "not JSON": (b"{", 400, "BAD_REQUEST"),
    "a number": (b"1", 400, "BAD_REQUEST"),
    "null": (b"null", 400, "BAD_REQUEST"),
    "text": (b'"x"', 400, "BAD_REQUEST"),
    "true": (b"true", 400, "BAD_REQUEST"),
    "NaN": (b"NaN", 400, "BAD_REQUEST"),
    "NaN inside": (b'{"query": "{ viewer { roles } }", "variables": {"a": NaN}}', 400, "BAD_REQUEST"),
    "a batch": (b'[{"query": "{ viewer { roles } }"}]', 400, "BAD_REQUEST"),
    "a batch of no objects": (b"[1]", 400, "BAD_REQUEST"),
    "an empty object": (b"{}", 400, "BAD_REQUEST"),
    "no query": (b'{"query": null}', 400, "BAD_REQUEST"),
    "an empty query": (b'{"query": "  "}', 400, "BAD_REQUEST"),
    "a query that is a number": (b'{"query": 1}', 400, "BAD_REQUEST"),
    "variables that are a list": (b'{"query": "{ viewer { roles } }", "variables": []}', 400, "BAD_REQUEST"),
    "variables that are text": (b'{"query": "{ viewer { roles } }", "variables": "{}"}', 400, "BAD_REQUEST"),
    "extensions that are text": (b'{"query": "{ viewer { roles } }", "extensions": "x"}', 400, "BAD_REQUEST"),
    "an operation name that is a number": (
        b'{"query": "{ viewer { roles } }", "operationName": 1}',
        400,
        "BAD_REQUEST",
    ),
    "broken UTF-8": (b'{"query": "\xff"}', 400, "BAD_REQUEST"),
    "a lone surrogate": (rb'{"query": "{ viewer { roles } }", "variables": {"a": "\ud800"}}', 400, "BAD_REQUEST"),
    "a deep array": (b"[" * 100_000, 400, "BAD_REQUEST"),
    "a deep object": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, 400, "BAD_REQUEST"),
    "deep variables": (
        b'{"query": "{ viewer { roles } }", "variables": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
        400,
        "BAD_REQUEST",
    ),
    "trailing text": (b'{"query": "{ viewer { roles } }"} x', 400, "BAD_REQUEST"),
    "UTF-16": ('{"query": "{ viewer { roles } }"}'.encode("utf-16"), 400, "BAD_REQUEST"),
    "too large": (b'{"query": "' + b"x" * 1_000_001 + b'"}', 413, "PAYLOAD_TOO_LARGE"),
}


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.parametrize("accept", ["*/*", GRAPHQL])
async def test_a_malformed_body_is_a_4xx_in_the_shape_of_graphql(market: ServedMarket, name: str, accept: str) -> None:
    body, status, code = MALFORMED[name]
    response = await market.client.post("/graphql", content=body, headers={**JSON_TYPE, "Accept": accept})
    assert (response.status_code, code_of(response)) == (status, code)
    assert response.headers["content-type"] == "application/json; charset=utf-8"


async def test_a_body_without_a_length_is_cut_off_at_the_limit(market: ServedMarket) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 100_000
            yield b" " * 100_000

    response = await market.client.post("/graphql", content=endless(), headers=JSON_TYPE)
    assert (response.status_code, code_of(response)) == (413, "PAYLOAD_TOO_LARGE")
    assert sent <= request_body.PASSED_OVER + 1_300_000  # dropped as they come, and no more than this


async def test_a_slow_body_beyond_the_limit_is_not_waited_for(
    market: ServedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "PASSED_OVER_SECONDS", 0.05)
    events = iter([{"type": "http.request", "body": b" " * 1_100_000, "more_body": True}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(events, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
    async with asyncio.timeout(5):
        await market.client._transport.app(scope, receive, send)  # type: ignore[attr-defined]
    assert sent[0]["status"] == 413


@pytest.mark.parametrize("number", ["1" * 100_000, "1e400", "-1e400", "9" * 25])
async def test_a_number_beyond_bounds_is_the_callers_fault(market: ServedMarket, number: str) -> None:
    query = "query($n: Int) { jobs(first: $n) { totalCount } }"
    body = f'{{"query": {json.dumps(query)}, "variables": {{"n": {number}}}}}'
    response = await market.client.post("/graphql", content=body, headers={**JSON_TYPE, "Accept": GRAPHQL})
    assert response.status_code == 400
    assert code_of(response) in ("BAD_REQUEST", "BAD_USER_INPUT")
    assert len(response.content) < 1_000


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/jsonfoo",
     "text/application/json", "application/json; charset=latin-1"],
)  # fmt: skip
async def test_only_json_is_taken(market: ServedMarket, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await market.client.post("/graphql", content=json.dumps({"query": QUERY}), headers=headers)
    assert (response.status_code, code_of(response)) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; Charset=UTF-8", "application/json; x=y"]
)
async def test_json_is_taken_however_it_is_spelt(market: ServedMarket, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    response = await market.client.post("/graphql", content=json.dumps({"query": QUERY}), headers=headers)
    assert response.status_code == 200


async def test_a_compressed_body_is_not_inflated(market: ServedMarket) -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    response = await market.client.post("/graphql", content=bomb, headers={**JSON_TYPE, "Content-Encoding": "gzip"})
    assert (response.status_code, code_of(response)) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_other_methods_are_405_and_say_which_are_allowed(market: ServedMarket, method: str) -> None:
    response = await market.client.request(method, "/graphql")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}; charset=utf-8", GRAPHQL),
        (f"{GRAPHQL},{JSON};q=0.9", GRAPHQL),
        (f"{JSON};q=0.9,{GRAPHQL}", GRAPHQL),
        (f"{JSON},{GRAPHQL}", JSON),
        (f"{GRAPHQL};q=0,{JSON}", JSON),
        (f"multipart/mixed;deferSpec=20220824,{GRAPHQL},{JSON};q=0.9", GRAPHQL),
        (f"{GRAPHQL}, {JSON}, text/event-stream, multipart/mixed", GRAPHQL),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
    ],
)
async def test_the_answer_has_the_type_that_is_asked_for(market: ServedMarket, accept: str, media_type: str) -> None:
    assert response_type(accept) == media_type
    response = await market.client.post("/graphql", json={"query": QUERY}, headers={"Accept": accept})
    assert response.headers["content-type"] == f"{media_type}; charset=utf-8"
    assert response.headers["cache-control"] == "private, no-store"


@pytest.mark.parametrize("accept", ["text/html", "image/png", f"{JSON};q=0", f"{JSON};q=x"])
async def test_a_type_that_there_is_not_is_406(market: ServedMarket, accept: str) -> None:
    with pytest.raises(HttpProblem):
        response_type(accept)
    response = await market.client.post("/graphql", json={"query": QUERY}, headers={"Accept": accept})
    assert (response.status_code, code_of(response)) == (406, "NOT_ACCEPTABLE")


REFUSED = {
    "syntax": ("{", None, "GRAPHQL_PARSE_FAILED"),
    "unknown field": ("{ nope }", None, "GRAPHQL_VALIDATION_FAILED"),
    "unknown argument": ("{ jobs(nope: 1) { totalCount } }", None, "GRAPHQL_VALIDATION_FAILED"),
    "wrong literal": ('{ jobs(first: "x") { totalCount } }', None, "BAD_USER_INPUT"),
    "wrong variable": ("query($n: Int) { jobs(first: $n) { totalCount } }", {"n": "x"}, "BAD_USER_INPUT"),
    "missing variable": ("query($n: ID!) { job(jobId: $n) { id } }", {}, "BAD_USER_INPUT"),
    "two operations": ("query a { viewer { roles } } query b { viewer { roles } }", None, "BAD_REQUEST"),
    "no operation": ("fragment F on Job { id }", None, "BAD_REQUEST"),
    "a subscription": (
        'subscription { recommendationsChanged(subject: { talentId: "t1" }) { cause } }',
        None,
        "BAD_REQUEST",
    ),
    "a type definition": ("type A { a: Int }", None, "BAD_REQUEST"),
    "too many tokens": ("{ viewer { roles " + "roles " * 2_000 + "} }", None, "GRAPHQL_PARSE_FAILED"),
    "nested lists": (
        """{ talents(first: 100) { nodes { recommendedJobs(first: 100) { nodes { similarJobs(first: 100) {
             nodes { id } } } } } } }""",
        None,
        "QUERY_TOO_LARGE",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_request_that_cannot_be_executed_has_a_code_and_no_data(market: ServedMarket, name: str) -> None:
    query, variables, code = REFUSED[name]
    for accept, status in ((GRAPHQL, 400), (JSON, 200)):
        body = {"query": query, "variables": variables}
        response = await market.client.post("/graphql", json=body, headers={"Accept": accept})
        assert response.status_code == status
        assert "data" not in response.json()
        assert {error["extensions"]["code"] for error in response.json()["errors"]} == {code}


async def test_an_operation_is_chosen_by_name(market: ServedMarket) -> None:
    query = "query a { a: viewer { roles } } query b { b: viewer { roles } }"
    for name in ("a", "b"):
        response = await market.client.post("/graphql", json={"query": query, "operationName": name})
        assert list(response.json()["data"]) == [name]
    response = await market.client.post("/graphql", json={"query": query, "operationName": "c"})
    assert code_of(response) == "BAD_REQUEST"
    single = {"query": "query a { viewer { roles } }", "operationName": "b"}
    assert code_of(await market.client.post("/graphql", json=single)) == "BAD_REQUEST"


async def test_a_query_goes_by_get(market: ServedMarket) -> None:
    query = "query a($n: Int) { jobs(first: $n) { nodes { jobId } } }"
    params = {"query": query, "variables": '{"n": 2}', "operationName": "a", "extensions": "{}"}
    response = await market.client.get("/graphql", params=params)
    assert len(response.json()["data"]["jobs"]["nodes"]) == 2
    for wrong in ({"variables": "{"}, {"variables": "[]"}, {"query": ""}, {"extensions": "1"}):
        response = await market.client.get("/graphql", params={**params, **wrong}, headers={"Accept": GRAPHQL})
        assert (response.status_code, code_of(response)) == (400, "BAD_REQUEST")


async def test_a_mutation_never_goes_by_get(market: ServedMarket) -> None:
    query = """mutation { recordEvents(input: { events: [{ eventId: "e", actor: TALENT, type: VIEW, talentId: "t1",
               jobId: "j1" }] }) { acceptedCount } }"""
    response = await market.client.get("/graphql", params={"query": query})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert code_of(response) == "METHOD_NOT_ALLOWED"
    both = {
        "query": f"query q {{ viewer {{ roles }} }} {query.replace('mutation', 'mutation m')}",
        "operationName": "m",
    }
    assert (await market.client.get("/graphql", params=both)).status_code == 405
    assert market.events.calls == {}


async def test_an_error_of_execution_is_200_with_its_data(market: ServedMarket) -> None:
    query = '{ viewer { roles } job(jobId: "") { id } }'
    response = await market.client.post("/graphql", json={"query": query}, headers={"Accept": GRAPHQL})
    assert response.status_code == 200
    assert response.json()["data"] == {"viewer": {"roles": ["engineer"]}, "job": None}
    assert code_of(response) == "BAD_USER_INPUT"


async def test_nothing_large_is_echoed(market: ServedMarket) -> None:
    query = "query($f: JobFilter) { jobs(filter: $f) { totalCount } }"
    variables = {"f": {"levels": ["x" * 500_000]}}
    response = await market.client.post("/graphql", json={"query": query, "variables": variables})
    assert code_of(response) == "BAD_USER_INPUT"
    assert len(response.content) < 2_000


async def test_a_bomb_of_fragments_is_settled_in_a_blink(market: ServedMarket) -> None:
    import time

    depth = 60
    fragments = "".join(
        f"fragment F{n} on Job {{ similarJobs(first: 1) {{ nodes {{ ...F{n + 1} ...F{n + 1} }} }} }} "
        for n in range(depth)
    )
    query = f'{{ job(jobId: "j1") {{ ...F0 }} }} {fragments} fragment F{depth} on Job {{ id }}'
    start = time.process_time()
    response = await market.client.post("/graphql", json={"query": query})
    assert time.process_time() - start < 2
    assert code_of(response) in ("QUERY_TOO_LARGE", "GRAPHQL_VALIDATION_FAILED")


async def test_the_document_cache_is_bounded_and_holds_valid_documents_alone(market: ServedMarket) -> None:
    for number in range(CACHED_DOCUMENTS + 20):
        await market.data(f"{{ a{number}: viewer {{ roles }} }}")
    assert len(DOCUMENTS) == CACHED_DOCUMENTS
    before = len(DOCUMENTS)
    await market.ask("{ nope_and_never }")
    assert len(DOCUMENTS) == before


async def test_a_cached_document_is_answered_with_the_variables_of_each_request(market: ServedMarket) -> None:
    query = "query($n: Int) { jobs(first: $n) { nodes { jobId } } }"
    for size in (1, 3, 101, 2):
        answer = await market.ask(query, {"n": size})
        assert ("errors" in answer) == (size == 101)
        assert size == 101 or len(answer["data"]["jobs"]["nodes"]) == size


async def test_introspection_works(market: ServedMarket) -> None:
    data = await market.data(get_introspection_query(descriptions=True))
    assert data["__schema"]["queryType"]["name"] == "Query"


async def test_a_large_answer_is_compressed_for_who_can_read_it(market: ServedMarket) -> None:
    body = {"query": "{ jobs(first: 40) { nodes { jobId title } } }"}
    compressed = await market.client.post("/graphql", json=body, headers={"Accept-Encoding": "gzip"})
    plain = await market.client.post("/graphql", json=body, headers={"Accept-Encoding": "identity"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert compressed.json() == plain.json()
    small = await market.client.post("/graphql", json={"query": QUERY}, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


async def test_every_answer_has_a_request_id_and_a_callers_own_is_kept(market: ServedMarket) -> None:
    for path in ("/graphql", "/livez", "/nowhere"):
        response = await market.client.get(path, headers={"X-Request-Id": "trace-1"})
        assert response.headers["x-request-id"] == "trace-1"
    response = await market.client.get("/livez", headers={"X-Request-Id": "no\tgood " * 20})
    assert response.headers["x-request-id"].startswith("r")


async def test_a_browser_gets_the_page_and_a_program_does_not(market: ServedMarket) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    page = await market.client.get("/graphql", headers=browser)
    assert page.headers["content-type"].startswith("text/html")
    assert "content-security-policy" in page.headers
    program = await market.client.get("/graphql")
    assert (program.status_code, code_of(program)) == (400, "BAD_REQUEST")
    query = await market.client.get("/graphql", params={"query": QUERY}, headers=browser)
    assert query.json() == {"data": {"viewer": {"roles": ["engineer"]}}}
    assert (await market.client.get("/")).headers["location"] == "/graphql"


async def test_an_unknown_path_is_404_in_json(market: ServedMarket) -> None:
    response = await market.client.get("/nowhere")
    assert (response.status_code, code_of(response)) == (404, "NOT_FOUND")


async def test_the_probes_say_how_it_is(market: ServedMarket) -> None:
    assert (await market.client.get("/livez")).json() == {"status": "live"}
    assert (await market.client.get("/readyz")).json() == {"status": "ready", "model": "m1"}


async def test_nothing_of_a_query_reaches_the_log(
    market: ServedMarket, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    market.catalogue.failing["get_many"] = ValueError("argument s3cret-id")
    await market.ask('{ talent(talentId: "s3cret-id") { title } }')
    await market.ask('{ nope(secret: "s3cret-id") }')
    await market.client.get("/graphql", params={"query": '{ job(jobId: "s3cret-id") { id } }'})
    out, err = capsys.readouterr()
    assert "s3cret-id" not in out + err + caplog.text
    assert "unexpected error" in out + err + caplog.text


async def test_a_cache_on_the_way_is_told_that_answers_differ_by_what_encodings_are_taken(market: ServedMarket) -> None:
    asked = {"query": "{ jobs(first: 40) { nodes { id jobId title } } }"}
    plain = await market.client.post("/graphql", json=asked, headers={"Accept-Encoding": "identity"})
    packed = await market.client.post("/graphql", json=asked, headers={"Accept-Encoding": "gzip"})
    small = await market.client.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"Accept-Encoding": "identity"}
    )
    assert plain.json() == packed.json()
    assert [one.headers.get("vary") for one in (plain, packed, small)] == ["Accept-Encoding", "Accept-Encoding", None]
    assert [one.headers.get("content-encoding") for one in (plain, packed, small)] == [None, "gzip", None]
