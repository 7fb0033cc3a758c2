"""The consistency token: what it says is shown, waited for, or refused; and what is read before the first request."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.graphql import consistency
from gateway.graphql.cursors import ConsistencyToken, encode_token
from gateway.http.warming import load_mirrors
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.ports import LogState
from tests.gateway.served_market import ServedMarket

QUERY = {"query": "{ viewer { roles } }"}


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistency, "PAUSE_SECONDS", 0)


async def answered(market: ServedMarket, token: ConsistencyToken) -> tuple[int, Any]:
    response = await market.client.post(
        "/graphql", json=QUERY, headers={"Tandem-Consistency-Token": encode_token(token)}
    )
    return response.status_code, response.json()


async def test_what_the_stores_show_already_costs_one_look(market: ServedMarket) -> None:
    seq = (await market.events.state()).last_seq
    revision = (await market.catalogue.mirror(Kind.JOB)).revision
    market.reset_counts()
    assert (await answered(market, ConsistencyToken(events=seq, jobs=revision)))[0] == 200
    assert (market.events.calls["state"], market.catalogue.calls["mirror"]) == (1, 1)


@pytest.mark.parametrize(
    ("token", "part"),
    [
        (ConsistencyToken(events=10**9), "event log"),
        (ConsistencyToken(talents=10**15), "catalogue"),
        (ConsistencyToken(jobs=10**15), "catalogue"),
    ],
)
async def test_a_store_that_has_lost_what_a_token_speaks_of_is_said(
    market: ServedMarket, token: ConsistencyToken, part: str
) -> None:
    status, body = await answered(market, token)
    assert (status, body["errors"][0]["extensions"]) == (503, {"code": "UNAVAILABLE"})
    assert body["errors"][0]["message"].startswith(f"{part} does not show yet what Tandem-Consistency-Token speaks of")
    assert market.events.calls["state"] + market.catalogue.calls["mirror"] == consistency.LOOKS


async def test_a_store_that_is_late_is_waited_for(market: ServedMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    states = [LogState(6, None), LogState(6, None), LogState(7, None)]

    async def state() -> LogState:
        return states.pop(0)

    monkeypatch.setattr(market.events, "state", state, raising=False)
    assert (await answered(market, ConsistencyToken(events=7)))[0] == 200
    assert states == []


async def test_a_store_that_does_not_answer_is_no_reason_to_promise(market: ServedMarket) -> None:
    market.events.failing["state"] = UnavailableError("event log", "at redis.internal")
    status, body = await answered(market, ConsistencyToken(events=1))
    assert (status, "internal" in str(body)) == (503, False)


async def test_documents_are_asked_for_again_before_the_first_request(market: ServedMarket) -> None:
    market.catalogue.failing["mirror"] = UnavailableError("catalogue")
    await load_mirrors(market.catalogue, pause_seconds=0)  # and gives up: what can be answered is answered
    failed = market.catalogue.calls["mirror"]
    assert failed >= 20
    market.catalogue.failing.clear()
    await load_mirrors(market.catalogue, pause_seconds=0)
    assert market.catalogue.calls["mirror"] == failed + len(Kind)
