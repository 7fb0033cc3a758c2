"""Elasticsearch as catalogue beyond the contract: other processes, rebuilds, faults, round trips and what is sent."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.directory.models import DirectoryModelStore
from gateway.adapters.documents import patched
from gateway.adapters.elasticsearch import bodies, cluster, following, lease
from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from gateway.adapters.elasticsearch.connection import Connection, IndexMovedError, address_from_url
from gateway.adapters.elasticsearch.layout import NoIndicesError
from gateway.adapters.elasticsearch.records import Record, base_of, record_from_hit
from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from gateway.cli.doctor import Status, findings
from gateway.settings import load_settings
from gateway.wiring import NoDataError, open_catalogue, open_stores, patient
from recommender.documents import Document, Job, JobStatus, Kind, Patch, PatchOutcome, Refused
from recommender.errors import RefusedDocumentsError, UnavailableError
from recommender.filters import JobFilter
from recommender.query import Exactness, ListQuery, Mode, RankedPage
from recommender.recommender import Recommender
from recommender.search import FacetField, FacetRequest, SearchRequest
from recommender.text import terms
from tests import brute_force
from tests.elasticsearch_server import new_namespace, request_json, running_elasticsearch
from tests.factories import NOW_MS
from tests.gateway.served_market import JOBS, TALENTS, job_patch, small_model, talent_patch

JOB = Kind.JOB
ROOT = Path(__file__).parents[2]

Open = Callable[[], ElasticsearchCatalogue]


@pytest.fixture
def open_one(elasticsearch_url: str, namespace: str) -> Iterator[Open]:
    """Opens the namespace's catalogue; each call as another process would."""
    opened: list[ElasticsearchCatalogue] = []

    def open_() -> ElasticsearchCatalogue:
        opened.append(ElasticsearchCatalogue.open(elasticsearch_url, namespace=namespace, timeout_ms=10_000))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


async def start_writer(url: str, namespace: str, seed: int, rounds: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.elasticsearch_writer", url, namespace, str(seed), str(rounds), cwd=ROOT
    )


def jobs_in(url: str, namespace: str) -> list[Document]:
    """Every live job, read from the server past the adapter."""
    body = orjson.dumps({"size": 10_000, "seq_no_primary_term": True, "query": {"term": {"is_live": True}}})
    found = orjson.loads(request_json(url, "POST", f"{namespace}.jobs/_search", body))
    return [record_from_hit(hit).document(JOB) for hit in found["hits"]["hits"]]


# --- What is sent ------------------------------------------------------------------------------------------------

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def keys_of(body: Any) -> Any:
    """A body without its values. A stored document is opaque to the engine."""
    if isinstance(body, dict):
        return {key: "opaque" if key == "document" else keys_of(inner) for key, inner in body.items()}
    if isinstance(body, list):
        return [keys_of(inner) for inner in body if isinstance(inner, dict | list)]
    return None


def record(document_id: str, fields: dict[str, Any]) -> Record:
    return Record("mark", 1, document_id, patched(JOB, {}, Patch(document_id, fields)), None)


@given(any_text)
def test_whatever_is_searched_for_the_search_differs_in_values_alone(text: str) -> None:
    for term in terms(text):
        body = bodies.having_term(term, 0)
        assert keys_of(body) == keys_of(bodies.having_term("go", 0))
        for weight, clause in enumerate(body["query"]["dis_max"]["queries"], 1):
            assert clause["constant_score"]["filter"] == {"term": {"terms": {"value": f"{weight}{term}"}}}


@given(any_text, any_text, any_text)
def test_whatever_a_document_says_is_only_a_value_of_what_is_indexed(text: str, name: str, document_id: str) -> None:
    fields = {"title": text, "skills": (text,), "category": text, "client_id": text, "attributes": {name: text}}
    source = bodies.source(JOB, record(document_id, fields), revision=None)
    assert set(source) <= set(bodies.mappings(JOB)["properties"])
    assert all(value is None for name, value in keys_of(source).items() if name != "document" and value != [])
    line, _ = bodies.written("index", JOB, record(document_id, fields), revision=None)
    assert line == {"create": {"_index": "index", "_id": "mark"}}


# --- Other processes, and rebuilds ---------------------------------------------------------------------------------


async def test_a_reader_misses_nothing_while_several_processes_write(
    open_one: Open, elasticsearch_url: str, namespace: str
) -> None:
    reader = open_one()
    await reader.ensure(JOB, ["first"])
    writers = [await start_writer(elasticsearch_url, namespace, seed, 15) for seed in (1, 2, 3)]
    followed: dict[int, Document] = {}
    revision = 0

    async def follow() -> None:
        nonlocal revision
        changes = await reader.changes(JOB, revision, limit=50)
        followed.update({one.ordinal: one for one in changes.upserted})
        for ordinal in changes.deleted:
            followed.pop(ordinal, None)
        revision = changes.revision

    while any(writer.returncode is None for writer in writers):
        await follow()
        await reader.mirror(JOB)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    for _ in range(5):
        await follow()
    stored = {one.ordinal: one for one in jobs_in(elasticsearch_url, namespace)}
    assert len({one.id for one in stored.values()}) == len(stored)
    assert followed == stored
    (found,) = await reader.matching(JOB, [(JobFilter(statuses=tuple(JobStatus)), None)], NOW_MS)
    assert sorted(found) == sorted(stored)


async def test_a_rebuild_loses_no_write_made_meanwhile_and_readers_go_on(
    open_one: Open, elasticsearch_url: str, namespace: str
) -> None:
    reader, rebuilder = open_one(), open_one()
    await rebuilder.upsert(JOB, [Patch(f"j{n}", {"title": "Go"}, 5) for n in range(1_500)])
    await rebuilder.delete(JOB, "j77", erase=True)
    await rebuilder.upsert(JOB, [Patch("j88", {}, 9)])
    before = (await reader.mirror(JOB)).revision
    writer = await start_writer(elasticsearch_url, namespace, 1, 12)
    rebuilds = 0
    while writer.returncode is None:
        assert await rebuilder.rebuild() >= 1_499
        rebuilds += 1
        (page,) = await reader.search(JOB, [SearchRequest(JobFilter(), "go", first=1)], NOW_MS)
        assert page.total >= 1_400
    assert writer.returncode == 0
    stored = jobs_in(elasticsearch_url, namespace)
    created = {f"new-1-{turn}" for turn in range(12)} - {"new-1-2", "new-1-7"}
    assert {one.id for one in stored} == created | {f"j{n}" for n in range(1_500)} - {"j77"}
    mirror = await reader.mirror(JOB)
    assert mirror.revision > before
    assert len(mirror) == len(stored)
    assert await reader.upsert(JOB, [Patch("j88", {"title": "old"}, 8), Patch("j77", {}, 99)]) == [
        PatchOutcome.STALE,
        PatchOutcome.DELETED,
    ]
    names = orjson.loads(request_json(elasticsearch_url, "GET", f"{namespace}.jobs.*?filter_path=*.aliases"))
    assert [base_of(name) // base_of("x.000002") for name in names] == [rebuilds]


async def test_a_scan_gives_each_record_once_in_order_as_it_stood_at_the_first_page(
    open_one: Open, elasticsearch_url: str
) -> None:
    """What loads a mirror and fills a new index: search_after on a point in time."""
    store, other = open_one(), open_one()
    times = {f"j{number:02d}": 1_000 * (number % 7) for number in range(40)}
    await store.upsert(JOB, [Patch(name, {"posted_at_ms": at}) for name, at in times.items()] + [Patch("j99")])

    async def read() -> list[list[str]]:
        pages = []
        sort = [{"since_ms": {"order": "desc", "missing": "_last"}}, "id"]
        index = await store._layout.index(JOB)
        async for hits in store._cluster.scan(index, bodies.everything(), sort, 7):
            pages.append([hit["_source"]["id"] for hit in hits])
            at = len(pages)
            await other.upsert(JOB, [Patch(f"j{at:02d}", {"posted_at_ms": 9_999}), Patch(f"new{at}")])
            await other.delete(JOB, f"j{39 - at:02d}")
        return pages

    def open_points() -> int:
        stats = orjson.loads(request_json(elasticsearch_url, "GET", "_nodes/stats/indices/search"))
        return sum(int(node["indices"]["search"]["open_contexts"]) for node in stats["nodes"].values())

    before = open_points()
    pages = await store._connection.run(read())
    assert [len(page) for page in pages] == [7, 7, 7, 7, 7, 6]
    in_order = sorted(times, key=lambda name: (-times[name], name))
    assert [name for page in pages for name in page] == [*in_order, "j99"]
    assert open_points() == before


async def test_a_mirror_of_many_pages_holds_what_there_is(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_one()
    await store.upsert(JOB, [Patch(f"j{number}") for number in range(250)])
    await store.delete(JOB, "j7")
    monkeypatch.setattr(following, "PAGE", 20)
    reader = open_one()
    mirror = await reader.mirror(JOB)
    assert sorted(mirror.ids_of(list(mirror.eligible(NOW_MS)))) == sorted({f"j{n}" for n in range(250)} - {"j7"})
    assert mirror.revision == (await store.mirror(JOB)).revision


async def test_a_reader_keeps_its_revision_over_a_rebuild(open_one: Open) -> None:
    store, other = open_one(), open_one()
    await store.upsert(JOB, [Patch("a"), Patch("b")])
    revision = (await other.mirror(JOB)).revision
    await store.rebuild()
    assert (await other.mirror(JOB)).revision == revision
    await store.upsert(JOB, [Patch("c")])
    changes = await other.changes(JOB, revision)
    assert [one.id for one in changes.upserted] == ["c"]
    assert changes.revision > revision


DEAD_AFTER_S = 2.0


async def start_rebuild(url: str, namespace: str, point: str, number: str) -> asyncio.subprocess.Process:
    """A process that rebuilds, and gets the signal at the point; see tests.elasticsearch_rebuilder."""
    arguments = ["-m", "tests.elasticsearch_rebuilder", url, namespace, point, number, str(DEAD_AFTER_S)]
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, stderr=asyncio.subprocess.PIPE)


class Traffic:
    """Writes all the time: a new job and a new title of the same job, one upsert after the other."""

    def __init__(self, store: ElasticsearchCatalogue) -> None:
        self._store = store
        self._ended = False
        self.acknowledged = 0
        self.longest_s = 0.0

    async def __aenter__(self) -> Traffic:
        self._task = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await self._task

    async def _write(self) -> None:
        clock = asyncio.get_running_loop().time
        while not self._ended:
            began, name = clock(), str(self.acknowledged)
            await self._store.upsert(JOB, [Patch(f"w{name}"), Patch("same", {"title": name})])
            self.acknowledged += 1
            self.longest_s = max(self.longest_s, clock() - began)

    async def some_more(self) -> None:
        """Wait until writes get through."""
        until = self.acknowledged + 3
        while self.acknowledged < until:
            await asyncio.wait([self._task], timeout=0.02)
            if self._task.done():
                await self._task  # it has failed

    def check(self, jobs: list[Document]) -> None:
        """Nothing that was acknowledged is missing or old."""
        assert {f"w{number}" for number in range(self.acknowledged)} <= {job.id for job in jobs}
        (same,) = [job for job in jobs if job.id == "same"]
        assert same.title == str(self.acknowledged - 1)


@pytest.fixture
def _dies_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "DEAD_AFTER_S", DEAD_AFTER_S)
    monkeypatch.setattr(lease, "BEAT_S", DEAD_AFTER_S / 5)


@pytest.mark.usefixtures("_dies_soon")
async def test_a_rebuild_killed_anywhere_loses_no_write_and_holds_writers_up_for_seconds_at_most(
    open_one: Open, elasticsearch_url: str, namespace: str
) -> None:
    store, reader = open_one(), open_one()
    await store.upsert(JOB, [Patch(f"j{n}", {"title": "Go"}) for n in range(300)])
    async with Traffic(store) as traffic:
        for point in ("copied some", "blocked", "switched"):  # each of POINTS passes; these leave different things
            rebuilder = await start_rebuild(elasticsearch_url, namespace, point, "SIGKILL")
            assert await rebuilder.wait() == -9, point
            await traffic.some_more()
            await reader.mirror(JOB)
        assert await open_one().rebuild() >= 301
    assert traffic.longest_s < 6 * DEAD_AFTER_S
    stored = jobs_in(elasticsearch_url, namespace)
    traffic.check(stored)
    assert len(stored) == 301 + traffic.acknowledged
    assert len(await reader.mirror(JOB)) == len(stored)
    names = orjson.loads(request_json(elasticsearch_url, "GET", f"{namespace}.*?filter_path=*.aliases"))
    assert len(names) == 3


@pytest.mark.usefixtures("_dies_soon")
@pytest.mark.parametrize("point", ["before the block", "before the switch"])
async def test_a_rebuild_that_was_asleep_too_long_finds_itself_undone_and_writes_nothing_over(
    open_one: Open, elasticsearch_url: str, namespace: str, point: str
) -> None:
    store = open_one()
    async with Traffic(store) as traffic:
        await traffic.some_more()
        rebuilder = await start_rebuild(elasticsearch_url, namespace, point, "SIGSTOP")
        while rebuilder.returncode is None and not is_stopped(rebuilder.pid):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
        assert await open_one().rebuild() >= 4  # it waits until the sleeper counts as dead
        await traffic.some_more()
        rebuilder.send_signal(signal.SIGCONT)
        _, said = await rebuilder.communicate()
        assert rebuilder.returncode == 1
        assert b"it was undone by another process; run it again" in said
        await traffic.some_more()
    traffic.check(jobs_in(elasticsearch_url, namespace))


def is_stopped(process: int) -> bool:
    """Whether a process was put to sleep by SIGSTOP."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_two_rebuilds_at_once_are_one(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = open_one(), open_one()
    await one.upsert(JOB, [Patch("a")])
    monkeypatch.setattr(lease, "DEAD_AFTER_S", 0.2)
    monkeypatch.setattr(lease, "BEAT_S", 0.05)
    copied, go_on = asyncio.Event(), threading.Event()
    first = asyncio.create_task(one.rebuild(lambda *_: go_on.wait(0.02) or copied.set()))
    results = await asyncio.gather(first, other.rebuild(), return_exceptions=True)
    assert 1 in results
    for result in results:
        assert result == 1 or "another `tandem index` is at work" in str(result)
    assert [job and job.id for job in await other.get_many(JOB, ids=["a"])] == ["a"]


async def test_a_rebuild_into_which_a_document_does_not_fit_names_it_and_changes_nothing(
    open_one: Open, elasticsearch_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_one()
    await store.upsert(JOB, [Patch("a"), Patch("bad"), Patch("b")])
    source = bodies.source

    def spoilt(kind: Kind, one: Record, *, revision: int | None) -> dict[str, Any]:
        return {**source(kind, one, revision=revision), **({"unheard_of": 1} if one.id == "bad" else {})}

    monkeypatch.setattr(bodies, "source", spoilt)
    with pytest.raises(
        RefusedDocumentsError, match=r"1 documents cannot be indexed, such as 'bad': .*unheard_of"
    ) as caught:
        await store.rebuild()
    assert list(caught.value.reasons) == ["bad"]
    names = orjson.loads(request_json(elasticsearch_url, "GET", f"{namespace}.jobs.*?filter_path=*.aliases"))
    assert list(names) == [f"{namespace}.jobs.000001"]
    assert await store.upsert(JOB, [Patch("c")]) == [PatchOutcome.CREATED]


async def test_an_index_that_loses_its_shards_before_its_name_has_moved(elasticsearch_url: str, namespace: str) -> None:
    name = f"{namespace}.going"
    nowhere = {"settings": {"index.routing.allocation.require._name": "nowhere", "index.number_of_replicas": 0}}
    request_json(elasticsearch_url, "PUT", f"{name}?wait_for_active_shards=0", orjson.dumps(nowhere))
    connection = Connection(address_from_url(elasticsearch_url), timeout_ms=10_000)
    asked = cluster.Cluster(connection)

    async def failures() -> list[BaseException | None]:
        def ask() -> list[Coroutine[Any, Any, Any]]:
            return [asked.search(name, [bodies.everything()]), asked.records(name, ["mark"]), asked.checkpoint(name)]

        tasks = [asyncio.create_task(one) for one in ask()]
        await asyncio.wait(tasks)
        return [task.exception() for task in tasks]

    try:
        assert [type(one) for one in await connection.run(failures())] == [UnavailableError] * 3  # it only is unwell
        asking = asyncio.create_task(connection.run(failures()))
        await asyncio.sleep(0.03)
        await asyncio.to_thread(request_json, elasticsearch_url, "DELETE", name)
        assert [type(one) for one in await asking] == [IndexMovedError] * 3
    finally:
        connection.close()


# --- A cluster that has too much to do -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_elasticsearch() -> Iterator[str]:
    """A server with hardly any room: for two writes that wait, and 256 kB of what is being written."""
    with running_elasticsearch(
        {
            "thread_pool.write.size": "1",
            "thread_pool.write.queue_size": "2",
            "indexing_pressure.memory.limit": "256kb",
            "http.max_content_length": "128kb",
        }
    ) as url:
        yield url


async def test_writers_keep_the_pace_of_a_cluster_that_turns_them_away_and_lose_nothing(
    small_elasticsearch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned_away = 0
    is_turned_away = cluster._is_turned_away

    def counted(item: dict[str, Any]) -> bool:
        nonlocal turned_away
        turned_away += is_turned_away(item)
        return is_turned_away(item)

    monkeypatch.setattr(cluster, "_is_turned_away", counted)
    name = new_namespace()
    stores = [ElasticsearchCatalogue.open(small_elasticsearch, namespace=name, timeout_ms=10_000) for _ in range(4)]
    long = "word " * 400
    writes = [
        store.upsert(JOB, [Patch(f"j{place}-{number}", {"description": long}) for number in range(100)])
        for place, store in enumerate(stores)
    ]
    outcomes = await asyncio.gather(*writes)
    assert outcomes == [[PatchOutcome.CREATED] * 100] * len(stores)
    assert turned_away > 0
    assert len(await stores[0].mirror(JOB)) == 100 * len(stores)
    assert await stores[0].rebuild() == 100 * len(stores)
    created, refused = await stores[0].upsert(JOB, [Patch("small"), Patch("large", {"description": "x" * 140_000})])
    assert created is PatchOutcome.CREATED
    assert refused == Refused("it is larger than a request that the server takes (http.max_content_length)")
    for store in stores:
        store.close()


def test_one_catalogue_serves_several_event_loops(open_one: Open) -> None:
    store = open_one()
    assert asyncio.run(store.ensure(JOB, ["a"])) == [1]
    assert asyncio.run(store.ensure(JOB, ["b", "a"])) == [2, 1]
    assert len(asyncio.run(store.mirror(JOB))) == 2


async def test_a_document_that_the_engine_refuses_is_reported_and_the_others_are_kept(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_one()
    source = bodies.source

    def spoilt(kind: Kind, one: Record, *, revision: int | None) -> dict[str, Any]:
        return {**source(kind, one, revision=revision), **({"unheard_of": 1} if one.id == "bad" else {})}

    monkeypatch.setattr(bodies, "source", spoilt)
    patches = [Patch("a"), Patch("bad"), Patch("b"), Patch("bad", {"title": "again"})]
    created, refused, also, again = await store.upsert(JOB, patches)
    assert (created, also) == (PatchOutcome.CREATED, PatchOutcome.CREATED)
    assert isinstance(refused, Refused)
    assert "unheard_of" in refused.reason
    assert again == refused
    assert [one and one.id for one in await store.get_many(JOB, ids=["a", "bad", "b"])] == ["a", None, "b"]


# --- Round trips -----------------------------------------------------------------------------------------------------


async def test_each_call_is_a_fixed_small_number_of_round_trips(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    ask = Connection.ask

    async def counted(self: Connection, question: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(self, question, **named)

    store = open_one()
    await store.upsert(JOB, [job_patch(number) for number in range(1, JOBS + 1)])
    await store.mirror(JOB)
    monkeypatch.setattr(Connection, "ask", counted)

    async def cost(answer: Any) -> int:
        nonlocal asked
        asked = 0
        await answer
        return asked

    assert await cost(store.mirror(JOB)) == 1
    assert await cost(store.matching(JOB, [(JobFilter(), None)] * 50, NOW_MS)) == 1
    assert await cost(store.facets(JOB, [FacetRequest(JobFilter())] * 50, NOW_MS)) == 1
    assert await cost(store.matching(JOB, [(JobFilter(), word) for word in ("go", "sql", "go sql")], NOW_MS)) == 2
    assert await cost(store.matching(JOB, [(JobFilter(), "sql go")] * 50, NOW_MS)) == 1
    assert await cost(store.get_many(JOB, list(range(1, 1_001)), ["j1", "j2"])) == 1


# --- Faults ----------------------------------------------------------------------------------------------------------


class Pretender(BaseHTTPRequestHandler):
    """Answers every request with one status and body, as Elasticsearch would."""

    status, body = 200, b"{}"

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def pretend() -> Iterator[Callable[[int, Any], str]]:
    """Starts a server that answers so; its catalogue URL."""
    servers: list[HTTPServer] = []

    def start(status: int, body: Any) -> str:
        handler = type("Handler", (Pretender,), {"status": status, "body": orjson.dumps(body)})
        servers.append(HTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"elasticsearch://me:hidden@127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (200, {"version": {"number": "8.19.0"}}, "is version 8.19.0; Tandem needs 9"),
        (401, {"error": {"type": "security_exception"}}, "refused the user and password of TANDEM_CATALOGUE_URL"),
        (403, {"error": {"type": "security_exception"}}, "does not let the user of TANDEM_CATALOGUE_URL do this"),
        (400, {"error": {"type": "media_type_header_exception"}}, "is of another major version"),
        (503, {"error": {"type": "master_not_discovered_exception"}}, "answered 503 master_not_discovered_exception"),
    ],
)
def test_what_is_wrong_with_a_server_is_one_clear_line(
    pretend: Callable[[int, Any], str], status: int, body: Any, says: str
) -> None:
    with pytest.raises(UnavailableError) as caught:
        ElasticsearchCatalogue.open(pretend(status, body), namespace="x")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:1 cannot be reached; start it or correct TANDEM_"):
        ElasticsearchCatalogue.open("elasticsearch://127.0.0.1:1", namespace="x")


def test_a_foreign_index_is_left_alone(elasticsearch_url: str, namespace: str) -> None:
    mapping = b'{"mappings": {"properties": {"mine": {"type": "keyword"}}}}'
    request_json(elasticsearch_url, "PUT", f"{namespace}.catalogue", mapping)
    with pytest.raises(
        UnavailableError, match=rf"{namespace}\.catalogue in Elasticsearch is not Tandem's; set TANDEM_"
    ):
        ElasticsearchCatalogue.open(elasticsearch_url, namespace=namespace)
    assert b"mine" in request_json(elasticsearch_url, "GET", f"{namespace}.catalogue/_mapping")


@pytest.mark.parametrize("create", [True, False])
def test_a_foreign_index_of_documents_is_left_alone(elasticsearch_url: str, namespace: str, create: bool) -> None:
    request_json(elasticsearch_url, "PUT", f"{namespace}.jobs", b"{}")
    with pytest.raises(UnavailableError, match=rf"{namespace}\.jobs in Elasticsearch is not Tandem's; set TANDEM_"):
        ElasticsearchCatalogue.open(elasticsearch_url, namespace=namespace, create=create)
    with pytest.raises(HTTPError, match="404"):
        request_json(elasticsearch_url, "GET", f"{namespace}.catalogue")


def test_an_index_of_another_schema_is_refused(open_one: Open, elasticsearch_url: str, namespace: str) -> None:
    open_one()
    mapping = b'{"_meta": {"tandem": {"schema": 7, "kind": "job"}}}'
    request_json(elasticsearch_url, "PUT", f"{namespace}.jobs/_mapping", mapping)
    with pytest.raises(UnavailableError, match="has schema 7, and this Tandem needs 1; use the Tandem that wrote it"):
        open_one()


def test_doctor_and_commands_say_where_there_is_no_catalogue_yet(
    elasticsearch_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TANDEM_CATALOGUE_URL", elasticsearch_url)
    monkeypatch.setenv("TANDEM_NAMESPACE", namespace)
    found = {finding.part: finding for finding in findings()}
    assert found["catalogue"].status is Status.FAIL
    assert "there is no catalogue in Elasticsearch yet" in found["catalogue"].text
    with pytest.raises(NoDataError, match="run `tandem import …` first"):
        open_catalogue(patient(load_settings()), must_exist=True)
    with pytest.raises(NoIndicesError):
        ElasticsearchCatalogue.open(elasticsearch_url, namespace=namespace, create=False)
    stores = open_stores(patient(load_settings()))
    asyncio.run(stores.catalogue.upsert(JOB, [Patch("j")]))
    stores.close()
    found = {finding.part: finding for finding in findings()}
    assert found["catalogue"].text.endswith(f"namespace {namespace}: 0 talents, 1 jobs, 1 of them open")


def test_an_address_holds_hosts_user_and_authority() -> None:
    address = address_from_url("elasticsearch+https://me:a%40b@one,two:9201?ca_certs=/x.pem")
    assert address.hosts == ("https://one:9200", "https://two:9201")
    assert (address.user, address.ca_certs) == (("me", "a@b"), "/x.pem")
    assert address.text == "https://one:9200, https://two:9201"


# --- The recommender on it -------------------------------------------------------------------------------------------


def alive(jobs: list[Document], wanted: JobFilter) -> list[Document]:
    """The jobs that match and have not expired."""
    found = brute_force.found(jobs, wanted, None, NOW_MS)
    return [one for one in found if isinstance(one, Job) and (one.expires_at_ms is None or one.expires_at_ms > NOW_MS)]


async def test_lists_facets_and_totals_are_what_brute_force_gives_while_another_process_writes(
    open_one: Open, elasticsearch_url: str, namespace: str, tmp_path: Path
) -> None:
    """On two gateways after each other, each beginning with nothing but the model: the rest is in Elasticsearch."""
    filler = open_one()
    await filler.upsert(Kind.TALENT, [talent_patch(number) for number in range(1, TALENTS + 1)])
    await filler.upsert(JOB, [job_patch(number) for number in range(1, JOBS + 1)])
    models = DirectoryModelStore(tmp_path / "models")
    models.publish(small_model())
    for seed in (1, 2):
        events = SqliteEventLog.open(tmp_path / f"events{seed}.db")
        serving_log = SqliteServingLog.open(tmp_path / f"serving{seed}.db")
        recommender = Recommender(
            catalogue=open_one(),
            events=events,
            serving_log=serving_log,
            models=models,
            clock_ms=lambda: NOW_MS,
            new_id=lambda: "r",
        )
        recommender.refresh_model()
        await page_of(recommender, JobFilter())
        for turn in range(2):
            writer = await start_writer(elasticsearch_url, namespace, 10 * seed + turn, 6)
            assert await writer.wait() == 0
            stored = jobs_in(elasticsearch_url, namespace)
            for wanted in (JobFilter(), JobFilter(categories=("design",)), JobFilter(countries=("DE", "fr"))):
                expected = alive(stored, wanted)
                page = await page_of(recommender, wanted)
                assert page.exactness is Exactness.EXACT
                assert page.total == len(expected)
                assert {item.id for item in page.items} == {one.id for one in expected}
                ((facet,),) = await recommender.facets([(page, (FacetField.CATEGORIES,), (), 10)])
                free = brute_force.without_own_clause(wanted, FacetField.CATEGORIES)
                assert isinstance(free, JobFilter)
                counts = brute_force.counts(stored, alive(stored, free), FacetField.CATEGORIES)
                assert {bucket.value: bucket.count for bucket in facet.buckets} == counts
        serving_log.close()
        events.close()
    models.close()


async def page_of(recommender: Recommender, wanted: JobFilter) -> RankedPage:
    query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id="t3", filter=wanted, first=100)
    (page,) = await recommender.lists([query])
    assert isinstance(page, RankedPage)
    return page
