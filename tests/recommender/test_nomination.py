"""Lists that an index of vectors nominates for: what they say of themselves, and what stays exact whatever happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.documents import JobStatus, Kind
from recommender.errors import BadInputError
from recommender.events import EventType
from recommender.exposure import Floor
from recommender.filters import AttributeFilter, JobFilter, TalentFilter, TermFilter
from recommender.model import Model, Side
from recommender.nomination import LEAST, MOST, count_for, longest_of, recall_of, unit_query, unit_rows, vector_of
from recommender.ports import NomineeRequest, Nominees, VectorRows
from recommender.query import Exactness, ListQuery, Mode, Options, RankedPage
from recommender.rules import Rule, RuleKind
from recommender.scoring import Dense, Terms
from recommender.search import FacetField
from recommender.steering import Steering
from recommender.versions import LoadedModel
from tests.factories import NOW_MS, event, job, talent
from tests.recommender.fakes import World, blended, model
from tests.recommender.vectors import ExactVectors

JOBS = 120
RECALL = 0.93


def jobs_for(talent_id: str = "t1", **fields: object) -> ListQuery:
    defaults = {"mode": Mode.RECOMMENDED, "subject_kind": Kind.TALENT, "subject_id": talent_id, "filter": JobFilter()}
    return ListQuery(**{**defaults, **fields})  # type: ignore[arg-type]


def quiet(_kind: Kind, _done: int, _of: int) -> None:
    """No progress shown."""


async def publish(vectors: ExactVectors, of: Model) -> None:
    for kind in Kind:
        await vectors.publish(kind, of.manifest.version, LoadedModel(of).vector_rows(kind), quiet)


async def worlds(
    *models: Model, index: type[ExactVectors] = ExactVectors, nominated_from: int = 1, jobs: int = JOBS
) -> tuple[World, World, ExactVectors]:
    """The same world twice, searched exactly and nominated for, and the index of the second."""
    made = []
    for _ in range(2):
        documents = [
            *(talent(n) for n in range(1, 41)),
            *(job(n, skills=("Go", "SQL")[n % 2 :], client_id=f"c{n % 4}") for n in range(1, jobs + 1)),
        ]
        events = [
            *(event(EventType.VIEW, f"t{n}", f"j{n * 2}") for n in range(1, 10)),
            *(event(EventType.SAVE, f"t{n}", f"j{n * 3 + 1}") for n in range(1, 10)),
            event(EventType.DISMISS, "t1", "j11"),
        ]
        made.append(World(documents, events, *(models or (model(),))))
    exact, nominated = made
    vectors = index(nominated.catalogue, RECALL)
    nominated.vectors, nominated.nominated_from = vectors, nominated_from
    nominated.recommender = nominated.replica()
    for one in models or (model(),):
        await publish(vectors, one)
    return exact, nominated, vectors


async def one(world: World, query: ListQuery) -> RankedPage:
    (page,) = await world.recommender.lists([query])
    assert isinstance(page, RankedPage), page
    return page


async def all_pages(world: World, query: ListQuery) -> list[RankedPage]:
    pages = [await one(world, query)]
    while pages[-1].has_next:
        pages.append(await one(world, replace(query, after=pages[-1].items[-1].position)))
    return pages


def rows_of(*pages: RankedPage) -> list[tuple[str, int, float]]:
    return [(item.id, item.rank, item.score) for page in pages for item in page.items]


@pytest.mark.parametrize(
    "query", [jobs_for(), jobs_for(filter=JobFilter(skills=TermFilter(all=("go",)))), jobs_for("t9")]
)
@pytest.mark.parametrize("of", [model(), blended(model())])
async def test_a_nominated_list_says_so_and_is_the_exact_one_where_nothing_is_missed(
    query: ListQuery, of: Model
) -> None:
    exact, nominated, vectors = await worlds(of)
    page, expected = await one(nominated, query), await one(exact, query)
    assert (expected.exactness, expected.recall) == (Exactness.EXACT, None)
    assert (page.exactness, page.recall) == (Exactness.APPROXIMATE, RECALL)
    assert rows_of(page) == rows_of(expected)
    assert (page.total, page.has_next) == (expected.total, expected.has_next)
    assert vectors.calls["nominate"] == 1


async def test_what_the_index_misses_is_all_that_a_list_misses() -> None:
    exact, nominated, vectors = await worlds()
    expected = await one(exact, jobs_for(first=30))
    missed = expected.items[3]
    vectors.hidden = {missed.ordinal}
    pages = await all_pages(nominated, jobs_for(first=7))
    names = [name for name, _, _ in rows_of(*pages)]
    assert len(set(names)) == len(names)
    whole = [name for name, _, _ in rows_of(*await all_pages(exact, jobs_for(first=7)))]
    assert names == [name for name in whole if name != missed.id]
    assert {page.total for page in pages} == {expected.total}
    request = (pages[0], (FacetField.SKILLS,), (), 10)
    assert await nominated.recommender.facets([request]) == await exact.recommender.facets(
        [(expected, (FacetField.SKILLS,), (), 10)]
    )


async def test_neighbours_are_found_whatever_the_index_knows() -> None:
    exact, nominated, vectors = await worlds(blended(model(), weight=50.0))
    expected = await one(exact, jobs_for())
    top = expected.items[0]
    interest = expected.context.snapshot.interest
    near = LoadedModel(blended(model(), weight=50.0)).jobs.terms_of(interest).sparse[0]
    assert top.ordinal in near.ordinals
    vectors.hidden = set(near.ordinals.tolist())
    page = await one(nominated, jobs_for())
    assert page.exactness is Exactness.APPROXIMATE
    assert rows_of(page)[: len(near.ordinals)] == rows_of(expected)[: len(near.ordinals)]


class Careless(ExactVectors):
    """Nominates everything, as an index that lags behind would some of it."""

    async def nominate(
        self, kind: Kind, version: str, requests: Sequence[NomineeRequest], as_of_ms: int
    ) -> list[Nominees | None]:
        return [Nominees(np.arange(1, JOBS + 1, dtype=np.uint32), RECALL) for _ in requests]


async def test_a_nominee_that_has_closed_is_dismissed_or_does_not_match_is_never_shown() -> None:
    exact, nominated, _ = await worlds(index=Careless)
    for world in (exact, nominated):
        for ordinal in range(1, 60):
            world.catalogue.change(Kind.JOB, ordinal, status=JobStatus.CLOSED)
        world.catalogue.change(Kind.JOB, 60, expires_at_ms=NOW_MS)
        world.catalogue.change(Kind.JOB, 61, skills=())
        world.catalogue.remove(Kind.JOB, 62)
    query = jobs_for(filter=JobFilter(skills=TermFilter(any=("go", "sql"))), first=200)
    page = await one(nominated, query)
    assert rows_of(page) == rows_of(await one(exact, query))
    assert not {f"j{n}" for n in range(1, 63)} & {item.id for item in page.items}


async def test_what_the_model_has_no_row_of_is_where_its_score_puts_it() -> None:
    exact, nominated, _ = await worlds()
    for world in (exact, nominated):
        world.catalogue.put(job(JOBS + 1, job_id="a new one"))
    pages = await all_pages(nominated, jobs_for(first=10))
    assert rows_of(*pages) == rows_of(*await all_pages(exact, jobs_for(first=10)))
    assert pages[0].exactness is Exactness.APPROXIMATE
    (place,) = (page for page in pages if "a new one" in {item.id for item in page.items})
    assert place.exactness is Exactness.EXACT


async def test_without_help_of_the_index_a_list_is_searched_for_and_exact() -> None:
    exact, nominated, vectors = await worlds(nominated_from=50)
    few = jobs_for(filter=JobFilter(ids=tuple(f"j{n}" for n in range(1, 50))))
    alike = jobs_for(mode=Mode.SIMILAR, subject_kind=Kind.JOB, subject_id="j5")
    unknown = jobs_for("nobody")
    for query in (few, alike, unknown):
        page = await one(nominated, query)
        assert (page.exactness, page.recall) == (Exactness.EXACT, None)
        assert rows_of(page) == rows_of(await one(exact, query))
    assert not vectors.calls["nominate"]
    ranged = jobs_for(filter=JobFilter(attributes=(AttributeFilter("size"),)))
    assert (await one(nominated, ranged)).exactness is Exactness.APPROXIMATE
    vectors.is_down = True
    page = await one(nominated, jobs_for())
    assert (page.exactness, page.recall) == (Exactness.EXACT, None)
    assert rows_of(page) == rows_of(await one(exact, jobs_for()))


async def test_an_index_that_fails_is_left_alone_for_a_second() -> None:
    _, nominated, vectors = await worlds()
    vectors.is_down = True
    for _ in range(5):
        assert (await one(nominated, jobs_for())).exactness is Exactness.EXACT
    assert vectors.calls["nominate"] == 1
    vectors.is_down = False
    nominated.now_ms += 1_000
    assert (await one(nominated, jobs_for())).exactness is Exactness.APPROXIMATE


async def test_an_index_that_has_lost_too_many_rows_is_not_believed() -> None:
    exact, nominated, vectors = await worlds()
    vectors.hidden = set(range(10, JOBS + 1))
    page = await one(nominated, jobs_for())
    assert page.exactness is Exactness.EXACT
    assert rows_of(page) == rows_of(await one(exact, jobs_for()))


async def test_lists_go_on_over_a_new_model_a_rollback_and_a_lost_index() -> None:
    first, second = model("m1"), model("m2", seed=2)
    exact, nominated, vectors = await worlds(second, first)
    begun = await one(nominated, jobs_for(first=5))
    for version, kept, expected in (("m2", ["m2"], "APPROXIMATE"), ("m1", ["m2"], "EXACT"), ("m2", [], "EXACT")):
        for world in (exact, nominated):
            world.models.pointer = version
            assert world.recommender.refresh_model()
        await vectors.retire(kept)
        page = await one(nominated, jobs_for())
        assert (page.model.version, page.exactness.value) == (version, expected)
        assert rows_of(page) == rows_of(await one(exact, jobs_for()))
    later = await one(nominated, jobs_for(first=5, after=begun.items[-1].position))
    assert (later.model.version, later.exactness) == ("m1", Exactness.EXACT)
    assert not {item.id for item in begun.items} & {item.id for item in later.items}


async def test_a_re_ranked_list_says_on_every_page_what_it_was_made_from() -> None:
    exact, nominated, vectors = await worlds(model(jobs=700), jobs=700)
    query = jobs_for(first=5, options=Options(max_per_client=1))
    begun = await one(nominated, query)
    assert vectors.asked[0].k == LEAST
    vectors.is_down = True
    page = await one(nominated, replace(query, after=begun.items[-1].position))
    assert (page.exactness, page.recall) == (Exactness.APPROXIMATE, RECALL)
    assert rows_of(begun, page) == rows_of(*(await all_pages(exact, query))[:2])


async def test_rules_and_floors_are_kept_with_nominees_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    steering = Steering(
        rules=(
            Rule(name="out", kind=RuleKind.EXCLUDE, items=JobFilter(ids=tuple(f"j{n}" for n in range(1, 200, 3)))),
            Rule(name="pin", kind=RuleKind.PIN, items=JobFilter(ids=("j2", "j5")), position=3),
        ),
        new_jobs=Floor(0.2, 7),
    )
    exact, nominated, vectors = await worlds(model(jobs=700), jobs=700)
    for world in (exact, nominated):
        for number in range(600, 701):
            world.catalogue.change(Kind.JOB, number, posted_at_ms=NOW_MS)
        world.steering = steering
        world.recommender = world.replica()
    page = await one(nominated, jobs_for(first=100))
    assert page.exactness is Exactness.APPROXIMATE
    assert set(range(1, 200, 3)) <= set(vectors.asked[-1].excluded)
    assert rows_of(page) == rows_of(await one(exact, jobs_for(first=100)))
    monkeypatch.setattr("recommender.ranking.MOST_RULED_OUT", 10)
    vectors.asked.clear()
    assert rows_of(await one(nominated, jobs_for(first=100))) == rows_of(page)
    assert vectors.asked == []  # the index can't be told to leave out so many


async def test_many_lists_are_one_question_of_the_index() -> None:
    _, nominated, vectors = await worlds()
    queries = [jobs_for(f"t{n}") for n in range(1, 9)]
    pages = await nominated.recommender.lists(queries)
    assert all(isinstance(page, RankedPage) and page.exactness is Exactness.APPROXIMATE for page in pages)
    assert vectors.calls["nominate"] == 1
    assert len(vectors.asked) == 8
    assert vectors.asked[0].excluded
    of_a_job = jobs_for(subject_kind=Kind.JOB, subject_id="j4", filter=TalentFilter())
    assert (await one(nominated, of_a_job)).exactness is Exactness.APPROXIMATE


def test_twice_as_many_are_nominated_as_are_wanted_and_deep_pages_are_searched_for() -> None:
    assert [count_for(depth) for depth in (1, LEAST // 2, LEAST, MOST // 2, MOST // 2 + 1)] == [
        LEAST,
        LEAST,
        2 * LEAST,
        MOST,
        None,
    ]


def test_only_a_product_with_the_rows_as_they_are_can_be_nominated_for() -> None:
    side = model().jobs
    vector = np.arange(8.0)
    tables = {"interest": side, "mutual": side}
    assert vector_of(Terms(side, dense=(Dense("interest", vector),)), {"interest": side}).tolist() == [*range(8), 1.0]
    assert vector_of(Terms(side, dense=(Dense("mutual", vector),)), tables).tolist() == [*([0.0] * 8), *range(8), 1.0]
    for dense in ((), (Dense("likeness", vector, np.ones(JOBS)),)):
        with pytest.raises(BadInputError, match="by interest"):
            vector_of(Terms(side, dense=dense), {"interest": side})


@given(st.integers(0, 10_000), st.floats(0, 3))
def test_unit_rows_order_as_the_products_do(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    factors = (rng.normal(size=(30, 6)) * np.exp(spread * rng.normal(size=(30, 1)))).astype(np.float32)
    factors[0] = 0
    side = Side(np.arange(1, 31, dtype=np.uint32), factors, np.ones(30, dtype=np.float32))
    rows = VectorRows(side, rng.random(30), np.empty((0, 7)))
    unit = unit_rows(rows, np.arange(30), longest_of(rows)).astype(np.float64)
    assert np.linalg.norm(unit, axis=1) == pytest.approx(1, abs=1e-6)
    query = rng.normal(size=7)
    products = np.column_stack([factors.astype(np.float64), rows.bias]) @ query
    scale = longest_of(rows) * np.linalg.norm(query)
    assert unit @ unit_query(query).astype(np.float64) * scale == pytest.approx(products, abs=1e-5 * scale)


def test_recall_counts_what_is_as_good_as_found() -> None:
    side = Side(np.arange(1, 5, dtype=np.uint32), np.array([[4], [3], [3], [1]], np.float32), np.ones(4, np.float32))
    terms = Terms(side, dense=(Dense("interest", np.ones(1)),))
    everything = side.ordinals
    assert recall_of(terms, everything, everything) == 1.0
    assert recall_of(terms, everything, everything[:3]) == 0.75
    assert recall_of(terms, everything[:0], everything[:0]) == 1.0
