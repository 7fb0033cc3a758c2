"""What is left of somebody who was erased: not a byte of the id, in no file, cache or model, and no way back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.requests import HTTPConnection

from gateway.adapters.directory.models import DirectoryModelStore
from gateway.cli.serve import build_services, forgetting
from gateway.erasure import Remains
from gateway.erasure import erase as erase_subject
from gateway.files.importing import import_files
from gateway.graphql.viewer import Viewer
from gateway.http.app import build_app
from gateway.http.auth import Access, build_access
from gateway.settings import Settings, load_settings
from gateway.wiring import guarded, open_stores, patient
from recommender.documents import Kind, Patch
from recommender.events import EventType
from recommender.model import Neighbours
from recommender.ports import CachedDocument, SubjectKey
from tests.factories import NOW_MS, event
from tests.gateway.served_market import ServedMarket, close_market, open_market, small_model
from tests.production.stack import SERVICE_TOKEN, Stack, running_stack
from tests.servers import running_redis

SECRET = "person-7f3a9c"  # an id that nothing else contains
PAYLOAD = "deletedId receiptId userErrors {{ code }}"
ERASE = f"mutation Erase($id: ID!) {{{{ {{}}(input: {{{{ id: $id, erase: true }}}}) {{{{ {PAYLOAD} }}}} }}}}"


def admin(_request: HTTPConnection) -> Viewer:
    return Viewer(("admin",), "dpo")


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[ServedMarket]:
    """The tiny market, to an admin, with somebody who is everywhere: events, served lists, refused rows."""
    opened = await open_market(tmp_path, Settings(auth="open"), access=Access(admin, admin))
    fields = {"title": SECRET, "skills": ("Go",), "category": "Software"}
    await opened.catalogue.upsert(Kind.TALENT, [Patch(SECRET, fields)])
    await opened.catalogue.upsert(Kind.JOB, [Patch(SECRET, {**fields, "client_id": "c1"})])
    pairs = [(SECRET, "j1"), (SECRET, "j2"), ("t1", SECRET), ("t2", SECRET)]
    await opened.events.append(
        [event(kind, *pair, occurred_at_ms=NOW_MS) for pair in pairs for kind in (EventType.VIEW, EventType.SAVE)]
    )
    (tmp_path / "import-rejects.jsonl").write_text(f'{{"row": {{"talent_id": "{SECRET}"}}}}\n{{"row": "another"}}\n')
    yield opened
    await close_market(opened)


async def erase(market: ServedMarket, kind: Kind, own_id: str = SECRET) -> Any:
    name = "deleteTalent" if kind is Kind.TALENT else "deleteJob"
    return (await market.data(ERASE.format(name), {"id": own_id}))[name]


def files_with(directory: Path, text: str) -> list[str]:
    """Every file below a directory that holds the bytes of a text."""
    return sorted(str(path) for path in directory.rglob("*") if path.is_file() and text.encode() in path.read_bytes())


async def asked_about(market: ServedMarket) -> None:
    """Lists of them and lists with them, so that they are in the serving log."""
    for query in (
        f'{{ talent(talentId: "{SECRET}") {{ title recommendedJobs(first: 20) {{ nodes {{ title }} }} }} }}',
        f'{{ job(jobId: "{SECRET}") {{ recommendedTalents(first: 20) {{ nodes {{ title }} }} }} }}',
        '{ job(jobId: "j1") { recommendedTalents(first: 100) { nodes { talentId } } } }',
        '{ talent(talentId: "t1") { recommendedJobs(first: 100) { nodes { jobId } } } }',
    ):
        await market.data(query)


async def test_not_a_byte_of_an_erased_id_is_left_in_any_file(market: ServedMarket, tmp_path: Path) -> None:
    await asked_about(market)
    assert files_with(tmp_path, SECRET)
    for kind in Kind:
        payload = await erase(market, kind)
        assert (payload["deletedId"], payload["userErrors"]) == (SECRET, [])
        assert payload["receiptId"]
    assert files_with(tmp_path, SECRET) == []
    assert (tmp_path / "import-rejects.jsonl").read_text() == '{"row": "another"}\n'


async def test_an_erasure_is_asked_for_again_without_harm_and_gives_its_receipt(market: ServedMarket) -> None:
    first = await erase(market, Kind.TALENT)
    assert await erase(market, Kind.TALENT) == first
    assert (await erase(market, Kind.TALENT, "nobody"))["userErrors"] == [{"code": "UNKNOWN_ID"}]
    assert (await erase(market, Kind.TALENT, "nobody"))["userErrors"] == [{"code": "UNKNOWN_ID"}]


async def test_neither_an_old_event_nor_an_upsert_brings_anybody_back(market: ServedMarket, tmp_path: Path) -> None:
    for kind in Kind:
        await erase(market, kind)
    one = f'eventId: "replayed", actor: TALENT, type: SAVE, talentId: "{SECRET}", jobId: "j1"'
    query = f"mutation {{ recordEvents(input: {{ events: [{{ {one} }}] }}) {{ acceptedCount userErrors {{ code }} }} }}"
    assert (await market.data(query))["recordEvents"] == {"acceptedCount": 0, "userErrors": [{"code": "UNKNOWN_ID"}]}
    again = f'talentId: "{SECRET}", title: "Back", updatedAt: "2125-01-01T00:00:00Z"'
    query = (
        f"mutation {{ upsertTalents(input: {{ talents: [{{ {again} }}] }}) {{ acceptedCount userErrors {{ code }} }} }}"
    )
    assert (await market.data(query))["upsertTalents"] == {"acceptedCount": 0, "userErrors": [{"code": "CONFLICT"}]}
    assert await market.services.events.history([SubjectKey(Kind.TALENT, SECRET)]) == [[]]
    assert files_with(tmp_path, SECRET) == []


async def test_the_serving_log_keeps_the_others_of_a_list(market: ServedMarket) -> None:
    await asked_about(market)
    log = market.services.remains.serving_log  # type: ignore[union-attr]
    (gone,) = await market.catalogue.get_many(Kind.TALENT, ids=["t3"])
    before = [page async for batch in log.scan() for page in batch]  # type: ignore[attr-defined]
    await erase(market, Kind.TALENT, "t3")
    after = [page async for batch in log.scan() for page in batch]  # type: ignore[attr-defined]
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        is_there = old.kind is Kind.TALENT
        assert [item for item in old.items if not (is_there and item.ordinal == gone.ordinal)] == list(new.items)
    assert before != after


def with_neighbours(rows: int) -> Neighbours:
    """Each row leads to the next two."""
    columns = np.array([(row + step) % rows for row in range(rows) for step in (1, 2)], np.int32)
    return Neighbours(np.arange(0, 2 * rows + 1, 2, dtype=np.int64), columns, np.ones(2 * rows, np.float32))


async def test_who_asks_for_an_erased_id_does_not_write_it_down_again(market: ServedMarket, tmp_path: Path) -> None:
    query = f'{{ recommendedJobs(subject: {{ talentId: "{SECRET}" }}) {{ nodes {{ jobId }} }} }}'
    await market.data(query)
    await erase(market, Kind.TALENT)
    await erase(market, Kind.JOB)
    for _ in range(2):
        assert (await market.data(query))["recommendedJobs"]["nodes"]
    assert files_with(tmp_path, SECRET) == []


async def test_an_event_that_was_found_good_before_the_tombstone_is_erased_too(
    market: ServedMarket, tmp_path: Path
) -> None:
    remains = replace(market.services.remains, settled_s=0.2)  # type: ignore[type-var]
    subject = SubjectKey(Kind.TALENT, SECRET)
    erasing = asyncio.create_task(erase_subject(subject, market.catalogue, market.services.events, remains, NOW_MS))
    while (await market.catalogue.get_many(Kind.TALENT, ids=[SECRET])) != [None]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await market.services.events.append([event(EventType.SAVE, SECRET, "j3", occurred_at_ms=NOW_MS)])
    await erasing
    await erase(market, Kind.JOB)
    assert files_with(tmp_path, SECRET) == []


async def test_every_kept_model_loses_the_row_and_loads_again(market: ServedMarket, tmp_path: Path) -> None:
    store = DirectoryModelStore(tmp_path / "models")
    model = small_model("m2")
    talents = replace(model.talents, neighbours=with_neighbours(25))
    store.publish(replace(model, talents=talents))
    store.write_report("m2", f"<p>t7 and {SECRET}</p>")
    serving = store.load("m2")
    (ordinal,) = await market.catalogue.ensure(Kind.TALENT, ["t7"])
    assert serving.talents.factors[6].any()
    await erase(market, Kind.TALENT, "t7")

    assert not serving.talents.factors[6].any()  # at once, in the memory of who serves it
    assert serving.talents.popularity[6] == 0
    assert serving.talents.factors[5].any()
    for version in ("m1", "m2"):
        left = store.load(version)
        assert left.manifest.is_without  # so that no training goes on from it
        assert int(left.talents.ordinals[6]) == ordinal
        assert not left.talents.factors[6].any()
        assert left.talents.popularity[6] == 0
        assert not left.talents.is_learnt[6]
        others = np.arange(25) != 6
        np.testing.assert_array_equal(left.talents.factors[others], small_model(version).talents.factors[others])
        np.testing.assert_array_equal(left.jobs.factors, small_model(version).jobs.factors)
    neighbours = store.load("m2").talents.neighbours
    assert len(neighbours.columns) == 50 - 4
    assert 6 not in neighbours.columns
    assert neighbours.starts[6] == neighbours.starts[7]
    assert store.report("m2") is None
    assert sorted(path.name for path in store.path.iterdir() if path.is_dir()) == ["m1", "m2"]
    assert store.erase(Kind.TALENT, ordinal, "t7") == 2  # again, without harm


def test_a_version_whose_exchange_was_cut_short_is_put_back(tmp_path: Path) -> None:
    store = DirectoryModelStore(tmp_path)
    store.publish(small_model("m1"))
    (tmp_path / "m1").rename(tmp_path / ".replaced-m1")
    assert store.erase(Kind.TALENT, 7, "t7") == 1
    assert not store.load("m1").talents.factors[6].any()


def test_who_loads_a_model_while_somebody_is_erased_from_it_gets_one(tmp_path: Path) -> None:
    store = DirectoryModelStore(tmp_path)
    store.publish(small_model("m1"))
    with ThreadPoolExecutor(1) as apart:
        erasing = apart.submit(lambda: [store.erase(Kind.TALENT, ordinal, "t") for ordinal in range(1, 11)])
        loads = 0
        while not erasing.done():
            assert store.load("m1").manifest.version == "m1"
            loads += 1
        assert erasing.result() == [1] * 10
    assert loads
    assert not store.load("m1").talents.factors[:10].any()


async def test_a_cached_document_goes_at_once(market: ServedMarket) -> None:
    cache = market.services.remains.cache  # type: ignore[union-attr]
    (document,) = await market.catalogue.get_many(Kind.TALENT, ids=[SECRET])
    await cache.put_documents(Kind.TALENT, [CachedDocument(1, document)], 3_600_000)
    await erase(market, Kind.TALENT)
    (found,) = await cache.get_documents(Kind.TALENT, [document.ordinal])
    assert not isinstance(found, CachedDocument)


async def test_the_log_tells_of_an_erasure_without_naming_anybody(
    market: ServedMarket, capsys: pytest.CaptureFixture[str]
) -> None:
    receipt = (await erase(market, Kind.TALENT))["receiptId"]
    said = capsys.readouterr()
    assert receipt in said.out + said.err
    assert SECRET not in said.out + said.err


class Gateway:
    """One of several, in this process, with a data directory of its own."""

    def __init__(self, stack: Stack, data: Path) -> None:
        self.data = data
        own = {name.removeprefix("TANDEM_").lower(): value for name, value in stack.settings.items()}
        self.stores = open_stores(load_settings(data_dir=data, **own))
        self.ports = guarded(self.stores)
        self.services = build_services(self.stores, None, self.ports)
        self.services.recommender.refresh_model()
        self.looking = forgetting(self.ports, self.services)
        self._app = build_app(self.services, build_access(self.stores.settings))

    async def ask(self, query: str, **variables: Any) -> Any:
        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {SERVICE_TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            response = await client.post("/graphql", json={"query": query, "variables": variables})
        assert "errors" not in response.json(), response.text
        return response.json()["data"]

    async def close(self) -> None:
        for guard in self.ports.guards.guards:
            await guard.close()
        self.stores.close()


@pytest.fixture
def stack(elasticsearch_url: str, tmp_path: Path) -> Iterator[Stack]:
    with running_stack(tmp_path / "stack", elasticsearch_url, talents=12, jobs=10) as running:
        yield running


async def test_who_is_erased_by_one_gateway_is_gone_from_the_others_and_an_import_brings_nobody_back(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = f"""{{
      talent(talentId: "{SECRET}") {{ recommendedJobs {{ nodes {{ jobId }} }} }}
      job(jobId: "j2") {{ recommendedTalents(first: 50) {{ nodes {{ talentId }} }} }}
    }}"""
    asked, other = Gateway(stack, tmp_path / "asked"), Gateway(stack, tmp_path / "other")
    subject = SubjectKey(Kind.TALENT, SECRET)
    await asked.stores.catalogue.upsert(Kind.TALENT, [Patch(SECRET, {"title": SECRET, "is_available": True})])
    await asked.stores.events.append([event(EventType.SAVE, SECRET, "j1", occurred_at_ms=NOW_MS)])
    for one in (asked, other):
        await one.looking.look()
        shown = await one.ask(lists)
        assert SECRET in [node["talentId"] for node in shown["job"]["recommendedTalents"]["nodes"]]
    shutil.copytree(tmp_path / "other", tmp_path / "late")  # of one that does not run meanwhile
    assert files_with(tmp_path / "late", SECRET)

    # An import that knows her to be there, and goes on when she is not.
    rows = [f"{talent},VIEW,{job}" for talent, job in ((SECRET, "j3"), ("t1", "j4"), (SECRET, "j5"), ("t2", "j6"))]
    (tmp_path / "events.csv").write_text("talent_id,type,job_id\n" + "\n".join(rows) + "\n")
    monkeypatch.setattr("gateway.files.importing.EVENT_CHUNK", 2)
    receipts: list[Any] = []

    async def erased_before(events: Any) -> Any:
        """Of the second chunk: its ids have been found good by now."""
        receipts.append((await asked.ask(ERASE.format("deleteTalent"), id=SECRET)) if receipts else None)
        return await asked.stores.events.append(events)

    log = SimpleNamespace(append=erased_before, forget=asked.stores.events.forget)
    importing: Any = SimpleNamespace(catalogue=asked.stores.catalogue, events=log)
    await import_files(importing, events=[tmp_path / "events.csv"])
    assert receipts[1]["deleteTalent"]["receiptId"]
    assert await other.stores.events.history([subject]) == [[]]
    assert len((await other.stores.events.history([SubjectKey(Kind.TALENT, "t1")]))[0]) == 4

    await other.looking.look()
    late = Gateway(stack, tmp_path / "late")
    await late.looking.look()
    for one in (asked, other, late):
        assert (await one.ask(lists))["talent"] is None
        assert files_with(one.data, SECRET) == []
        pages = [page async for batch in one.stores.serving_log.scan() for page in batch]
        (ordinal,) = await one.stores.catalogue.ensure(Kind.TALENT, [SECRET])
        assert pages
        assert ordinal not in [item.ordinal for page in pages if page.kind is Kind.TALENT for item in page.items]
        assert not [key for key, _ in getattr(one.ports.events, "_kept", {}) if key == subject]
        await one.close()


async def test_redis_keeps_no_byte_of_an_erased_id_either(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        settings = Settings(data_dir=tmp_path / "data", cache_url=server.url, events_url=server.url)
        stores = open_stores(patient(settings))
        await stores.catalogue.upsert(Kind.TALENT, [Patch(SECRET, {"title": SECRET}), Patch("t1", {})])
        await stores.catalogue.upsert(Kind.JOB, [Patch("j1", {})])
        kinds = (EventType.VIEW, EventType.SAVE, EventType.IMPRESSION)
        await stores.events.append(
            [event(kind, talent, "j1", occurred_at_ms=NOW_MS) for talent in (SECRET, "t1") for kind in kinds]
        )
        (document,) = await stores.catalogue.get_many(Kind.TALENT, ids=[SECRET])
        await stores.cache.put_documents(Kind.TALENT, [CachedDocument(1, document)], 3_600_000)
        server.command("SAVE")
        assert len(files_with(tmp_path, SECRET)) >= 3  # the catalogue, the append-only file and the dump
        remains = Remains(stores.serving_log, stores.models, stores.cache, tmp_path / "none.jsonl", 0.0)
        subject = SubjectKey(Kind.TALENT, SECRET)
        receipt = await erase_subject(subject, stores.catalogue, stores.events, remains, NOW_MS)
        assert receipt == await erase_subject(subject, stores.catalogue, stores.events, remains, NOW_MS)
        server.command("SAVE")
        assert files_with(tmp_path, SECRET) == []
        assert len((await stores.events.history([SubjectKey(Kind.JOB, "j1")]))[0]) == 2
        stores.close()
