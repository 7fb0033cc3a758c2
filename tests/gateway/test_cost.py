"""What an operation costs: said before and after it, never less than what the answer holds, and bounded."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import parse

from gateway.graphql.cost import MAX_OBJECTS, actual_cost, requested_cost
from gateway.graphql.federation import build_subgraph
from gateway.graphql.schema import SCHEMA
from tests.gateway.served_market import ServedMarket

EVENT = {"eventId": "e", "actor": "TALENT", "type": "VIEW", "talentId": "t1", "jobId": "j1"}


def cost(text: str, **variables: Any) -> int:
    return requested_cost(SCHEMA._schema, parse(text), None, variables)


def test_pages_multiply_by_their_size_and_facets_by_their_buckets() -> None:
    assert cost("{ viewer { roles } }") == 1
    assert cost("{ jobs(first: 3) { totalCount } }") == 1 + 3
    assert cost("{ jobs(first: 3) { nodes { jobId } } }") == 1 + 3
    assert cost("{ jobs(first: 3) { edges { node { jobId client { clientId } } } } }") == 1 + 3 * 3
    assert cost("{ jobs(first: 3) { ...F ...F } } fragment F on JobConnection { nodes { jobId } }") == 1 + 3 * 2
    assert cost("{ jobs(first: 3, last: 5) { totalCount } }") == 1 + 5
    assert cost("query($n: Int = 7) { jobs(first: $n) { totalCount } }") == 1 + 7
    assert cost("query($n: Int = 7) { jobs(first: $n) { totalCount } }", n=2) == 1 + 2
    assert cost("query($n: Int) { jobs(first: $n) { totalCount } }", n=70.0) == 1 + 70  # an Int in JSON
    assert cost("query($n: Int) { jobs(last: $n) { totalCount } }", n=70.0) == 1 + 70
    assert cost('{ nodes(ids: ["a", "b"]) { id } }') == 2
    assert cost("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=["a"] * 200) == 100
    assert cost("{ jobs(first: 1) { facets(size: 10) { name buckets { value } } } }") == 2 + 6 * 11
    assert cost('{ jobs(first: 1) { facets(attributes: ["a", "b"]) { name } } }') == 2 + 8 * 21
    assert cost("{ __schema { types { name fields { name } } } }") == 0


def test_a_mutation_is_as_large_as_what_its_items_are_about() -> None:
    text = """mutation($events: [EventInput!]!) { recordEvents(input: { events: $events }) {
                talents { recommendedJobs(first: 50) { totalCount } } } }"""
    one_talent = [{**EVENT, "eventId": str(number)} for number in range(500)]
    many = [{**event, "talentId": f"t{place}"} for place, event in enumerate(one_talent)]
    assert cost(text, events=one_talent) == 1 + 1 * (2 + 50)
    assert cost(text, events=many) == 1 + 500 * (2 + 50)


def test_a_default_counts_like_what_is_sent() -> None:
    events = ", ".join(
        f'{{ eventId: "{n}", actor: TALENT, type: VIEW, talentId: "t{n}", jobId: "j" }}' for n in range(9)
    )
    text = f"""mutation($input: RecordEventsInput! = {{ events: [{events}] }}) {{ recordEvents(input: $input) {{
                 talents {{ recommendedJobs(first: 50) {{ totalCount }} }} }} }}"""
    assert cost(text) == 1 + 9 * (2 + 50)


def test_what_a_score_consists_of_counts_with_the_lists_below_it() -> None:
    text = """{ explain(talentId: "t1", jobId: "j1", side: TALENT) {
                contributions { reason { jobs { similarJobs(first: 50) { totalCount } } } } } }"""
    assert cost(text) == 1 + 100 * (1 + 1 + 1 + 51)


def test_a_router_pays_for_every_key() -> None:
    subgraph = build_subgraph("Talent.id,Job.id", "Tandem").schema._schema
    text = """query($keys: [_Any!]!) { _entities(representations: $keys) { ... on Talent {
                recommendedJobs(first: 50) { totalCount } } } }"""
    keys = [{"__typename": "Talent", "id": str(number), "talentId": "t", "jobId": "j"} for number in range(100)]
    assert requested_cost(subgraph, parse(text), None, {"keys": keys}) == 100 * (1 + 51)


def test_a_deep_variable_is_no_reason_to_fail() -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    assert cost("mutation($input: RecordEventsInput!) { recordEvents(input: $input) { token } }", input=deep) == 1


SCREENS = (
    "{ viewer { roles } rateLimit { cost } }",
    "{ jobs(first: 30) { nodes { jobId client { clientId } } facets(size: 30) { name buckets { value } } } }",
    """{ nodes(ids: IDS) { ... on Talent {
           recommendedJobs(first: 9) { edges { reasons { text jobs { title } } } } } } }""",
    '{ talent(talentId: "t1") { interactions(last: 5) { edges { node { job { title } talent { title } } } } } }',
)


@pytest.mark.parametrize("query", SCREENS)
async def test_an_answer_holds_no_more_than_was_said_before(market: ServedMarket, query: str) -> None:
    talents = await market.data("{ talents(first: 20) { nodes { id } } }")
    ids = "[" + ", ".join(f'"{node["id"]}"' for node in talents["talents"]["nodes"]) + "]"
    answer = await market.ask(query.replace("IDS", ids), **{"Tandem-Cost": "1"})
    told = answer["extensions"]["cost"]
    assert 0 < told["actualQueryCost"] == actual_cost(answer["data"]) <= told["requestedQueryCost"]
    assert (told["maximumQueryCost"], told["throttleStatus"]) == (MAX_OBJECTS, None)


async def test_nobody_is_told_the_cost_who_does_not_ask(market: ServedMarket) -> None:
    assert set(await market.ask("{ viewer { roles } }")) == {"data"}
    refused = await market.ask("{ nope }", **{"Tandem-Cost": "1"})
    assert set(refused) == {"errors"}


async def test_the_rate_limit_says_what_this_operation_costs_and_that_nothing_else_is_limited(
    market: ServedMarket,
) -> None:
    query = "{ rateLimit { cost maximumCost limit remaining resetAt } jobs(first: 10) { nodes { jobId } } }"
    assert (await market.data(query))["rateLimit"] == {
        "cost": 2 + 10,
        "maximumCost": MAX_OBJECTS,
        "limit": None,
        "remaining": None,
        "resetAt": None,
    }
