"""The contract of the vector index, held by the exact one of the tests and by Elasticsearch."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from gateway.adapters.sqlite.catalogue import SqliteCatalogue
from recommender.documents import Budget, BudgetType, Document, JobStatus, Kind, Level, Money, Patch
from recommender.eligibility import document_blocker
from recommender.filters import Filter, JobFilter, TalentFilter, TermFilter
from recommender.model import Side
from recommender.nomination import recall_of
from recommender.ports import Catalogue, CatalogueWriter, NomineeRequest, Nominees, VectorIndex, VectorRows
from recommender.retrieval import best, ordinals_from_bitmap
from recommender.scoring import Bias, Dense, Terms
from tests import brute_force
from tests.brute_force import AMOUNTS, CATEGORIES, CLIENTS, COUNTRIES, CURRENCIES, NUMBERS, SKILLS, WORDS
from tests.factories import DAY_MS, NOW_MS
from tests.recommender.vectors import ExactVectors

JOB, TALENT = Kind.JOB, Kind.TALENT
WIDTH = 8
SIZE = 120  # documents of each kind; the last ten have no row
ROWS = SIZE - 10
SLOW_MACHINE_MS = 10_000


class Store(Catalogue, CatalogueWriter, Protocol):
    """Both ports of a catalogue, as every engine gives them."""


@dataclass
class World:
    """A catalogue of random documents and the index under test."""

    store: Store
    index: VectorIndex
    published: set[Kind] = field(default_factory=set)

    async def everything(self, kind: Kind) -> list[Document]:
        """Every document."""
        found = await self.store.get_many(kind, ordinals=range(1, SIZE + 1))
        return [one for one in found if one is not None]


def rows(width: int = WIDTH, size: int = ROWS, samples: int = 5) -> VectorRows:
    """Rows of very unequal length, some of them zero and some equal."""
    rng = np.random.default_rng(5)
    factors = rng.normal(size=(size, width)) * rng.exponential(size=(size, 1)) ** 2
    factors[3], factors[4] = 0, factors[5]
    side = Side(np.arange(1, size + 1, dtype=np.uint32), factors.astype(np.float32), np.ones(size, dtype=np.float32))
    queries = np.column_stack([rng.normal(size=(samples, width)), np.ones(samples)])
    return VectorRows(side, rng.random(size) * 0.3, queries)


def terms_of(of: VectorRows, vector: Any) -> Terms:
    return Terms(of.side, dense=(Dense("interest", vector[:-1]),), bias=(Bias("bias", of.bias),))


def fields_of(kind: Kind, chosen: random.Random) -> dict[str, Any]:
    """Values that filters meet often."""
    fields: dict[str, Any] = {
        "title": " ".join(chosen.choices(WORDS, k=2)),
        "skills": tuple(chosen.sample(SKILLS, chosen.randrange(4))),
        "category": chosen.choice([None, *CATEGORIES]),
        "country": chosen.choice([None, *COUNTRIES]),
        "level": chosen.choice([None, *Level]),
        "attributes": {"size": chosen.choice([*NUMBERS, *CATEGORIES]), "team": chosen.choice(CATEGORIES)},
    }
    low, high = sorted(chosen.sample(AMOUNTS, 2))
    moment = chosen.choice([None, NOW_MS, NOW_MS - DAY_MS, NOW_MS - 7 * DAY_MS, NOW_MS - 7 * DAY_MS - 1])
    currency = chosen.choice(CURRENCIES)
    if kind is TALENT:
        rate = chosen.choice([None, Money(Decimal(low), currency)])
        return {**fields, "hourly_rate": rate, "is_available": chosen.random() < 0.8, "created_at_ms": moment}
    least, most = chosen.choice([(Decimal(low), Decimal(high)), (None, Decimal(high)), (Decimal(low), None)])
    budget = Budget(chosen.choice(list(BudgetType)), least, most, currency)
    return {
        **fields,
        "client_id": chosen.choice([None, *CLIENTS]),
        "is_remote": chosen.choice([None, True, False]),
        "budget": chosen.choice([None, budget]),
        "status": chosen.choice([JobStatus.OPEN, JobStatus.OPEN, JobStatus.OPEN, *JobStatus]),
        "posted_at_ms": moment,
        "expires_at_ms": chosen.choice([None, NOW_MS + DAY_MS, NOW_MS + DAY_MS, NOW_MS]),
    }


@pytest.fixture(params=["exact", "elasticsearch"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Documents `0`, `a0`, … as brute_force names them, and more."""
    store: SqliteCatalogue | ElasticsearchCatalogue
    index: VectorIndex
    if request.param == "exact":
        store = SqliteCatalogue.open(tmp_path / "catalogue.db")
        index = ExactVectors(store)
    else:
        url, name = request.getfixturevalue("elasticsearch_url"), request.getfixturevalue("namespace")
        store = ElasticsearchCatalogue.open(url, namespace=name, timeout_ms=SLOW_MACHINE_MS)
        index = store.vectors()
    chosen = random.Random(9)
    ids = [*brute_force.ids, *(f"n{number}" for number in range(SIZE))][:SIZE]
    for kind in Kind:
        await store.upsert(kind, [Patch(one, fields_of(kind, chosen)) for one in ids])
    yield World(store, index)
    store.close()


def quiet(_kind: Kind, _done: int, _of: int) -> None:
    """No progress shown."""


async def published(world: World, kind: Kind) -> None:
    """Version m1 is there."""
    if kind not in world.published:
        await world.index.publish(kind, "m1", rows(), quiet)
        world.published.add(kind)


async def nominated(world: World, *requests: NomineeRequest, kind: Kind = JOB) -> list[Nominees]:
    """Of version m1, which must be there."""
    found = await world.index.nominate(kind, "m1", requests, NOW_MS)
    assert all(one is not None for one in found)
    return [one for one in found if one is not None]


def request(wanted: Filter | None = None, text: str | None = None, k: int = 500, **fields: Any) -> NomineeRequest:
    """What a list of everything, or of what a filter leaves, would ask."""
    defaults: dict[str, Any] = {"vector": rows().samples[0], "excluded": ()}
    return NomineeRequest(filter=wanted or JobFilter(), text=text, k=k, **{**defaults, **fields})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_nominees_are_exactly_what_matches_when_all_of_it_is_wanted(world: World, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(Kind)))
    await published(world, kind)
    everything = await world.everything(kind)
    asked = []
    for _ in range(8):
        wanted = data.draw(brute_force.filters_of(kind))
        text = data.draw(st.none() | st.sampled_from(WORDS))
        excluded = data.draw(st.lists(st.integers(1, SIZE), max_size=5))
        asked.append(request(wanted, text, excluded=excluded))
    for one, found in zip(asked, await world.index.nominate(kind, "m1", asked, NOW_MS), strict=True):
        if found is None:
            assert any(clause.min is not None or clause.max is not None for clause in one.filter.attributes)
            continue
        expected = [
            document.ordinal
            for document in brute_force.found(everything, one.filter, one.text, NOW_MS)
            if document.ordinal <= ROWS
            and document.ordinal not in one.excluded
            and document_blocker(document, NOW_MS) is None
        ]
        assert found.ordinals.tolist() == sorted(expected)


async def test_the_nearest_by_product_and_bias_are_nominated(world: World) -> None:
    await world.index.publish(JOB, "m1", rows(), quiet)
    mirror = await world.store.mirror(JOB)
    candidates = ordinals_from_bitmap(mirror.matching(JobFilter(), NOW_MS) & mirror.eligible(NOW_MS))
    candidates = candidates[candidates <= ROWS]
    vectors = rows().samples
    for vector, found in zip(
        vectors, await nominated(world, *(request(vector=one, k=10) for one in vectors)), strict=True
    ):
        top, _ = best(terms_of(rows(), vector), candidates, 10, mirror)
        assert found.ordinals.tolist() == sorted(top.tolist())


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30), st.text(max_size=30))
async def test_whatever_a_filter_says_is_only_a_value(world: World, text: str, other: str) -> None:
    await published(world, JOB)
    hostile = JobFilter(ids=(text, other), skills=TermFilter(any=(text,), none=(other,) * (other != text)))
    (found,) = await nominated(world, request(hostile, '"}, {"match_all": {}} ' + other))
    (matching,) = await world.store.matching(JOB, [(hostile, '"}, {"match_all": {}} ' + other)], NOW_MS)
    assert set(found.ordinals.tolist()) <= set(matching)


async def test_what_closes_goes_or_changes_is_followed(world: World) -> None:
    await world.index.publish(JOB, "m1", rows(), quiet)
    await world.store.upsert(JOB, [Patch(f"n{n}", {"status": JobStatus.OPEN, "expires_at_ms": None}) for n in range(6)])
    ordinals = await world.store.ensure(JOB, [f"n{n}" for n in range(6)])
    assert await world.index.follow(JOB, "m1", rows()) in range(1, 7)
    assert await world.index.follow(JOB, "m1", rows()) == 0
    (before,) = await nominated(world, request())
    assert set(ordinals) <= set(before.ordinals.tolist())
    await world.store.upsert(JOB, [Patch("n0", {"status": JobStatus.CLOSED}), Patch("n1", {"category": "moved"})])
    await world.store.delete(JOB, "n2")
    await world.store.delete(JOB, "n3")
    await world.store.upsert(JOB, [Patch("n3", {"category": "moved"}, NOW_MS)])
    assert await world.index.follow(JOB, "m1", rows()) == 4
    after, moved = await nominated(world, request(), request(JobFilter(categories=("moved",))))
    assert set(before.ordinals.tolist()) - set(after.ordinals.tolist()) >= {ordinals[0], ordinals[2]}
    assert moved.ordinals.tolist() == [ordinals[1], ordinals[3]]
    (closed,) = await nominated(world, request(JobFilter(statuses=(JobStatus.CLOSED,))))
    assert not len(closed.ordinals)


async def test_a_version_is_there_once_it_is_published_and_until_it_is_retired(world: World) -> None:
    assert await world.index.nominate(JOB, "m1", [request()], NOW_MS) == [None]
    assert await world.index.follow(JOB, "m1", rows()) is None
    seen: list[tuple[Kind, int, int]] = []
    recall = await world.index.publish(JOB, "m1", rows(), lambda *step: seen.append(step))
    assert recall is not None
    assert 0.99 <= recall <= 1.0
    assert seen[-1] == (JOB, ROWS, ROWS)
    await world.index.publish(JOB, "m2", rows(width=5), quiet)
    (first,) = await nominated(world, request())
    assert first.recall == recall
    other = NomineeRequest(rows(width=5).samples[0], JobFilter(), None, (), 500)
    (second,) = await world.index.nominate(JOB, "m2", [other], NOW_MS)
    assert second is not None
    assert second.ordinals.tolist() == first.ordinals.tolist()
    assert await world.index.publish(JOB, "m1", rows(), quiet, anew=True) == recall
    assert [one.ordinals.tolist() for one in await nominated(world, request())] == [first.ordinals.tolist()]
    assert await world.index.nominate(TALENT, "m1", [request(TalentFilter())], NOW_MS) == [None]
    await world.index.retire(["m2"])
    assert await world.index.nominate(JOB, "m1", [request()], NOW_MS) == [None]
    assert await world.index.nominate(JOB, "m2", [other], NOW_MS) != [None]


async def test_the_stated_recall_is_what_is_measured(world: World) -> None:
    everything = rows(width=24, size=ROWS, samples=40)
    stated = await world.index.publish(JOB, "m1", everything, quiet)
    mirror = await world.store.mirror(JOB)
    candidates = ordinals_from_bitmap(mirror.matching(JobFilter(), NOW_MS) & mirror.eligible(NOW_MS))
    candidates = candidates[candidates <= ROWS]
    found = await nominated(world, *(request(vector=one, k=1_000) for one in everything.samples))
    measured = [
        recall_of(terms_of(everything, vector), candidates, one.ordinals)
        for vector, one in zip(everything.samples, found, strict=True)
    ]
    assert stated == pytest.approx(np.mean(measured), abs=0.02)
