"""What settings change of HTTP: batches of operations, and the status of what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.http.negotiation import GRAPHQL
from gateway.settings import Settings
from tests.gateway.served_market import ServedMarket, close_market, open_market

ROLES = {"query": "{ viewer { roles } }"}


@pytest.fixture
async def draft_market(tmp_path: Path) -> AsyncIterator[ServedMarket]:
    """The market with both settings."""
    opened = await open_market(tmp_path, Settings(auth="open", batch_operations=3, refused_status="422"))
    yield opened
    await close_market(opened)


async def status(market: ServedMarket, body: Any, accept: str = GRAPHQL) -> tuple[int, Any]:
    """Status and JSON of one request."""
    response = await market.client.post("/graphql", json=body, headers={"Accept": accept})
    return response.status_code, response.json()


async def test_a_batch_is_refused_unless_a_setting_allows_it(market: ServedMarket) -> None:
    code, answer = await status(market, [ROLES])
    assert code == 400
    assert "TANDEM_BATCH_OPERATIONS" in answer["errors"][0]["message"]


async def test_operations_of_a_batch_are_answered_one_by_one_in_their_order(draft_market: ServedMarket) -> None:
    event = {"eventId": "e-1", "actor": "TALENT", "type": "APPLY", "talentId": "t1", "jobId": "j30"}
    record = {
        "query": "mutation($e: [EventInput!]!) { recordEvents(input: { events: $e }) { acceptedCount } }",
        "variables": {"e": [event]},
    }
    code, answers = await status(draft_market, [ROLES, record, {"query": "{ nope }"}])
    assert code == 200
    assert answers[0] == {"data": {"viewer": {"roles": ["engineer"]}}}
    assert answers[1] == {"data": {"recordEvents": {"acceptedCount": 1}}}
    assert [error["extensions"]["code"] for error in answers[2]["errors"]] == ["GRAPHQL_VALIDATION_FAILED"]


@pytest.mark.parametrize(("batch", "said"), [([], "1 to 3 operations"), ([ROLES] * 4, "got 4"), ([1], "JSON object")])
async def test_a_batch_has_its_bounds(draft_market: ServedMarket, batch: list[Any], said: str) -> None:
    code, answer = await status(draft_market, batch, "application/json")
    assert code == 400
    assert answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert said in answer["errors"][0]["message"]


REFUSED: dict[str, tuple[Any, int]] = {
    "a document that is not GraphQL": ({"query": "{"}, 400),
    "a field that there is not": ({"query": "{ nope }"}, 422),
    "a variable that does not fit": ({"query": "query($n: Int!) { jobs(first: $n) { totalCount } }"}, 422),
    "no operation of that name": ({"query": "query A { viewer { roles } }", "operationName": "B"}, 422),
    "several operations and no name": ({"query": "query A { __typename } query B { __typename }"}, 422),
    "parameters of the wrong kind": ({"query": 1}, 422),
    "an error of execution": ({"query": "{ jobs(first: 0) { totalCount } }"}, 200),
    "a hash that is to be sent with its text": (
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
        200,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_the_newer_draft_tells_apart_what_cannot_be_parsed(draft_market: ServedMarket, name: str) -> None:
    body, expected = REFUSED[name]
    assert (await status(draft_market, body))[0] == expected


@pytest.mark.parametrize("name", [name for name, (_, expected) in REFUSED.items() if expected == 422])
async def test_without_the_setting_it_is_400(market: ServedMarket, name: str) -> None:
    assert (await status(market, REFUSED[name][0]))[0] == 400
