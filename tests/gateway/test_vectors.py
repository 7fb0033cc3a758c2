"""Lists nominated for by vectors in Elasticsearch: filters, totals and facets, over lost indices and new models."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from rich.console import Console

from gateway.adapters.directory.models import DirectoryModelStore
from gateway.adapters.elasticsearch import vectors as vectors_module
from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from gateway.adapters.elasticsearch.vectors import ElasticsearchVectors
from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from gateway.cli.index import _rebuild
from gateway.cli.train import train_and_publish
from gateway.settings import SettingsError, load_settings
from gateway.vectors import keep_once
from gateway.wiring import open_stores
from recommender.documents import Document, Job, JobStatus, Kind, Patch
from recommender.events import EventType
from recommender.filters import JobFilter, TermFilter
from recommender.query import Exactness, ListQuery, Mode, RankedPage
from recommender.recommender import Recommender
from recommender.search import FacetField
from recommender.versions import LoadedModel
from tests import brute_force
from tests.elasticsearch_server import request_json
from tests.factories import NOW_MS, event
from tests.gateway.served_market import JOBS, TALENTS, job_patch, small_model, talent_patch

JOB = Kind.JOB
SLOW_MACHINE_MS = 10_000
FILTERS = (
    JobFilter(),
    JobFilter(categories=("design",)),
    JobFilter(countries=("DE", "fr"), skills=TermFilter(none=("go",))),
    JobFilter(client_ids=("c1", "c2"), is_remote=True),
    JobFilter(exclude_ids=("j4", "j8"), posted_within_days=30),
    JobFilter(ids=()),
)


@dataclass
class World:
    """Two recommenders over the same stores: one nominated for, one that searches."""

    catalogue: ElasticsearchCatalogue
    vectors: ElasticsearchVectors
    models: DirectoryModelStore
    nominated: Recommender
    exact: Recommender

    async def keep(self) -> None:
        """One look of the process that serves."""
        await keep_once(self.vectors, self.nominated.serving, 1, deque(maxlen=2))

    async def documents(self) -> list[Document]:
        """Every job."""
        found = await self.catalogue.get_many(JOB, ordinals=range(1, 2 * JOBS))
        return [one for one in found if one is not None]


@pytest.fixture
async def world(elasticsearch_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    catalogue = ElasticsearchCatalogue.open(elasticsearch_url, namespace=namespace, timeout_ms=SLOW_MACHINE_MS)
    await catalogue.upsert(Kind.TALENT, [talent_patch(number) for number in range(1, TALENTS + 1)])
    await catalogue.upsert(JOB, [job_patch(number) for number in range(1, JOBS + 1)])
    events = SqliteEventLog.open(tmp_path / "events.db")
    await events.append(
        [event(EventType.SAVE, "t3", f"j{n}") for n in (2, 5, 9)] + [event(EventType.DISMISS, "t3", "j12")]
    )
    serving_log = SqliteServingLog.open(tmp_path / "serving.db")
    models = DirectoryModelStore(tmp_path / "models")
    models.publish(small_model())
    vectors = catalogue.vectors()

    def recommender(**nominating: Any) -> Recommender:
        made = Recommender(
            catalogue=catalogue,
            events=events,
            serving_log=serving_log,
            models=models,
            clock_ms=lambda: NOW_MS,
            new_id=lambda: "r",
            **nominating,
        )
        made.refresh_model()
        return made

    yield World(catalogue, vectors, models, recommender(vectors=vectors), recommender())
    serving_log.close()
    events.close()
    catalogue.close()


async def page_of(recommender: Recommender, wanted: JobFilter, **fields: Any) -> RankedPage:
    query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id="t3", filter=wanted, first=10)
    (page,) = await recommender.lists([replace(query, **fields)])
    assert isinstance(page, RankedPage), page
    return page


def rows_of(page: RankedPage) -> list[tuple[str, float]]:
    return [(item.id, item.score) for item in page.items]


async def assert_like_brute_force(world: World) -> list[Exactness]:
    """Lists, totals and facets under every filter; how each list came about."""
    everything = await world.documents()
    seen = []
    for wanted in FILTERS:
        page = await page_of(world.nominated, wanted)
        expected = [
            one
            for one in brute_force.found(everything, wanted, None, NOW_MS)
            if isinstance(one, Job) and one.status is JobStatus.OPEN and one.id != "j12"
        ]
        assert page.total == len(expected)
        assert {item.id for item in page.items} <= {one.id for one in expected}
        assert rows_of(page) == rows_of(await page_of(world.exact, wanted))
        ((facet,),) = await world.nominated.facets([(page, (FacetField.CATEGORIES,), (), 10)])
        free = brute_force.without_own_clause(wanted, FacetField.CATEGORIES)
        counted = [
            one
            for one in brute_force.found(everything, free, None, NOW_MS)
            if isinstance(one, Job) and one.status is JobStatus.OPEN and one.id != "j12"
        ]
        counts = brute_force.counts(everything, counted, FacetField.CATEGORIES)
        assert {bucket.value: bucket.count for bucket in facet.buckets} == counts
        seen.append(page.exactness)
    return seen


async def test_lists_totals_and_facets_are_what_brute_force_gives_while_documents_change(world: World) -> None:
    await world.keep()
    assert (await assert_like_brute_force(world))[0] is Exactness.APPROXIMATE
    # What has changed is obeyed at once, whether or not the index has heard of it.
    await world.catalogue.upsert(JOB, [Patch(f"j{n}", {"status": JobStatus.CLOSED}) for n in range(1, 8)])
    await world.catalogue.upsert(JOB, [Patch("j20", {"category": "Design", "country": "DE"})])
    await world.catalogue.delete(JOB, "j30")
    await assert_like_brute_force(world)
    await world.keep()
    assert (await assert_like_brute_force(world))[0] is Exactness.APPROXIMATE


async def test_pages_behind_each_other_are_nominated_for_and_never_repeat(world: World) -> None:
    await world.keep()
    page = await page_of(world.nominated, JobFilter(), first=6)
    assert (page.exactness, page.recall) == (Exactness.APPROXIMATE, 1.0)
    names = [item.id for item in page.items]
    while page.has_next:
        page = await page_of(world.nominated, JobFilter(), first=6, after=page.items[-1].position)
        names += [item.id for item in page.items]
    whole = await page_of(world.exact, JobFilter(), first=100)
    assert names == [item.id for item in whole.items]


async def test_lists_go_on_over_a_lost_index_a_new_model_and_a_rollback(
    world: World, elasticsearch_url: str, namespace: str
) -> None:
    async def exactness() -> Exactness:
        page = await page_of(world.nominated, JobFilter())
        assert rows_of(page) == rows_of(await page_of(world.exact, JobFilter()))
        return page.exactness

    def indices() -> list[str]:
        return sorted(
            orjson.loads(request_json(elasticsearch_url, "GET", f"{namespace}.vectors-*?filter_path=*.aliases"))
        )

    assert await exactness() is Exactness.EXACT
    await world.keep()
    assert await exactness() is Exactness.APPROXIMATE
    first = indices()
    assert len(first) == 2
    for name in first:
        request_json(elasticsearch_url, "DELETE", name)
    assert await exactness() is Exactness.EXACT
    await world.keep()
    assert await exactness() is Exactness.APPROXIMATE
    world.models.publish(small_model("m2"))
    for one in (world.nominated, world.exact):
        one.refresh_model()
    assert await exactness() is Exactness.EXACT
    await keep_once(world.vectors, world.nominated.serving, 1, deque(["m1"], maxlen=2))
    assert await exactness() is Exactness.APPROXIMATE
    assert len(indices()) == 4
    world.models.promote("m1", pin=True)
    for one in (world.nominated, world.exact):
        one.refresh_model()
    assert await exactness() is Exactness.APPROXIMATE
    await world.vectors.retire(["m1"])
    assert indices() == first


async def test_two_processes_make_one_index_and_an_abandoned_one_is_begun_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = LoadedModel(small_model()).vector_rows(JOB)

    def quiet(_kind: Kind, _done: int, _of: int) -> None:
        """No progress shown."""

    other = world.catalogue.vectors()
    recalls = await asyncio.gather(*(one.publish(JOB, "m1", rows, quiet) for one in (world.vectors, other)))
    assert sorted(recalls, key=str) == [1.0, None]
    assert await other.publish(JOB, "m1", rows, quiet) == 1.0

    broken = RuntimeError("killed")

    def fail(*_: object) -> None:
        raise broken

    with monkeypatch.context() as patched:
        patched.setattr(ElasticsearchVectors, "_delete", lambda *_: asyncio.sleep(0))
        with pytest.raises(RuntimeError, match="killed"):
            await world.vectors.publish(JOB, "m2", rows, fail)
    monkeypatch.setattr(vectors_module, "ABANDONED_LOOKS", 2)
    looks = [await world.vectors.publish(JOB, "m2", rows, quiet) for _ in range(4)]
    assert looks[0] is None
    assert looks[-1] == 1.0


async def test_training_makes_the_vectors_and_index_makes_them_anew(
    elasticsearch_url: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("DATA_DIR", str(tmp_path)),
        ("CATALOGUE_URL", elasticsearch_url),
        ("NAMESPACE", namespace),
        ("RETRIEVAL", "knn"),
        ("KNN_FROM", "10"),
        ("CATALOGUE_TIMEOUT_MS", "10000"),
    ):
        monkeypatch.setenv(f"TANDEM_{name}", value)
    stores = await asyncio.to_thread(open_stores, load_settings())
    await stores.catalogue.upsert(JOB, [job_patch(number) for number in range(1, JOBS + 1)])
    await stores.events.append(
        [event(EventType.SAVE, f"t{n}", f"j{n * step % JOBS + 1}") for n in range(1, TALENTS + 1) for step in (1, 3, 7)]
    )
    shown = Console(record=True, width=200, quiet=True)
    await train_and_publish(stores, trained_at_ms=NOW_MS, nonce="n", evaluate=False, console=shown)
    assert stores.vectors is not None
    version = stores.models.current() or ""
    rows = LoadedModel(stores.models.load(version)).vector_rows(JOB)
    assert await stores.vectors.follow(JOB, version, rows) == 0
    await asyncio.to_thread(stores.close)
    await _rebuild(load_settings())
    found = orjson.loads(request_json(elasticsearch_url, "GET", f"{namespace}.vectors-*?filter_path=*.aliases"))
    assert [name.rpartition(".")[2] for name in sorted(found)] == ["000002", "000002"]


def test_nominating_takes_a_catalogue_in_elasticsearch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_RETRIEVAL", "knn")
    with pytest.raises(SettingsError, match="TANDEM_RETRIEVAL=knn needs a catalogue in Elasticsearch; set TANDEM_CATA"):
        load_settings()
    monkeypatch.setenv("TANDEM_CATALOGUE_URL", "elasticsearch://localhost:9200")
    assert load_settings().retrieval == "knn"
    monkeypatch.setenv("TANDEM_KNN_FROM", "0")
    with pytest.raises(SettingsError, match="TANDEM_KNN_FROM: allowed is a whole number from 1; got '0'"):
        load_settings()
