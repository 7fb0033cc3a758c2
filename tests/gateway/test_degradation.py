"""Elasticsearch or Redis fails behind a gateway that goes on: its answers obey every filter and say what is poorer."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.adapters.redis.io_thread import IoThread
from gateway.cli.serve import build_services
from gateway.graphql.services import Services
from gateway.http.app import build_app
from gateway.http.auth import build_access
from gateway.resilience.breaker import IN_A_ROW, Breaker
from gateway.resilience.guard import LAGGING_S, Guard
from gateway.resilience.loop_lag import LoopLag
from gateway.settings import load_settings
from gateway.wiring import Guarded, Stores, guarded, open_stores
from recommender.degradation import DegradedReason
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.events import Event, EventType
from tests.factories import event
from tests.faults import HANG, REFUSE, RESET, SLOW, TORN, Fault, FaultProxy, faulty, http_answer
from tests.production.stack import SERVICE_TOKEN, Stack, running_stack

JOBS = """query ($id: ID!, $first: Int, $filter: JobFilter, $text: String) {
  talent(talentId: $id) {
    recommendedJobs(first: $first, filter: $filter, query: $text) {
      degradedReasons totalCount strategy
      nodes { jobId title skills country level status client { clientId } }
    }
  }
}"""
JOB_TALENTS = """query ($id: ID!) {
  job(jobId: $id) { recommendedTalents(first: 60) { degradedReasons nodes { talentId } } }
}"""
RECORD = """mutation ($events: [EventInput!]!) {
  recordEvents(input: { events: $events }) { acceptedCount userErrors { code } }
}"""
UPSERT = """mutation {
  upsertJobs(input: { jobs: [{ jobId: "j1", title: "New" }] }) { userErrors { code } }
}"""
# Of Elasticsearch. What no real one can be made to answer at will is put into its mouth.
PARTIAL = b'{"responses":[{"status":200,"timed_out":true,"hits":{"hits":[]}}]}'
FAILED_SHARD = b'{"responses":[{"status":200,"_shards":{"failed":1},"hits":{"hits":[]}}]}'
BUSY = b'{"error":{"type":"es_rejected_execution_exception"},"status":429}'
FAULTS = {
    "hang": HANG,
    "reset": RESET,
    "refused": REFUSE,
    "slow": SLOW,
    "torn": TORN,
    "timed out": http_answer("200 OK", PARTIAL),
    "failed shard": http_answer("200 OK", FAILED_SHARD),
    "busy": http_answer("429 Too Many Requests", BUSY),
    "away": http_answer(
        "503 Service Unavailable", b'{"error":{"type":"master_not_discovered_exception"},"status":503}'
    ),
    "nonsense": http_answer("200 OK", b'{"tagline": "You Know, for Search"}'),
}


@dataclass
class World:
    """A gateway in this process, and what stands before its servers."""

    stack: Stack
    stores: Stores
    ports: Guarded
    services: Services
    client: httpx.AsyncClient
    catalogue: FaultProxy
    events: FaultProxy
    cache: FaultProxy

    async def ask(self, query: str = JOBS, **variables: Any) -> dict[str, Any]:
        """The whole answer, which must be one."""
        response = await self.client.post("/graphql", json={"query": query, "variables": {"first": 5} | variables})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def jobs(self, talent_id: str = "t1", **variables: Any) -> tuple[list[dict[str, Any]], list[str]]:
        """The jobs of a list and why it is degraded, which the answer as a whole says, too."""
        answer = await self.ask(id=talent_id, **variables)
        assert "errors" not in answer, answer["errors"]
        page = answer["data"]["talent"]["recommendedJobs"]
        told = answer.get("extensions", {}).get("degraded", {"reasons": []})["reasons"]
        assert page["degradedReasons"] == told
        return page["nodes"], told

    async def well_again(self) -> float:
        """Seconds until no answer is degraded."""
        begun = time.monotonic()
        while (await self.jobs())[1]:
            assert time.monotonic() - begun < 10
            await asyncio.sleep(0.05)
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def stack(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("degradation"), elasticsearch_url) as running:
        yield running


@pytest.fixture
async def world(stack: Stack, tmp_path: Any) -> AsyncIterator[World]:
    with ExitStack() as opened:
        catalogue = opened.enter_context(faulty(urlsplit(stack.elasticsearch_url).port or 0))
        events = opened.enter_context(faulty(stack.redis.port))
        cache = opened.enter_context(faulty(stack.cache.port))
        settings = load_settings(
            data_dir=tmp_path,
            catalogue_url=f"elasticsearch://127.0.0.1:{catalogue.port}",
            events_url=f"redis://127.0.0.1:{events.port}/0",
            cache_url=f"redis://127.0.0.1:{cache.port}/0",
            models_url=stack.settings["TANDEM_MODELS_URL"],
            namespace=stack.namespace,
            auth="token",
            service_token=SERVICE_TOKEN,
            # Several times the defaults, as a loaded machine is slow.
            catalogue_timeout_ms=600,
            events_timeout_ms=600,
            cache_timeout_ms=300,
            deadline_ms=2_500,
        )
        stack.cache.command("FLUSHALL")
        stores = await asyncio.to_thread(open_stores, settings)
        opened.callback(stores.close)
        ports = guarded(stores)
        services = build_services(stores, None, ports)
        services.recommender.refresh_model()
        app = build_app(services, build_access(settings))
        headers = {"Authorization": f"Bearer {SERVICE_TOKEN}"}
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            found = World(stack, stores, ports, services, client, catalogue, events, cache)
            while True:
                try:
                    await asyncio.gather(*(stores.catalogue.mirror(kind) for kind in Kind))
                    break
                except UnavailableError:  # a loaded machine was later than that
                    continue
            await found.well_again()
            yield found
            for proxy in (catalogue, events, cache):
                proxy.heal()
            for guard in ports.guards.guards:
                await guard.close()


@pytest.mark.parametrize("name", FAULTS)
async def test_without_elasticsearch_a_list_obeys_its_filter_from_what_was_read_last(world: World, name: str) -> None:
    wanted = {"skills": {"any": ["Go"]}, "countries": ["DE"]}
    before, none = await world.jobs(filter=wanted)
    assert (len(before), none) == (len(before), [])
    world.stack.cache.command("FLUSHALL")
    world.catalogue.fail(FAULTS[name])
    after, reasons = await world.jobs(filter=wanted)
    assert (after, reasons) == (before, ["CATALOGUE"])
    # Never read before: all but title and text is in the columns.
    others, reasons = await world.jobs("t2", first=10, filter={"countries": ["US"]})
    assert reasons == ["CATALOGUE"]
    assert len(others) == 10
    assert {(job["country"], job["status"]) for job in others} == {("US", "OPEN")}
    for talent in ("t3", "t4", "t5", "t6"):
        await world.jobs(talent)
    assert not world.ports.catalogue.guard.breaker.is_closed
    world.catalogue.heal()
    assert await world.well_again() < 3
    assert (await world.jobs(filter=wanted))[0] == before


async def test_a_text_that_was_never_asked_matches_nothing_rather_than_something_else(world: World) -> None:
    known, _ = await world.jobs(text="kubernetes")
    assert known
    world.catalogue.fail(REFUSE)
    assert await world.jobs(text="kubernetes") == (known, ["CATALOGUE"])
    assert await world.jobs(text="python") == ([], ["CATALOGUE"])


async def test_nothing_is_acknowledged_that_is_not_written(world: World) -> None:
    event = {"eventId": "lost", "actor": "TALENT", "type": "SAVE", "talentId": "t9", "jobId": "j9"}
    await world.jobs("t9")
    world.events.fail(REFUSE)
    answer = await world.ask(RECORD, events=[event])
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAVAILABLE"]
    world.events.heal()
    await world.well_again()
    world.catalogue.fail(REFUSE)
    answer = await world.ask(UPSERT)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAVAILABLE"]
    # Whether a talent is new cannot be told now; one that was here before is known.
    answer = await world.ask(RECORD, events=[{**event, "talentId": "nobody"}])
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAVAILABLE"]
    answer = await world.ask(RECORD, events=[{**event, "eventId": "kept"}])
    assert answer["data"]["recordEvents"] == {"acceptedCount": 1, "userErrors": []}


@pytest.mark.parametrize("fault", [HANG, REFUSE, RESET, Fault(cut_after=3)], ids=["hang", "refused", "reset", "torn"])
async def test_without_the_event_log_lists_rest_on_what_was_known_last(world: World, fault: Fault) -> None:
    seen, _ = await world.jobs("t1", first=40)
    world.events.fail(fault)
    assert await world.jobs("t1", first=40) == (seen, ["EVENT_LOG"])
    # Whose history was never read here has the taste that the model learnt.
    answer = await world.ask(id="t20")
    page = answer["data"]["talent"]["recommendedJobs"]
    assert (page["strategy"], page["degradedReasons"], len(page["nodes"])) == ("COLLABORATIVE", ["EVENT_LOG"], 5)
    for talent in ("t21", "t22", "t23", "t24"):
        await world.jobs(talent)
    assert not world.ports.events.guard.breaker.is_closed
    world.events.heal()
    assert await world.well_again() < 3


async def test_without_the_event_log_nobody_is_shown_again_what_is_behind_them(world: World) -> None:
    """Whose history this process never read: what the model's training found, then what was recorded since."""

    async def all_jobs(talent: str) -> tuple[set[str], list[str]]:
        jobs, reasons = await world.jobs(talent, first=40)
        return {job["jobId"] for job in jobs}, reasons

    number = 40
    talent, applied = f"t{number}", f"j{number * 7 % 40 + 1}"
    other, lifted = "t41", f"j{41 * 7 % 40 + 1}"
    following = asyncio.create_task(world.ports.events.follow(world.services.recommender.model.manifest.watermark))
    theirs = [  # by another gateway
        event(EventType.DISMISS, talent, "j3", event_id="behind-dismiss"),
        event(EventType.WITHDRAW, other, lifted, event_id="behind-withdraw"),
    ]
    await world.stores.events.append(theirs)
    last = (await world.stores.events.state()).last_seq
    while world.ports.events.followed < last:  # noqa: ASYNC110 - nobody is told how far it has come
        await asyncio.sleep(0.01)
    own = {"eventId": "behind-own", "actor": "TALENT", "type": "DISMISS", "talentId": talent, "jobId": "j5"}
    assert (await world.ask(RECORD, events=[own]))["data"]["recordEvents"]["acceptedCount"] == 1
    world.events.fail(REFUSE)
    jobs, reasons = await all_jobs(talent)
    again, _ = await all_jobs(other)
    candidates = await world.ask(JOB_TALENTS, id=applied)
    following.cancel()
    world.events.heal()
    await world.well_again()
    assert reasons == ["EVENT_LOG"]
    assert jobs == (await all_jobs(talent))[0]
    assert not jobs & {applied, "j3", "j5"}
    assert lifted in again
    assert again == (await all_jobs(other))[0]
    page = candidates["data"]["job"]["recommendedTalents"]
    assert (talent in [node["talentId"] for node in page["nodes"]], page["degradedReasons"]) == (False, ["EVENT_LOG"])


async def test_what_lies_in_an_archive_that_is_not_here_keeps_nobody_from_following(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.resilience.event_log.FOLLOW_EVERY_S", 0.01)
    scan, last = world.stores.events.scan, (await world.stores.events.state()).last_seq

    def scan_of_what_is_here(after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        if after_seq < last:
            raise UnavailableError("event archive")
        return scan(after_seq, until_seq)

    monkeypatch.setattr(world.stores.events, "scan", scan_of_what_is_here)
    following = asyncio.create_task(world.ports.events.follow(0))
    await world.stores.events.append([event(EventType.DISMISS, "t42", "j6", event_id="followed")])
    while world.ports.events.followed <= last:  # noqa: ASYNC110 - nobody is told how far it has come
        await asyncio.sleep(0.01)
    following.cancel()


@pytest.mark.parametrize("fault", [HANG, REFUSE, RESET, TORN], ids=["hang", "refused", "reset", "torn"])
async def test_without_the_cache_answers_are_the_same(world: World, fault: Fault) -> None:
    before = [await world.jobs(f"t{number}") for number in range(1, 9)]
    world.cache.fail(fault)
    assert [await world.jobs(f"t{number}") for number in range(1, 9)] == before
    assert await world.jobs("t30") == (await world.jobs("t30"))
    world.cache.heal()
    guard = world.ports.cache.guard
    for _ in range(60):
        if guard.breaker.is_closed:
            break
        await asyncio.sleep(0.05)
    assert guard.breaker.is_closed


async def test_without_any_server_there_still_is_a_list(world: World) -> None:
    for proxy in (world.catalogue, world.events, world.cache):
        proxy.fail(REFUSE)
    jobs, reasons = await world.jobs("t7", filter={"levels": ["EXPERT"]})
    assert reasons == ["CATALOGUE", "EVENT_LOG"]
    assert len(jobs) == 5
    assert {job["level"] for job in jobs} == {"EXPERT"}
    popular, _ = await world.jobs("t7", filter={"levels": ["EXPERT"]}, text="")
    assert popular
    for proxy in (world.catalogue, world.events, world.cache):
        proxy.heal()
    assert await world.well_again() < 3


async def test_a_cache_that_is_full_is_still_read(world: World) -> None:
    before = await world.jobs("t1")
    world.stack.cache.command("CONFIG", "SET", "maxmemory", "1mb")
    try:
        assert await world.jobs("t1") == before
        assert [len((await world.jobs(f"t{number}"))[0]) for number in range(31, 41)] == [5] * 10
        assert world.ports.cache.guard.breaker.is_closed
    finally:
        world.stack.cache.command("CONFIG", "SET", "maxmemory", "0")


async def test_a_caller_who_waits_less_is_answered_sooner(world: World) -> None:
    await world.jobs("t1")
    world.catalogue.fail(HANG)
    begun = time.monotonic()
    response = await world.client.post(
        "/graphql",
        json={"query": JOBS, "variables": {"id": "t1", "first": 5}},
        headers={"Tandem-Timeout-Ms": "150"},
    )
    assert time.monotonic() - begun < 0.6  # the time-out of Elasticsearch here
    page = response.json()["data"]["talent"]["recommendedJobs"]
    assert (len(page["nodes"]), page["degradedReasons"]) == (5, ["DEADLINE"])
    wrong = await world.client.post("/graphql", json={"query": "{ __typename }"}, headers={"Tandem-Timeout-Ms": "soon"})
    assert (wrong.status_code, wrong.json()["errors"][0]["extensions"]["code"]) == (400, "BAD_USER_INPUT")


async def test_what_fails_after_its_caller_has_left_is_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    thread = IoThread("part")
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise UnavailableError("part") from None

    caller = asyncio.create_task(thread.run(work()))
    await asyncio.to_thread(begun.wait)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await thread.run(asyncio.sleep(0))
    thread.close(asyncio.sleep(0))
    gc.collect()
    assert not caplog.records


async def test_a_look_that_fails_after_all_who_wanted_it_have_left_is_no_line_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.catalogue.fail(HANG)
    caller = asyncio.create_task(world.stores.catalogue.mirror(Kind.JOB))
    await asyncio.sleep(0.1)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await asyncio.sleep(0.8)  # longer than the time-out of Elasticsearch here
    gc.collect()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_probe_that_breaks_is_no_end_of_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.resilience.guard.PROBE_EVERY_S", 0.01)
    answers = iter([KeyError("odd"), UnavailableError("part"), None])

    async def probe() -> None:
        answer = next(answers)
        if answer is not None:
            raise answer

    async def fails() -> None:
        raise UnavailableError("part")

    guard = Guard("part", DegradedReason.CACHE, probe)
    for _ in range(IN_A_ROW):
        with pytest.raises(UnavailableError):
            await guard.read(fails)
    assert not guard.breaker.is_closed
    for _ in range(200):
        if guard.breaker.is_closed:
            break
        await asyncio.sleep(0.01)
    assert (guard.breaker.is_closed, guard.counts["probed"], guard.counts["failed"]) == (True, 3, IN_A_ROW)


async def test_what_fails_while_this_process_is_late_opens_nothing() -> None:
    lag = LoopLag()
    lag._seen.append(2 * LAGGING_S)

    async def fails() -> None:
        raise UnavailableError("part")

    guard = Guard("part", DegradedReason.CACHE, fails, lag=lag)
    for _ in range(3 * IN_A_ROW):
        with pytest.raises(UnavailableError):
            await guard.read(fails)
    assert (guard.breaker.is_closed, guard.counts["excused"]) == (True, 3 * IN_A_ROW)


def test_what_fails_now_and_then_is_left_alone_when_that_is_half_of_the_time() -> None:
    breaker = Breaker()
    for _ in range(9):
        breaker.fail()
        breaker.succeed()
    assert breaker.is_closed
    assert breaker.fail()
    breaker.end_probe(succeeded=True)
    assert breaker.is_closed
    assert not breaker.fail()  # what was before is forgotten
