"""The subgraph: what a router may ask, what a batch costs, what is refused. A real router is in tests/clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from graphql import GraphQLObjectType, GraphQLSchema, build_ast_schema, parse

from gateway.cli import main
from gateway.graphql.federation import MAX_REPRESENTATIONS, build_subgraph
from gateway.graphql.ids import NodeType, relay_id
from gateway.graphql.schema import printed_schema
from gateway.http.app import build_app
from gateway.http.auth import build_access
from gateway.settings import Settings, SettingsError, load_settings
from recommender.errors import BadInputError, UnavailableError
from tests.gateway.served_market import BASE, ServedMarket

SUBGRAPH = build_subgraph("Freelancer.id,Gig.gigId", "Our")

ENTITIES = """
    query Entities($keys: [_Any!]!, $first: Int = 3) {
      _entities(representations: $keys) {
        __typename
        ... on Freelancer { id recommendedJobs(first: $first) { nodes { gigId } edges { rank reasons { text } } } }
        ... on Gig { gigId recommendedTalents(first: 2) { nodes { id } } similarJobs(first: 2) { nodes { gigId } } }
      }
    }
"""


def schema_of(sdl: str) -> GraphQLSchema:
    """The types of an SDL whose directives are defined by the federation's specification alone."""
    return build_ast_schema(parse(sdl.partition("\n")[2]), assume_valid_sdl=True)


def fields_of(schema: GraphQLSchema, name: str) -> list[str]:
    found = schema.type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return list(found.fields)


def talent(own_id: str) -> dict[str, str]:
    return {"__typename": "Freelancer", "id": own_id}


@pytest.fixture
async def router(market: ServedMarket) -> AsyncIterator[httpx.AsyncClient]:
    """What a router sends through: the tiny market's gateway, for the token alone."""
    access = build_access(Settings(auth="token", service_token="sesame"))  # type: ignore[arg-type]
    app = build_app(market.services, access, federation=SUBGRAPH.schema)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": "Bearer sesame"}
    async with httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers) as client:
        yield client


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    response = await client.post("/federation", json={"query": query, "variables": variables})
    answer: dict[str, Any] = response.json()
    return answer


async def test_the_printed_schema_is_the_served_one(router: httpx.AsyncClient) -> None:
    assert await ask(router, "{ _service { sdl } }") == {"data": {"_service": {"sdl": SUBGRAPH.sdl}}}


def test_an_entity_has_its_key_and_what_is_ours() -> None:
    schema = schema_of(SUBGRAPH.sdl)

    assert fields_of(schema, "Freelancer") == ["id", "recommendedJobs", "similarTalents", "interactions"]
    assert fields_of(schema, "Gig") == ["gigId", "recommendedTalents", "similarJobs", "interactions"]
    assert fields_of(schema, "Query") == ["recommendedJobs"]
    assert fields_of(schema, "Mutation") == ["recordEvents"]
    assert 'type Freelancer @key(fields: "id") {' in SUBGRAPH.sdl
    assert 'type Gig @key(fields: "gigId") {' in SUBGRAPH.sdl


def test_every_other_name_is_ours_or_shared() -> None:
    names = {name for name in schema_of(SUBGRAPH.sdl).type_map if not name.startswith(("__", "Our"))}

    assert names == {
        *("Query", "Mutation", "Freelancer", "Gig"),
        *("PageInfo", "DateTime", "Decimal"),
        *("ID", "String", "Int", "Float", "Boolean"),
    }
    assert "type PageInfo @shareable {" in SUBGRAPH.sdl


def test_making_a_subgraph_leaves_the_schema_as_it_is() -> None:
    before = printed_schema()
    build_subgraph("Talent.id,Job.id", "Tandem")

    assert printed_schema() == before


async def test_an_entity_has_the_lists_of_the_whole_schema(market: ServedMarket, router: httpx.AsyncClient) -> None:
    whole = await market.data(
        '{ talent(talentId: "t3") { recommendedJobs(first: 3) { nodes { jobId } edges { rank reasons { text } } } } }'
    )
    expected = whole["talent"]["recommendedJobs"]

    answer = await ask(router, ENTITIES, keys=[talent("t3")])

    (found,) = answer["data"]["_entities"]
    assert found["id"] == "t3"
    assert found["recommendedJobs"] == {
        "nodes": [{"gigId": node["jobId"]} for node in expected["nodes"]],
        "edges": expected["edges"],
    }


async def test_many_entities_are_as_many_calls_as_one(market: ServedMarket, router: httpx.AsyncClient) -> None:
    def calls() -> list[dict[str, int]]:
        return [dict(port.calls) for port in (market.catalogue, market.events, market.serving_log)]

    jobs = [{"__typename": "Gig", "gigId": f"j{number}"} for number in range(1, 11)]
    await ask(router, ENTITIES, keys=[talent("t1"), *jobs[:1]])  # reads what later requests find in memory
    market.reset_counts()
    one = await ask(router, ENTITIES, keys=[talent("t2"), *jobs[1:2]])
    calls_of_one = calls()
    market.reset_counts()
    many = await ask(router, ENTITIES, keys=[*(talent(f"t{number}") for number in range(3, 23)), *jobs[2:]])

    assert "errors" not in one
    assert "errors" not in many
    assert len(many["data"]["_entities"]) == 28
    assert calls() == calls_of_one


async def test_references_come_in_their_order_and_an_id_is_its_bytes(router: httpx.AsyncClient) -> None:
    ids = ["t2", "T2", "t1", " t1", "t2", "é", "e\u0301"]

    answer = await ask(
        router,
        "query($keys: [_Any!]!) { _entities(representations: $keys) { ... on Freelancer { id } } }",
        keys=[talent(own_id) for own_id in ids],
    )

    assert answer == {"data": {"_entities": [{"id": own_id} for own_id in ids]}}


async def test_an_unknown_talent_has_what_is_popular_and_an_unknown_job_no_list(router: httpx.AsyncClient) -> None:
    answer = await ask(
        router,
        """query($keys: [_Any!]!) { _entities(representations: $keys) {
          ... on Freelancer { recommendedJobs(first: 1) { strategy nodes { gigId } } interactions { nodes { type } } }
          ... on Gig { gigId recommendedTalents { nodes { id } } }
        } }""",
        keys=[talent("nobody"), {"__typename": "Gig", "gigId": "nothing"}],
    )

    nobody, nothing = answer["data"]["_entities"]
    assert nobody["recommendedJobs"]["strategy"] == "POPULAR"
    assert len(nobody["recommendedJobs"]["nodes"]) == 1
    assert nobody["interactions"] == {"nodes": []}
    assert nothing == {"gigId": "nothing", "recommendedTalents": None}
    assert "errors" not in answer


@pytest.mark.parametrize(
    ("key", "code", "says"),
    [
        ({"__typename": "Talent", "id": "t1"}, "BAD_USER_INPUT", "Freelancer or Gig"),
        ({"id": "t1"}, "BAD_USER_INPUT", "Freelancer or Gig"),
        ("t1", "BAD_USER_INPUT", "Freelancer or Gig"),
        (["t1"], "BAD_USER_INPUT", "Freelancer or Gig"),
        ({"__typename": ["Gig"]}, "BAD_USER_INPUT", "Freelancer or Gig"),
        ({"__typename": "Gig", "id": "j1"}, "BAD_USER_INPUT", "each Gig has its id in `gigId`"),
        ({"__typename": "Freelancer", "id": None}, "BAD_USER_INPUT", "each Freelancer has its id in `id`"),
        ({"__typename": "Freelancer", "id": True}, "BAD_USER_INPUT", "each Freelancer has its id in `id`"),
        (talent(""), "BAD_USER_INPUT", "1 to 256 bytes"),
        (talent("é" * 129), "BAD_USER_INPUT", "got 258"),
        (talent(relay_id(NodeType.TALENT, "t1")), "WRONG_ID_KIND", "Relay id"),
    ],
    ids=repr,
)
async def test_a_faulty_reference_is_an_error_in_its_place_alone(
    router: httpx.AsyncClient, key: object, code: str, says: str
) -> None:
    answer = await ask(router, ENTITIES, keys=[talent("t1"), key, talent("t2")])

    first, faulty, last = answer["data"]["_entities"]
    assert (first["id"], faulty, last["id"]) == ("t1", None, "t2")
    (error,) = answer["errors"]
    assert (error["path"], error["extensions"]["code"]) == (["_entities", 1], code)
    assert says in error["message"]


async def test_a_key_may_be_a_number_or_written_in_the_query(router: httpx.AsyncClient) -> None:
    answer = await ask(
        router,
        """query($id: ID!) { _entities(representations: [
          { __typename: "Freelancer", id: 17 }, { __typename: "Freelancer", id: $id }
        ]) { ... on Freelancer { id } } }""",
        id="t1",
    )

    assert answer == {"data": {"_entities": [{"id": "17"}, {"id": "t1"}]}}


async def test_the_number_of_references_is_limited(router: httpx.AsyncClient) -> None:
    query = "query($keys: [_Any!]!) { _entities(representations: $keys) { __typename } }"
    keys = [talent(f"t{number}") for number in range(MAX_REPRESENTATIONS + 1)]

    at_most = await ask(router, query, keys=keys[1:])
    too_many = await ask(router, query, keys=keys)

    assert len(at_most["data"]["_entities"]) == MAX_REPRESENTATIONS
    assert too_many["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert "at most 500; got 501" in too_many["errors"][0]["message"]


async def test_each_reference_counts_in_the_size_of_an_answer(market: ServedMarket, router: httpx.AsyncClient) -> None:
    keys = [talent(f"t{number}") for number in range(200)]
    written = " ".join(f'{{ __typename: "Freelancer", id: "{key["id"]}" }}' for key in keys)
    market.reset_counts()

    by_variable = await ask(router, ENTITIES, keys=keys, first=100)
    by_default = ENTITIES.replace("$keys: [_Any!]!", f"$keys: [_Any!]! = [{written}]")
    in_the_text = ENTITIES.replace("$keys: [_Any!]!, ", "").replace("$keys", f"[{written}]")

    for answer in (by_variable, await ask(router, by_default, first=100), await ask(router, in_the_text, first=100)):
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "QUERY_TOO_LARGE"
    assert not market.catalogue.calls


async def test_nobody_without_the_token_reads_even_the_schema(router: httpx.AsyncClient) -> None:
    response = await router.post(
        "/federation", json={"query": "{ _service { sdl } }"}, headers={"Authorization": "Bearer wrong"}
    )

    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_part_that_is_down_is_masked_and_an_error_of_its_field(
    market: ServedMarket, router: httpx.AsyncClient
) -> None:
    market.events.failing["history"] = UnavailableError("event log", "redis://user:secret@host refused")

    answer = await ask(
        router,
        "query($keys: [_Any!]!) { _entities(representations: $keys) "
        "{ ... on Freelancer { id interactions { nodes { type } } } } }",
        keys=[talent("t1")],
    )

    assert answer["data"] == {"_entities": [{"id": "t1", "interactions": None}]}
    (error,) = answer["errors"]
    assert (error["extensions"]["code"], "secret" in str(answer)) == ("UNAVAILABLE", False)


async def test_a_text_is_read_by_the_schema_it_was_sent_to(router: httpx.AsyncClient) -> None:
    query = "{ viewer { roles } }"
    for _ in range(2):
        whole = (await router.post("/graphql", json={"query": query})).json()
        assert whole == {"data": {"viewer": {"roles": ["service"]}}}
        assert (await ask(router, query))["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_without_the_setting_there_is_no_such_address(market: ServedMarket) -> None:
    response = await market.client.post("/federation", json={"query": "{ _service { sdl } }"})

    assert response.status_code == 404


@pytest.mark.parametrize(
    "names",
    [
        "Talent.id,Talent.id",
        "Talent.id,PageInfo.id",
        "Query.id,Job.id",
        "Talent.id,OurReason.id",
        "Talent.recommendedJobs,Job.id",
        "Talent.id,String.id",
    ],
)
def test_a_name_that_is_taken_is_refused_in_one_line(names: str) -> None:
    with pytest.raises(BadInputError, match=f"^TANDEM_FEDERATION={names} cannot be served: .+") as raised:
        build_subgraph(names, "Our")

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "names", ["Talent", "Talent.id", "Talent.id;Job.id", "Talent.id,Job.id,Client.id", "_T.id,Job.id", "T.é,Job.id"]
)
def test_names_that_are_none_are_refused(names: str) -> None:
    with pytest.raises(SettingsError, match=r"^TANDEM_FEDERATION: allowed is .* such as Talent\.id,Job\.id; got"):
        load_settings(federation=names)


def test_a_router_is_not_held_to_documents_that_it_cannot_know(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TANDEM_FEDERATION needs TANDEM_OPERATIONS=any"):
        load_settings(federation="Talent.id,Job.id", operations="trusted", trusted_documents=tmp_path / "manifest.json")


def test_the_command_prints_the_subgraph(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_FEDERATION", "Talent.id,Job.jobId")
    with pytest.raises(SystemExit) as ended:
        main(["schema", "--federation"])

    assert (ended.value.code, capsys.readouterr().out) == (0, build_subgraph("Talent.id,Job.jobId", "Tandem").sdl)


def test_the_command_says_which_setting_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TANDEM_FEDERATION", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["schema", "--federation"])

    assert ended.value.code not in (0, None)
    assert "TANDEM_FEDERATION is not set" in capsys.readouterr().err
