"""Operations by name: Apollo's automatic persisted queries to the letter, and trusted documents."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.adapters.redis.cache import RedisCache
from gateway.adapters.redis.server import Timeouts
from gateway.graphql.persisted import (
    FRUITLESS_PER_SECOND,
    KEPT,
    KEPT_TEXT,
    MOST_FRUITLESS,
    MemoryOperations,
    PersistedOperations,
    SharedOperations,
)
from gateway.graphql.schema import trusted_by
from gateway.http.app import build_app
from gateway.http.auth import build_access
from gateway.http.negotiation import GRAPHQL
from gateway.settings import Settings, SettingsError, load_settings
from recommender.errors import BadInputError
from tests.gateway.served_market import BASE, ServedMarket
from tests.servers import RedisServer, running_redis

QUERY = "query Roles { viewer { roles } }"
TRUSTED = "query Trusted($id: ID!) { talent(talentId: $id) { talentId } }"
TOKEN = "a-token-for-tests"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def persisted(text: str, version: int = 1) -> dict[str, Any]:
    return {"persistedQuery": {"version": version, "sha256Hash": sha256(text)}}


def codes(response: httpx.Response) -> list[str]:
    return [error["extensions"]["code"] for error in response.json()["errors"]]


async def post(client: httpx.AsyncClient, body: dict[str, Any], accept: str = GRAPHQL) -> httpx.Response:
    return await client.post("/graphql", json=body, headers={"Accept": accept})


@pytest.mark.parametrize("accept", ["application/json", GRAPHQL])
async def test_an_unknown_hash_is_answered_as_apollos_clients_expect(market: ServedMarket, accept: str) -> None:
    response = await post(market.client, {"extensions": persisted(QUERY)}, accept)

    assert response.status_code == 200
    assert response.json() == {
        "errors": [{"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}]
    }


async def test_a_registered_text_is_answered_by_its_hash_alone_by_post_and_get(market: ServedMarket) -> None:
    first = await post(market.client, {"query": QUERY, "extensions": persisted(QUERY)})
    again = await post(market.client, {"extensions": persisted(QUERY)})
    by_get = await market.client.get(
        "/graphql", params={"extensions": json.dumps(persisted(QUERY)), "operationName": "Roles"}
    )

    assert first.json() == again.json() == by_get.json() == {"data": {"viewer": {"roles": ["engineer"]}}}


async def test_a_mutation_that_is_known_by_hash_is_not_run_by_get(market: ServedMarket) -> None:
    text = 'mutation { recordEvents(input: {events: [{eventId: "x", type: VIEW, actor: TALENT, talentId: "t1", jobId: "j1"}]}) { acceptedCount } }'  # noqa: E501
    await post(market.client, {"query": text, "extensions": persisted(text)})

    response = await market.client.get("/graphql", params={"extensions": json.dumps(persisted(text))})

    assert response.status_code == 405


async def test_a_hash_of_another_text_registers_nothing(market: ServedMarket) -> None:
    response = await post(market.client, {"query": QUERY, "extensions": persisted(TRUSTED)})

    assert (response.status_code, codes(response)) == (400, ["BAD_REQUEST"])
    assert "sha" in response.json()["errors"][0]["message"]
    assert codes(await post(market.client, {"extensions": persisted(TRUSTED)})) == ["PERSISTED_QUERY_NOT_FOUND"]


@pytest.mark.parametrize(
    "extensions",
    [
        persisted(QUERY, version=2),
        {"persistedQuery": 1},
        {"persistedQuery": {"version": 1}},
        {"persistedQuery": []},
        {"persistedQuery": {"version": 1, "sha256Hash": "x" * 1_000}},
    ],
)
async def test_another_protocol_is_refused(market: ServedMarket, extensions: dict[str, Any]) -> None:
    response = await post(market.client, {"query": QUERY, "extensions": extensions})

    assert (response.status_code, codes(response)) == (400, ["BAD_REQUEST"])


@pytest.mark.parametrize("text", ["{ nothing }", "{", "{ jobs(first: 100) { nodes { similarJobs(first: 100) { nodes { similarJobs(first: 100) { nodes { jobId } } } } } } }"])  # fmt: skip  # noqa: E501
async def test_what_fails_validation_or_a_limit_is_not_registered(market: ServedMarket, text: str) -> None:
    refused = await post(market.client, {"query": text, "extensions": persisted(text)})
    asked = await post(market.client, {"extensions": persisted(text)})

    assert refused.status_code == 400
    assert codes(asked) == ["PERSISTED_QUERY_NOT_FOUND"]


async def test_a_long_text_is_answered_and_not_kept(market: ServedMarket) -> None:
    text = QUERY + " " * KEPT_TEXT

    assert "data" in (await post(market.client, {"query": text, "extensions": persisted(text)})).json()
    assert codes(await post(market.client, {"extensions": persisted(text)})) == ["PERSISTED_QUERY_NOT_FOUND"]


async def test_the_store_is_bounded_and_forgets_what_was_not_asked_for_longest() -> None:
    store = MemoryOperations()
    for number in range(KEPT):
        await store.put(str(number), "text")
    await store.get("0")
    await store.put("one more", "text")

    assert await store.get("0") == "text"
    assert await store.get("1") is None
    assert await store.get("one more") == "text"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis"), "--appendonly", "no") as running:
        yield running


def shared_by(server: RedisServer, process: str) -> RedisCache:
    patient = Timeouts(connect_ms=3_000, read_ms=3_000, write_ms=3_000)
    names = {"namespace": "test", "catalogue": "c", "process": process}
    return RedisCache.open(server.url, **names, max_bytes=10_000_000, timeouts=patient)


async def test_what_one_gateway_was_told_every_gateway_knows(redis_server: RedisServer) -> None:
    one, other = shared_by(redis_server, "p1"), shared_by(redis_server, "p2")
    await SharedOperations(one, time.monotonic).put(sha256(QUERY), QUERY)

    assert await SharedOperations(other, time.monotonic).get(sha256(QUERY)) == QUERY
    assert await SharedOperations(other, time.monotonic).get(sha256(TRUSTED)) is None
    one.close()
    other.close()


async def test_a_text_that_is_not_of_its_hash_is_not_taken_from_the_shared_store(redis_server: RedisServer) -> None:
    cache = shared_by(redis_server, "p1")
    await cache.put_text(sha256(TRUSTED), 'mutation { deleteJob(input: {id: "j1"}) { deletedId } }', 60_000)

    assert await SharedOperations(cache, time.monotonic).get(sha256(TRUSTED)) is None
    cache.close()


async def test_without_the_shared_store_a_process_goes_on_with_its_own(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis", "--appendonly", "no") as server:
        cache = shared_by(server, "p1")
    operations = SharedOperations(cache, time.monotonic)
    await operations.put(sha256(QUERY), QUERY)

    assert await operations.get(sha256(QUERY)) == QUERY
    assert await operations.get(sha256(TRUSTED)) is None
    cache.close()


async def test_hashes_that_nobody_registered_are_not_all_looked_for_and_one_that_somebody_did_is(
    redis_server: RedisServer,
) -> None:
    seconds = 0.0
    cache, another = shared_by(redis_server, "p1"), shared_by(redis_server, "p2")
    operations = SharedOperations(cache, lambda: seconds)
    before = gets(redis_server)
    for number in range(2_000):
        assert await operations.get(sha256(f"nobody's {number}")) is None
    assert gets(redis_server) - before == MOST_FRUITLESS
    seconds = 1.0
    for number in range(2_000, 2_100):
        assert await operations.get(sha256(f"nobody's {number}")) is None
    assert gets(redis_server) - before == MOST_FRUITLESS + FRUITLESS_PER_SECOND
    # What others have registered costs nothing, however many there are.
    seconds = 2.0
    texts = [f"query Q{number} {{ viewer {{ roles }} }}" for number in range(100)]
    for text in texts:
        await SharedOperations(another, lambda: seconds).put(sha256(text), text)
    assert [await operations.get(sha256(text)) for text in texts] == texts
    cache.close()
    another.close()


def gets(server: RedisServer) -> int:
    """How often the server was asked for a value."""
    said = re.search(r"cmdstat_mget:calls=(\d+)", str(server.command("INFO", "commandstats")))
    return 0 if said is None else int(said[1])


@pytest.fixture
async def closed(market: ServedMarket) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that answers the service token with trusted documents alone."""
    settings = Settings(auth="token", service_token=TOKEN)  # type: ignore[arg-type]
    operations = PersistedOperations(trusted={sha256(TRUSTED): TRUSTED, "Trusted.v1": TRUSTED}, only_trusted=True)
    app = build_app(market.services, build_access(settings), operations=operations)
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE, headers=token) as client:
        yield client


VARIABLES = {"id": "t1"}
ANSWER = {"data": {"talent": {"talentId": "t1"}}}


@pytest.mark.parametrize(
    "body",
    [
        {"documentId": f"sha256:{sha256(TRUSTED)}"},
        {"documentId": sha256(TRUSTED)},
        {"documentId": "Trusted.v1"},
        {"documentId": "Trusted.v1", "query": TRUSTED},
        {"documentId": "Trusted.v1", "query": ""},  # graphql-ws cannot leave it out
        {"extensions": persisted(TRUSTED)},  # Apollo's persisted query lists
        {"query": TRUSTED, "extensions": persisted(TRUSTED)},
        {"query": TRUSTED},
    ],
    ids=repr,
)
async def test_a_trusted_document_is_answered_however_it_is_named(
    closed: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    response = await post(closed, {**body, "variables": VARIABLES})

    assert response.json() == ANSWER


@pytest.mark.parametrize("body", [{"query": QUERY}, {"query": QUERY, "extensions": persisted(QUERY)}], ids=repr)
async def test_nothing_else_is_answered_nor_registered(closed: httpx.AsyncClient, body: dict[str, Any]) -> None:
    response = await post(closed, body)

    assert (response.status_code, codes(response)) == (400, ["OPERATION_NOT_TRUSTED"])
    assert codes(await post(closed, {"extensions": persisted(QUERY)})) == ["PERSISTED_QUERY_NOT_FOUND"]


async def test_an_unknown_document_and_one_beside_another_text_are_refused(closed: httpx.AsyncClient) -> None:
    unknown = await post(closed, {"documentId": "nobody's"})
    other = await post(closed, {"documentId": "Trusted.v1", "query": QUERY})

    assert (unknown.status_code, codes(unknown)) == (400, ["UNKNOWN_DOCUMENT"])
    assert (other.status_code, codes(other)) == (400, ["BAD_REQUEST"])


async def test_an_engineer_may_send_what_nobody_trusted_before(market: ServedMarket) -> None:
    operations = PersistedOperations(trusted={"Trusted.v1": TRUSTED}, only_trusted=True)
    app = build_app(market.services, build_access(Settings(auth="open")), operations=operations)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE) as client:
        response = await post(client, {"query": QUERY})

    assert response.json() == {"data": {"viewer": {"roles": ["engineer"]}}}


@pytest.mark.parametrize(
    "manifest",
    [
        {f"sha256:{sha256(TRUSTED)}": TRUSTED},
        {"format": "apollo-persisted-query-manifest", "version": 1,
         "operations": [{"id": sha256(TRUSTED), "name": "Trusted", "type": "query", "body": TRUSTED}]},
    ],
)  # fmt: skip
def test_the_manifests_of_codegen_and_apollo_are_read(manifest: dict[str, Any]) -> None:
    assert trusted_by(json.dumps(manifest).encode(), "manifest.json") == {sha256(TRUSTED): TRUSTED}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (b"{", "no manifest"),
        (b"[]", "no manifest"),
        (b"{}", "no manifest"),
        (b'{"a": 1}', "no manifest"),
        (b'{"operations": [{}]}', "no manifest"),
        (b'{"a": "{ nothing }"}', "document 'a' does not fit the schema: Cannot query field 'nothing'"),
        (b'{"a": "{"}', "document 'a' does not fit the schema: Syntax Error"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_with_its_name_and_the_reason(manifest: bytes, said: str) -> None:
    with pytest.raises(BadInputError) as refused:
        trusted_by(manifest, "manifest.json")

    assert str(refused.value).startswith("manifest.json")
    assert said in str(refused.value)


def test_trusting_without_a_manifest_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TANDEM_OPERATIONS", "trusted")
    with pytest.raises(SettingsError, match="TANDEM_TRUSTED_DOCUMENTS"):
        load_settings()

    monkeypatch.setenv("TANDEM_TRUSTED_DOCUMENTS", str(tmp_path / "manifest.json"))
    assert load_settings().operations == "trusted"
