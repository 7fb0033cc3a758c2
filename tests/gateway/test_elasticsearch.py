"""Elasticsearch as catalogue beyond the contract: other processes, rebuilds, faults, round trips and what is sent."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.directory.models import DirectoryModelStore
from gateway.adapters.documents import patched
from gateway.adapters.elasticsearch import bodies
from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from gateway.adapters.elasticsearch.connection import Connection, address_from_url
from gateway.adapters.elasticsearch.layout import NoIndicesError
from gateway.adapters.elasticsearch.records import Record, base_of, record_from_hit
from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from gateway.cli.doctor import Status, findings
from gateway.settings import load_settings
from gateway.wiring import NoDataError, open_catalogue, open_stores
from recommender.documents import Document, Job, JobStatus, Kind, Patch, PatchOutcome
from recommender.errors import BadInputError, UnavailableError
from recommender.filters import JobFilter
from recommender.query import Exactness, ListQuery, Mode, RankedPage
from recommender.recommender import Recommender
from recommender.search import FacetField, FacetRequest, SearchRequest
from recommender.text import terms
from tests import brute_force
from tests.elasticsearch_server import request_json
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
    with pytest.raises(BadInputError, match=r"does not take 1 of the documents, such as 'bad': .*unheard_of"):
        await store.upsert(JOB, [Patch("a"), Patch("bad"), Patch("b")])
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
        open_catalogue(load_settings(), must_exist=True)
    with pytest.raises(NoIndicesError):
        ElasticsearchCatalogue.open(elasticsearch_url, namespace=namespace, create=False)
    stores = open_stores(load_settings())
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
