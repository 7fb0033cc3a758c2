"""@defer: the parts of an answer, their two forms, and the whole for who does not read parts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gateway.graphql.incremental import PartsForm
from gateway.http.negotiation import parts_form
from tests.gateway.served_market import ServedMarket

PATHS = "multipart/mixed;deferSpec=20220824, application/json"
IDS = "multipart/mixed;incrementalSpec=v0.2, application/json"
SCREEN = """query Screen($deferred: Boolean! = true) {
  talent(talentId: "t1") { title ...Slow @defer(if: $deferred, label: "slow") }
  ... @defer { talent(talentId: "t1") { country } }
}
fragment Slow on Talent { recommendedJobs(first: 2) { edges { rank node { jobId } } } }"""


async def parts(market: ServedMarket, query: str, accept: str, **variables: Any) -> list[dict[str, Any]]:
    body = {"query": query, "variables": variables}
    response = await market.client.post("/graphql", json=body, headers={"Accept": accept})
    assert response.status_code == 200
    if not response.headers["content-type"].startswith("multipart/mixed"):
        return [response.json()]
    assert response.headers["cache-control"] == "private, no-store"
    before, *texts, end = response.text.split("\r\n---")
    assert (before, end) == ("", "--\r\n")
    heads, bodies = zip(*(text.split("\r\n\r\n", 1) for text in texts), strict=True)
    assert set(heads) == {"\r\nContent-Type: application/json; charset=utf-8"}
    return [json.loads(one) for one in bodies]


def merged(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client that places parts by path makes of them."""
    data: dict[str, Any] = found[0]["data"]

    def put(into: dict[str, Any], part: dict[str, Any]) -> None:
        for key, value in part.items():
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                put(into[key], value)
            else:
                into[key] = value

    for part in found[1:]:
        for one in part["incremental"]:
            place: Any = data
            for step in one["path"]:
                place = place[step]
            put(place, one["data"])
    return data


async def test_the_parts_make_up_the_whole(market: ServedMarket) -> None:
    whole = await parts(market, SCREEN, "application/json")
    assert len(whole) == 1
    assert set(whole[0]["data"]["talent"]) == {"title", "country", "recommendedJobs"}

    found = await parts(market, SCREEN, PATHS)
    assert found[0]["data"] == {"talent": {"title": "Developer 1"}}
    assert [part["hasNext"] for part in found] == [True] * (len(found) - 1) + [False]
    assert {one.get("label") for part in found[1:] for one in part["incremental"]} == {"slow", None}
    assert merged(found) == whole[0]["data"]


async def test_the_newer_form_announces_parts_by_id(market: ServedMarket) -> None:
    first, *rest = await parts(market, SCREEN, IDS)
    assert first["pending"] == [{"id": "0", "path": []}, {"id": "1", "path": ["talent"], "label": "slow"}]
    delivered = [one for part in rest for one in part["incremental"]]
    assert [(one["id"], one.get("subPath")) for one in delivered] == [("0", ["talent"]), ("1", None)]
    assert [one for part in rest for one in part["completed"]] == [{"id": "0"}, {"id": "1"}]


async def test_the_first_part_is_sent_before_anything_of_the_others_is_asked(market: ServedMarket) -> None:
    body = json.dumps({"query": SCREEN}).encode()
    events = iter([{"type": "http.request", "body": body}])
    asked: list[int] = []

    async def receive() -> Any:
        return next(events, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            asked.append(market.events.calls["history"])

    headers = {"host": "127.0.0.1", "content-type": "application/json", "accept": PATHS}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": raw}
    async with asyncio.timeout(10):
        await market.client._transport.app(scope, receive, send)  # type: ignore[attr-defined]
    assert (asked[0], asked[-1]) == (0, 1)


async def test_a_fragment_that_is_not_deferred_after_all_makes_one_part(market: ServedMarket) -> None:
    query = SCREEN.replace('  ... @defer { talent(talentId: "t1") { country } }', "")
    (whole,) = await parts(market, query, PATHS, deferred=False)
    assert "hasNext" not in whole


@pytest.mark.parametrize("accept", [PATHS, IDS])
async def test_what_fails_in_a_part_is_told_in_that_part_and_masked(market: ServedMarket, accept: str) -> None:
    market.events.failing["history"] = RuntimeError("the password is hunter2")
    first, *rest = await parts(market, SCREEN, accept)
    assert "errors" not in first
    (failed,) = [one for part in rest for one in part["incremental"] if "errors" in one]
    assert failed["data"] == {"recommendedJobs": None}
    assert [error["extensions"]["code"] for error in failed["errors"]] == ["INTERNAL"]
    assert "hunter2" not in json.dumps(rest)


async def test_a_part_of_which_nothing_is_left_is_null_with_its_error(market: ServedMarket) -> None:
    query = """{ talent(talentId: "t1") { title
      recommendedJobs(first: 1) { totalCount ... on RecommendedJobConnection @defer { edges { node { ...Gone } } } } } }
    fragment Gone on Job { attributes(names: NAMES) { name } }"""
    too_many = query.replace("NAMES", json.dumps(["x"] * 1_001))
    *_, last = await parts(market, too_many, PATHS)
    assert last["incremental"][0]["data"] is None
    assert last["incremental"][0]["path"] == ["talent", "recommendedJobs"]
    assert last["incremental"][0]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    *_, newer = await parts(market, too_many, IDS)
    assert "incremental" not in newer
    assert newer["completed"][0]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_refused_request_is_refused_in_one_piece(market: ServedMarket) -> None:
    for query in (
        "{ ... @defer { nope } }",
        "mutation { ... @defer { deleteTalent(input: { id: \"x\" }) { deletedId } } }",
        '{ a: talent(talentId: "t1") { ... @defer(label: "x") { id } ... @defer(label: "x") { id } } }',
    ):  # fmt: skip
        (answer,) = await parts(market, query, PATHS)
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"GRAPHQL_VALIDATION_FAILED"}


def test_parts_are_for_who_asks_for_them() -> None:
    asked = {
        "application/json": None,
        "*/*": None,
        "multipart/mixed, application/json": PartsForm.PATHS,
        "application/json, multipart/mixed;deferSpec=20220824": PartsForm.PATHS,
        "multipart/mixed;incrementalSpec=v0.2,application/json;q=0.9": PartsForm.IDS,
        "multipart/mixed;deferSpec=20990101, application/json": None,
        "multipart/mixed;q=0, application/json": None,
        "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json": None,
    }
    assert {accept: parts_form(accept) for accept in asked} == asked
