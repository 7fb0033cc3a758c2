"""recommendationsChanged over graphql-transport-ws and as server-sent events: who is told, when, and who is refused."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.requests import HTTPConnection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from gateway.graphql.changes import Change, ChangeCause, ChangeFeed
from gateway.graphql.persisted import PersistedOperations
from gateway.graphql.viewer import Viewer
from gateway.http.app import build_app
from gateway.http.auth import Access, build_access
from gateway.settings import Settings
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.events import EventType
from recommender.ports import SubjectKey
from tests.factories import NOW_MS, event
from tests.gateway.served_market import ServedMarket, small_model

CHANGED = """subscription Changed($subject: WatchedSubject!) {
  recommendationsChanged(subject: $subject) { cause token talent { talentId recommendedJobs(first: 1) { totalCount } }
                                              job { jobId } } }"""
TOKEN = "a-token-for-tests"
OPEN = Settings(auth="open")
SOON = 5.0  # seconds; a loaded machine


@asynccontextmanager
async def served(
    market: ServedMarket,
    settings: Settings = OPEN,
    operations: PersistedOperations | None = None,
    access: Access | None = None,
) -> AsyncIterator[str]:
    """Host and port of a real server over the market."""
    access = access or build_access(settings)
    app = build_app(market.services, access, operations=operations, cors_origins=settings.cors_origins)
    config = uvicorn.Config(app, port=0, log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:  # noqa: ASYNC110 — uvicorn tells by no event
        await asyncio.sleep(0.01)
    try:
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"{host}:{port}"
    finally:
        market.services.changes.close()
        server.should_exit = True
        await task


def opened(address: str, origin: str | None = None) -> connect:
    return connect(
        f"ws://{address}/graphql",
        subprotocols=[Subprotocol("graphql-transport-ws")],
        origin=None if origin is None else Origin(origin),
    )


@asynccontextmanager
async def connected(
    address: str, payload: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[ClientConnection]:
    """A connection that was let in."""
    protocols = [Subprotocol("graphql-transport-ws")]
    async with connect(f"ws://{address}/graphql", subprotocols=protocols, **more) as socket:
        await send(socket, {"type": "connection_init", "payload": payload or {}})
        assert (await received(socket))["type"] == "connection_ack"
        yield socket


async def send(socket: ClientConnection, message: dict[str, Any]) -> None:
    await socket.send(json.dumps(message))


async def received(socket: ClientConnection) -> dict[str, Any]:
    text = await asyncio.wait_for(socket.recv(), SOON)
    assert isinstance(text, str)  # graphql-ws takes no binary messages
    answer: dict[str, Any] = json.loads(text)
    return answer


async def subscribe(socket: ClientConnection, subject: dict[str, str], name: str = "1", query: str = CHANGED) -> None:
    payload = {"query": query, "variables": {"subject": subject}}
    await send(socket, {"id": name, "type": "subscribe", "payload": payload})
    await send(socket, {"type": "ping"})
    assert (await received(socket))["type"] == "pong"


async def test_an_event_is_told_to_both_of_its_subjects_and_to_nobody_else(market: ServedMarket) -> None:
    async with served(market) as address, connected(address) as socket:
        await subscribe(socket, {"talentId": "t1"}, "talent")
        await subscribe(socket, {"jobId": "j9"}, "job")
        await subscribe(socket, {"talentId": "t2"}, "other")
        before = await market.data('{ talent(talentId: "t1") { recommendedJobs(first: 1) { totalCount } } }')
        # Straight into the log, as another replica writes it.
        await market.events.append([event(EventType.DISMISS, "t1", "j9")])
        told = [await received(socket), await received(socket)]

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.6)

    by_name = {message["id"]: message["payload"]["data"]["recommendationsChanged"] for message in told}
    assert set(by_name) == {"talent", "job"}
    assert by_name["talent"]["cause"] == "EVENTS"
    total = before["talent"]["recommendedJobs"]["totalCount"] - 1
    assert by_name["talent"]["talent"] == {"talentId": "t1", "recommendedJobs": {"totalCount": total}}
    assert by_name["job"]["job"] == {"jobId": "j9"}
    assert by_name["job"]["talent"] is None


async def test_the_example_of_the_docs_is_told(market: ServedMarket) -> None:
    text = (Path(__file__).parents[2] / "docs" / "graphql.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"^```graphql stream\n(.*?)^```$", text, re.M | re.S)
    async with served(market) as address, connected(address) as socket:
        payload = {"query": query, "variables": {"talent": "t1"}}
        await send(socket, {"id": "1", "type": "subscribe", "payload": payload})
        await send(socket, {"type": "ping"})
        assert (await received(socket))["type"] == "pong"
        await market.events.append([event(EventType.SAVE, "t1", "j9")])
        told = (await received(socket))["payload"]["data"]["recommendationsChanged"]

    assert told["cause"] == "EVENTS"
    assert len(told["talent"]["recommendedJobs"]["nodes"]) == 2


async def test_the_token_that_is_told_is_taken_by_the_next_query(market: ServedMarket) -> None:
    async with served(market) as address, connected(address) as socket:
        await subscribe(socket, {"talentId": "t1"})
        await market.events.append([event(EventType.SAVE, "t1", "j9")])
        token = (await received(socket))["payload"]["data"]["recommendationsChanged"]["token"]

        async with httpx.AsyncClient() as client:
            response = await client.post(
                f"http://{address}/graphql",
                json={"query": "{ viewer { roles } }"},
                headers={"Tandem-Consistency-Token": token},
            )

    assert response.json() == {"data": {"viewer": {"roles": ["engineer"]}}}


async def test_an_impression_is_not_told_and_a_new_model_is_told_to_all(market: ServedMarket) -> None:
    async with served(market) as address, connected(address) as socket:
        await subscribe(socket, {"talentId": "t1"}, "1")
        await subscribe(socket, {"jobId": "j9"}, "2")
        await market.events.append([event(EventType.IMPRESSION, "t1", "j9")])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.recv(), 0.6)
        market.models.publish(small_model("m2"))
        market.services.recommender.refresh_model()
        told = [await received(socket), await received(socket)]

    causes = {message["id"]: message["payload"]["data"]["recommendationsChanged"]["cause"] for message in told}
    assert causes == {"1": "MODEL", "2": "MODEL"}


async def test_a_query_and_its_errors_come_over_the_socket_as_by_http(market: ServedMarket) -> None:
    async with served(market) as address, connected(address) as socket:
        for name, query in (
            ("good", "{ viewer { roles } }"),
            ("bad", "{ nothing }"),
            ("torn", "{ viewer { roles }"),
            ("null", "{ jobs(first: 0) { totalCount } }"),
        ):
            await send(socket, {"id": name, "type": "subscribe", "payload": {"query": query}})
        answers: dict[str, dict[str, Any]] = {}
        while len(answers) < 4:
            message = await received(socket)
            if message["type"] != "complete":
                answers[message["id"]] = message

    assert answers["good"]["payload"] == {"data": {"viewer": {"roles": ["engineer"]}}}
    assert (answers["bad"]["type"], answers["bad"]["payload"][0]["extensions"]) == (
        "error",
        {"code": "GRAPHQL_VALIDATION_FAILED"},
    )
    assert answers["torn"]["type"] == "error"
    assert answers["torn"]["payload"][0]["extensions"] == {"code": "GRAPHQL_PARSE_FAILED"}
    assert answers["null"]["payload"]["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_a_query_over_a_socket_shows_what_was_written_since_the_last_one(market: ServedMarket) -> None:
    query = '{ rateLimit { cost } talent(talentId: "t1") { recommendedJobs(first: 1) { totalCount nodes { jobId } } } }'
    lists = []
    async with served(market) as address, connected(address) as socket:
        for name in ("before", "after"):
            await send(socket, {"id": name, "type": "subscribe", "payload": {"query": query}})
            lists.append((await received(socket))["payload"]["data"]["talent"]["recommendedJobs"])
            assert (await received(socket))["type"] == "complete"
            await market.events.append([event(EventType.DISMISS, "t1", lists[0]["nodes"][0]["jobId"])])

    before, after = lists
    assert after["totalCount"] == before["totalCount"] - 1
    assert after["nodes"] != before["nodes"]


async def test_operations_of_one_connection_know_their_own_cost(market: ServedMarket) -> None:
    async with served(market) as address, connected(address) as socket:
        for size in range(1, 31):
            query = f"{{ jobs(first: {size}) {{ totalCount }} rateLimit {{ cost }} }}"
            await send(socket, {"id": str(size), "type": "subscribe", "payload": {"query": query}})
        costs: dict[str, int] = {}
        while len(costs) < 30:
            message = await received(socket)
            if message["type"] == "next":
                costs[message["id"]] = message["payload"]["data"]["rateLimit"]["cost"]

    assert costs == {str(size): 2 + size for size in range(1, 31)}


@pytest.mark.parametrize(
    "message", [[1], "hello", None, {"type": "subscribe", "id": {}, "payload": {"query": "{ x }"}}]
)
async def test_what_is_no_message_closes_the_connection(market: ServedMarket, message: Any) -> None:
    async with served(market) as address, connected(address) as socket:
        await socket.send(json.dumps(message))
        with pytest.raises(ConnectionClosed) as closed:
            await received(socket)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400


async def test_an_operation_too_many_is_refused_with_a_code(market: ServedMarket) -> None:
    async with served(market) as address, connected(address) as socket:
        for number in range(100):
            await subscribe(socket, {"talentId": "t1"}, str(number))
        payload = {"query": "{ viewer { roles } }"}
        await send(socket, {"id": "more", "type": "subscribe", "payload": payload})
        refused = await received(socket)

    assert (refused["id"], refused["type"]) == ("more", "error")
    assert refused["payload"][0]["extensions"] == {"code": "BAD_REQUEST"}


async def test_what_breaks_inside_a_stream_is_masked(market: ServedMarket) -> None:
    async with served(market) as address, connected(address) as socket:
        await subscribe(socket, {"talentId": "t1"})
        market.catalogue.failing["mirror"] = ValueError("the password is hunter2")
        market.catalogue.failing["get_many"] = ValueError("the password is hunter2")
        await market.events.append([event(EventType.SAVE, "t1", "j9")])
        message = await received(socket)

    assert "hunter2" not in json.dumps(message)
    assert "INTERNAL" in json.dumps(message)


@pytest.mark.parametrize("subject", [{}, {"talentId": "t1", "jobId": "j1"}, {"talentId": ""}, {"jobId": "x" * 300}])
async def test_a_subject_that_is_none_is_refused(market: ServedMarket, subject: dict[str, str]) -> None:
    async with served(market) as address, connected(address) as socket:
        payload = {"query": CHANGED, "variables": {"subject": subject}}
        await send(socket, {"id": "1", "type": "subscribe", "payload": payload})
        message = await received(socket)

    faults = message["payload"]["errors"] if message["type"] == "next" else message["payload"]
    code = "GRAPHQL_VALIDATION_FAILED" if len(subject) != 1 else "BAD_USER_INPUT"
    assert [fault["extensions"]["code"] for fault in faults] == [code]


@pytest.mark.parametrize("value", [1, None, "Bearer é", "Bearer wrong", ["Bearer x"], {"token": "x"}], ids=str)
async def test_a_token_that_is_none_is_never_an_engineer_on_an_open_gateway(market: ServedMarket, value: Any) -> None:
    async with (
        served(market) as address,
        connect(f"ws://{address}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]) as socket,
    ):
        await send(socket, {"type": "connection_init", "payload": {"Authorization": value}})
        with pytest.raises(ConnectionClosed) as closed:
            await received(socket)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403


async def test_a_socket_needs_the_token_of_a_closed_gateway(market: ServedMarket) -> None:
    settings = Settings(auth="token", service_token=TOKEN)  # type: ignore[arg-type]
    async with served(market, settings) as address:
        for payload in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": 1}):
            with pytest.raises(ConnectionClosed) as closed:
                async with connect(
                    f"ws://{address}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]
                ) as socket:
                    await send(socket, {"type": "connection_init", "payload": payload})
                    await received(socket)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4403
        async with connected(address, {"authorization": f"Bearer {TOKEN}"}) as socket:
            await send(socket, {"id": "1", "type": "subscribe", "payload": {"query": "{ viewer { roles } }"}})
            assert (await received(socket))["payload"] == {"data": {"viewer": {"roles": ["service"]}}}


@pytest.mark.parametrize("payload", [{"query": "{ viewer { roles } }"}, {"query": ""}, {"documentId": "guessed"}])
async def test_nothing_is_answered_before_it_is_known_who_asks(market: ServedMarket, payload: dict[str, str]) -> None:
    async with served(market) as address, opened(address) as socket:
        await send(socket, {"id": "1", "type": "subscribe", "payload": payload})
        with pytest.raises(ConnectionClosed) as closed:
            await received(socket)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def test_a_page_of_another_origin_opens_no_socket_unless_it_is_listed(market: ServedMarket) -> None:
    settings = Settings(auth="open", cors_origins=("https://app.example.com",))
    async with served(market, settings) as address:
        with pytest.raises(InvalidStatus):
            async with connected(address, origin="https://evil.example.com"):
                pass
        async with connected(address, origin="https://app.example.com"):
            pass


def who_for_a_moment(request: HTTPConnection) -> Viewer:
    """A viewer by `role subject`, until a third of a second after the market's one time."""
    role, _, subject = request.headers["authorization"].partition(" ")
    return Viewer((role,), subject, until_ms=NOW_MS + 300)


BRIEFLY = Access(who_for_a_moment, who_for_a_moment)


async def test_a_socket_ends_with_its_token(market: ServedMarket) -> None:
    async with (
        served(market, access=BRIEFLY) as address,
        connected(address, {"Authorization": "talent t1"}) as socket,
    ):
        await send(socket, {"id": "1", "type": "subscribe", "payload": {"query": "{ viewer { roles } }"}})
        assert (await received(socket))["payload"] == {"data": {"viewer": {"roles": ["talent"]}}}
        assert (await received(socket))["type"] == "complete"
        with pytest.raises(ConnectionClosed) as closed:
            await received(socket)

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4403, "The token has expired")


async def test_a_stream_ends_with_its_token_and_says_so(market: ServedMarket) -> None:
    async with served(market, access=BRIEFLY) as address, httpx.AsyncClient(timeout=SOON) as client:
        body = {"query": CHANGED, "variables": {"subject": {"talentId": "t1"}}}
        headers = {"Accept": "text/event-stream", "Authorization": "talent t1"}
        response = await client.post(f"http://{address}/graphql", json=body, headers=headers)
        assert '"code":"UNAUTHENTICATED"' in response.text.replace(" ", "")
        assert "the token has expired" in response.text
    assert not market.services.changes._watches


@pytest.mark.parametrize(
    ("viewer", "subject", "may"),
    [
        ("talent t1", {"talentId": "t1"}, True),
        ("talent t1", {"talentId": "t2"}, False),
        ("talent t1", {"talentId": "nobody"}, False),
        ("talent t1", {"jobId": "j1"}, False),
        ("client c1", {"jobId": "j1"}, True),
        ("client c1", {"jobId": "j2"}, False),
        ("client c1", {"jobId": "nowhere"}, False),
        ("client c1", {"talentId": "t1"}, False),
    ],
    ids=str,
)
async def test_everybody_watches_their_own(
    market: ServedMarket, viewer: str, subject: dict[str, str], may: bool
) -> None:
    async with served(market, access=BRIEFLY) as address, httpx.AsyncClient(timeout=SOON) as client:
        body = {"query": CHANGED, "variables": {"subject": subject}}
        headers = {"Accept": "text/event-stream", "Authorization": viewer}
        response = await client.post(f"http://{address}/graphql", json=body, headers=headers)
    assert ("UNAUTHENTICATED" in response.text) is may  # it lasted as long as the token
    assert ("FORBIDDEN" in response.text) is not may


async def test_only_trusted_documents_are_answered_over_a_socket_either(market: ServedMarket) -> None:
    settings = Settings(auth="token", service_token=TOKEN)  # type: ignore[arg-type]
    operations = PersistedOperations(trusted={"roles": "{ viewer { roles } }"}, only_trusted=True)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with served(market, settings, operations) as address, connected(address, bearer) as socket:
        await send(socket, {"id": "1", "type": "subscribe", "payload": {"query": "{ __typename }"}})
        refused = await received(socket)
        await send(socket, {"id": "2", "type": "subscribe", "payload": {"documentId": "roles"}})
        answered = await received(socket)

    assert refused["type"] == "error"
    assert refused["payload"][0]["extensions"] == {"code": "OPERATION_NOT_TRUSTED"}
    assert answered["payload"] == {"data": {"viewer": {"roles": ["service"]}}}


async def test_a_stream_of_server_sent_events_tells_the_same(market: ServedMarket) -> None:
    async with served(market) as address, httpx.AsyncClient(timeout=SOON) as client:
        body = {"query": CHANGED, "variables": {"subject": {"talentId": "t1"}}}
        headers = {"Accept": "text/event-stream"}
        async with client.stream("POST", f"http://{address}/graphql", json=body, headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = response.aiter_lines()
            await asyncio.sleep(0.3)
            await market.events.append([event(EventType.SAVE, "t1", "j9")])
            name = await asyncio.wait_for(anext(lines), SOON)
            data = await asyncio.wait_for(anext(lines), SOON)

    assert name == "event: next"
    assert json.loads(data.removeprefix("data: "))["data"]["recommendationsChanged"]["cause"] == "EVENTS"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("fragment A on Query { viewer { roles } }", "BAD_REQUEST"),
        ("query A { viewer { roles } }", "BAD_REQUEST"),
        ("query A { viewer { roles } } query C { viewer { roles } }", "BAD_REQUEST"),
    ],
)
async def test_what_cannot_be_run_is_an_error_of_its_stream_as_it_is_of_a_request(
    market: ServedMarket, query: str, code: str
) -> None:
    body = {"query": query, "operationName": "B"}
    async with served(market) as address, httpx.AsyncClient(timeout=SOON) as client:
        plain = await client.post(f"http://{address}/graphql", json=body)
        headers = {"Accept": "text/event-stream"}
        response = await client.post(f"http://{address}/graphql", json=body, headers=headers)

    name, data, *rest = response.text.splitlines()
    assert (name, rest[1]) == ("event: next", "event: complete")
    assert json.loads(data.removeprefix("data: ")) == plain.json()
    assert plain.json()["errors"][0]["extensions"] == {"code": code}


async def test_a_mutation_is_not_run_by_get_over_a_stream(market: ServedMarket) -> None:
    query = 'mutation { deleteJob(input: { id: "j1" }) { deletedId } }'
    async with served(market) as address, httpx.AsyncClient(timeout=SOON) as client:
        response = await client.get(
            f"http://{address}/graphql", params={"query": query}, headers={"Accept": "text/event-stream"}
        )

    assert "mutations are not allowed" in response.text
    assert (await market.data('{ job(jobId: "j1") { jobId } }'))["job"] == {"jobId": "j1"}


async def test_a_stopping_process_ends_its_streams(market: ServedMarket) -> None:
    async with served(market) as address, httpx.AsyncClient(timeout=SOON) as client:
        body = {"query": CHANGED, "variables": {"subject": {"talentId": "t1"}}}
        headers = {"Accept": "text/event-stream"}
        async with client.stream("POST", f"http://{address}/graphql", json=body, headers=headers) as response:
            await asyncio.sleep(0.2)
            market.services.changes.close()
            said = await asyncio.wait_for(response.aread(), SOON)

    assert said.decode().startswith("event: complete")


async def test_a_feed_tells_what_was_written_while_the_log_did_not_answer(market: ServedMarket) -> None:
    feed = ChangeFeed(market.events, market.services.recommender)
    following = asyncio.create_task(feed.follow(0.01))
    stream = feed.watch(SubjectKey(Kind.TALENT, "t1"))
    told = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    market.events.failing["state"] = UnavailableError("event log", "it is gone")
    await asyncio.sleep(0.05)
    await market.events.append([event(EventType.SAVE, "t1", "j9"), event(EventType.SAVE, "t1", "j10")])
    await asyncio.sleep(0.05)
    assert not told.done()
    market.events.failing.clear()

    change = await asyncio.wait_for(told, SOON)
    assert change == Change(ChangeCause.EVENTS, (await market.events.state()).last_seq)
    following.cancel()


async def test_while_nobody_watches_the_log_is_left_alone(market: ServedMarket) -> None:
    feed = ChangeFeed(market.events, market.services.recommender)
    following = asyncio.create_task(feed.follow(0.01))
    await asyncio.sleep(0.1)
    assert market.events.calls["state"] == 0
    await market.events.append([event(EventType.SAVE, "t1", "j9")])  # before anybody watches: not told

    stream = feed.watch(SubjectKey(Kind.TALENT, "t1"))
    told = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.1)
    assert market.events.calls["state"] > 1
    assert not told.done()
    told.cancel()
    await asyncio.gather(told, return_exceptions=True)
    await stream.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0.05)
    market.reset_counts()
    await asyncio.sleep(0.1)

    assert market.events.calls["state"] == 0
    following.cancel()


async def test_there_is_a_limit_to_watches(market: ServedMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.graphql.changes.MOST_WATCHES", 1)
    feed = ChangeFeed(market.events, market.services.recommender)
    first = asyncio.ensure_future(anext(feed.watch(SubjectKey(Kind.TALENT, "t1"))))
    await asyncio.sleep(0)

    with pytest.raises(UnavailableError, match="subscriptions"):
        await anext(feed.watch(SubjectKey(Kind.TALENT, "t2")))

    first.cancel()
