"""Contract of the Catalogue and CatalogueWriter ports. Every adapter passes it against the real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyroaring import FrozenBitMap

from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from gateway.adapters.sqlite.catalogue import SqliteCatalogue
from recommender.documents import (
    Budget,
    BudgetType,
    Document,
    Job,
    JobStatus,
    Kind,
    Level,
    Money,
    Patch,
    PatchOutcome,
    Refused,
)
from recommender.errors import BadInputError, UnavailableError
from recommender.filters import AttributeFilter, JobFilter, PayFilter, TalentFilter, TermFilter
from recommender.ports import Catalogue, CatalogueWriter
from recommender.search import FacetField, FacetRequest, SearchPosition, SearchRequest, Sort
from tests import brute_force
from tests.elasticsearch_server import empty
from tests.factories import DAY_MS, NOW_MS

SLOW_MACHINE_MS = 10_000  # what is tested here is what is answered, not when

JOB, TALENT = Kind.JOB, Kind.TALENT
CREATED, UPDATED, UNCHANGED, STALE, DELETED = (
    PatchOutcome.CREATED,
    PatchOutcome.UPDATED,
    PatchOutcome.UNCHANGED,
    PatchOutcome.STALE,
    PatchOutcome.DELETED,
)


class Store(Catalogue, CatalogueWriter, Protocol):
    """Both ports in one, as every engine gives them."""


class Closable(Store, Protocol):
    """A store that this file opened."""

    def close(self) -> None: ...


class Engine:
    """Opens catalogues: each `open` a connection of its own, as another process would; `fresh` empties first."""

    def __init__(self, opened: Callable[[int], Closable]) -> None:
        """opened: opens the catalogue of a number, creating it at the first time."""
        self._open = opened
        self._count = 0
        self._opened: list[Closable] = []

    def open(self) -> Store:
        catalogue = self._open(self._count)
        self._opened.append(catalogue)
        return catalogue

    def fresh(self) -> Store:
        self.close()
        self._count += 1
        return self.open()

    def close(self) -> None:
        for catalogue in self._opened:
            catalogue.close()
        self._opened.clear()


@pytest.fixture(params=["sqlite", "elasticsearch"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        one = Engine(lambda number: SqliteCatalogue.open(tmp_path / f"catalogue{number}.db"))
        yield one
        one.close()
        return
    url, name = request.getfixturevalue("elasticsearch_url"), request.getfixturevalue("kept_namespace")
    emptied = -1

    def opened(number: int) -> ElasticsearchCatalogue:
        nonlocal emptied
        catalogue = ElasticsearchCatalogue.open(url, namespace=name, timeout_ms=SLOW_MACHINE_MS)
        if number != emptied:
            empty(url, name)
            emptied = number
        return catalogue

    one = Engine(opened)
    yield one
    one.close()


@pytest.fixture
def store(engine: Engine) -> Store:
    return engine.open()


def patch(document_id: str, updated_at_ms: int | None = None, **changes: Any) -> Patch:
    return Patch(document_id, changes, updated_at_ms)


def patches_of(documents: list[Document]) -> list[Patch]:
    """Patches that set every field of these documents."""
    kept = {"ordinal", "job_id", "talent_id", "updated_at_ms"}
    return [
        Patch(one.id, {item.name: getattr(one, item.name) for item in fields(one) if item.name not in kept})
        for one in documents
    ]


async def job_of(store: Store, job_id: str) -> Job:
    (found,) = await store.get_many(JOB, ids=[job_id])
    assert isinstance(found, Job)
    return found


async def found_by(store: Store, text: str) -> set[str]:
    (page,) = await store.search(JOB, [SearchRequest(JobFilter(), text, first=100)], NOW_MS)
    assert page.total == len(page.ordinals)
    return {position.id for position in page.positions}


# --- Documents ---------------------------------------------------------------------------------------------------


async def test_every_field_comes_back_as_it_was_written(store: Store) -> None:
    everything: dict[str, Any] = {
        "client_id": "c\0 1",
        "title": "Büro\n„Zwölf“ 😀",
        "description": "x" * 5_000,
        "skills": ("C++", "c++", "Go"),
        "category": "Design",
        "country": "DE",
        "is_remote": False,
        "budget": Budget(BudgetType.FIXED, Decimal("1234567890123456.78"), None, "EUR"),
        "level": Level.EXPERT,
        "status": JobStatus.PAUSED,
        "posted_at_ms": NOW_MS,
        "expires_at_ms": 0,
        "attributes": {"team": "blue", "": "no name", "größe": "XL"},
    }
    assert await store.upsert(JOB, [Patch("j", everything, 5)]) == [CREATED]
    assert await job_of(store, "j") == Job(ordinal=1, job_id="j", updated_at_ms=5, **everything)
    rate = Money(Decimal("45.5"), "USD")
    await store.upsert(TALENT, [patch("t", hourly_rate=rate, is_available=False, created_at_ms=1)])
    (talent,) = await store.get_many(TALENT, [1])
    assert talent is not None
    assert (talent.hourly_rate, talent.is_available, talent.created_at_ms) == (rate, False, 1)  # type: ignore[union-attr]


async def test_documents_come_in_the_order_asked_for_with_none_for_unknown_ones(store: Store) -> None:
    await store.upsert(JOB, [patch("a"), patch("b"), patch("A")])
    found = await store.get_many(JOB, [2, 99, 1, 2], ["A", "x", "a", "A"])
    assert [one and one.id for one in found] == ["b", None, "a", "b", "A", None, "a", "A"]
    assert await store.get_many(JOB) == []
    assert await store.get_many(TALENT, [1]) == [None]


async def test_many_documents_come_at_once(store: Store) -> None:
    ordinals = await store.ensure(JOB, [f"j{n}" for n in range(2_500)])
    assert [one and one.id for one in await store.get_many(JOB, ordinals[::-1])] == [
        f"j{n}" for n in range(2_499, -1, -1)
    ]


async def test_an_absent_field_keeps_and_an_empty_one_clears(store: Store) -> None:
    await store.upsert(JOB, [patch("j", title="T", skills=("Go",), level=Level.ENTRY, status=JobStatus.CLOSED)])
    await store.upsert(JOB, [patch("j", category="C")])
    assert await job_of(store, "j") == Job(
        ordinal=1, job_id="j", title="T", skills=("Go",), level=Level.ENTRY, status=JobStatus.CLOSED, category="C"
    )
    await store.upsert(JOB, [patch("j", title="", skills=(), level=None, status=None)])
    assert await job_of(store, "j") == Job(ordinal=1, job_id="j", category="C")


async def test_attributes_merge_and_none_removes(store: Store) -> None:
    await store.upsert(JOB, [patch("j", attributes={"a": "1", "b": "2"})])
    await store.upsert(JOB, [patch("j", attributes={"b": None, "c": "3"})])
    assert (await job_of(store, "j")).attributes == {"a": "1", "c": "3"}
    await store.upsert(JOB, [patch("j", attributes=None)])
    assert (await job_of(store, "j")).attributes == {}


async def test_what_changes_nothing_is_unchanged_and_no_change_to_readers(store: Store) -> None:
    money = Budget(BudgetType.HOURLY, Decimal("40"), Decimal("50.0"), "USD")
    await store.upsert(JOB, [patch("j", title="T", budget=money)])
    before = (await store.changes(JOB, 0)).revision
    again = replace(money, min=Decimal("40.00"), max=Decimal("5E+1"))
    outcomes = await store.upsert(
        JOB, [patch("j"), patch("j", title="T", budget=again), patch("j", 9, title="T"), patch("j", category="")]
    )
    assert outcomes == [UNCHANGED] * 4
    assert (await store.changes(JOB, 0)).revision == before
    assert await store.upsert(JOB, [patch("j", 8, title="old")]) == [STALE]


async def test_an_older_patch_never_overwrites_a_newer_one(store: Store) -> None:
    outcomes = await store.upsert(
        JOB, [patch("j", 5, title="five"), patch("j", 4, title="four"), patch("j", 5, title="five again")]
    )
    assert outcomes == [CREATED, STALE, UPDATED]
    assert await store.upsert(JOB, [patch("j", title="timeless")]) == [UPDATED]
    assert await store.upsert(JOB, [patch("j", 4, title="four")]) == [STALE]
    found = await job_of(store, "j")
    assert (found.title, found.updated_at_ms) == ("timeless", 5)


async def test_patches_of_one_call_apply_in_order(store: Store) -> None:
    outcomes = await store.upsert(JOB, [patch("j", title="a", category="C"), patch("k"), patch("j", title="b")])
    assert outcomes == [CREATED, CREATED, UPDATED]
    found = await job_of(store, "j")
    assert (found.ordinal, found.title, found.category) == (1, "b", "C")
    assert await store.upsert(JOB, []) == []


async def test_ids_are_opaque_bytes(store: Store) -> None:
    ids = ["a", "A", " a", "é", "e\u0301", "1", "01", "x\0y", "x", "😀", "'; DROP TABLE jobs; --", "é" * 128]
    ordinals = await store.ensure(JOB, ids)
    assert ordinals == list(range(1, len(ids) + 1))
    assert [one and one.id for one in await store.get_many(JOB, ids=ids)] == ids
    assert (await store.mirror(JOB)).ordinals_of(ids) == ordinals


@pytest.mark.parametrize("bad", ["", "é" * 129, "\ud800"])
async def test_what_cannot_be_an_id_is_refused(store: Store, bad: str) -> None:
    with pytest.raises(BadInputError, match="1 to 256 bytes"):
        await store.ensure(JOB, ["good", bad])
    assert await store.get_many(JOB, ids=["good", bad]) == [None, None]
    created, refused = await store.upsert(JOB, [patch("good"), patch(bad)])
    assert created is CREATED
    assert isinstance(refused, Refused)
    assert refused.reason == f"an id must be 1 to 256 bytes of UTF-8; got {bad[:40]!a}"
    assert [one and one.id for one in await store.get_many(JOB, ids=["good", bad])] == ["good", None]
    assert await store.delete(JOB, bad) is None


async def test_of_some_bad_patches_the_good_ones_are_kept_and_the_others_reported(store: Store) -> None:
    await store.upsert(JOB, [patch("kept", title="before"), patch("gone", 5, title="x")])
    await store.delete(JOB, "gone")
    outcomes = await store.upsert(
        JOB,
        [
            patch("a", title="Go"),
            patch("surrogate", title="\ud800"),
            patch("kept", title="\udfff"),
            patch("kept", category="C"),
            patch("far", posted_at_ms=2**70),
            patch("gone", 9, title="\ud800"),
            patch("z", title="Go"),
        ],
    )
    assert [one if isinstance(one, PatchOutcome) else None for one in outcomes] == [
        *(CREATED, None, None, UPDATED, None, None, CREATED)
    ]
    for one in outcomes:
        assert isinstance(one, PatchOutcome) or one.reason.startswith("a document must hold valid Unicode text and 64-")
    names = ["a", "surrogate", "kept", "far", "gone", "z"]
    assert [one and one.id for one in await store.get_many(JOB, ids=names)] == ["a", None, "kept", None, None, "z"]
    kept = await job_of(store, "kept")
    assert (kept.title, kept.category) == ("before", "C")
    assert await store.upsert(JOB, [patch("gone", 4), patch("gone", 9, title="x")]) == [DELETED, CREATED]
    assert (await job_of(store, "gone")).ordinal == 2


async def test_ensure_creates_bare_open_documents_once(store: Store) -> None:
    await store.upsert(JOB, [patch("b", title="B")])
    assert await store.ensure(JOB, ["a", "b", "a", "c"]) == [2, 1, 2, 3]
    assert await store.ensure(JOB, ["c", "a"]) == [3, 2]
    assert await store.ensure(JOB, []) == []
    assert await job_of(store, "a") == Job(ordinal=2, job_id="a")
    assert (await job_of(store, "b")).title == "B"
    assert await store.ensure(TALENT, ["a"]) == [1]
    assert list((await store.mirror(JOB)).eligible(NOW_MS)) == [1, 2, 3]


# --- Deletion ----------------------------------------------------------------------------------------------------


async def test_a_deleted_document_is_gone_everywhere(store: Store) -> None:
    await store.upsert(JOB, [patch("j", title="Go"), patch("k", title="Go")])
    receipt = await store.delete(JOB, "j")
    assert receipt
    assert "j" not in receipt
    assert await store.get_many(JOB, [1], ["j"]) == [None, None]
    assert await found_by(store, "go") == {"k"}
    assert (await store.mirror(JOB)).ordinals_of(["j"]) == [None]
    assert await store.delete(JOB, "j") is None
    assert await store.delete(JOB, "never") is None


async def test_ordinals_are_never_reused(store: Store) -> None:
    await store.ensure(JOB, ["a", "b"])
    await store.delete(JOB, "b")
    assert await store.ensure(JOB, ["c", "b"]) == [3, 2]
    assert await store.get_many(JOB, [2]) == [None]


async def test_only_an_explicitly_newer_patch_revives_a_deleted_document_under_its_ordinal(store: Store) -> None:
    await store.upsert(JOB, [patch("j", 10, title="old", category="C")])
    await store.delete(JOB, "j", at_ms=20)
    tries = [patch("j", title="x"), patch("j", 15, title="x"), patch("j", 20, title="x")]
    assert await store.upsert(JOB, tries) == [DELETED] * 3
    assert await store.get_many(JOB, ids=["j"]) == [None]
    assert await store.upsert(JOB, [patch("j", 21, title="new"), patch("j", 22, level=Level.ENTRY)]) == [
        CREATED,
        UPDATED,
    ]
    assert await job_of(store, "j") == Job(ordinal=1, job_id="j", title="new", level=Level.ENTRY, updated_at_ms=22)
    assert await found_by(store, "new") == {"j"}
    assert await store.delete(JOB, "j") is not None


async def test_without_a_time_of_deletion_a_patch_must_be_newer_than_the_document_was(store: Store) -> None:
    await store.upsert(JOB, [patch("j", 10), patch("k")])
    await store.delete(JOB, "j")
    await store.delete(JOB, "k")
    assert await store.upsert(JOB, [patch("j", 10), patch("j", 11)]) == [DELETED, CREATED]
    assert await store.upsert(JOB, [patch("k"), patch("k", 1)]) == [DELETED, CREATED]


async def test_nothing_revives_an_erased_document(store: Store) -> None:
    await store.ensure(JOB, ["a", "b", "c"])
    assert await store.delete(JOB, "a", erase=True)
    receipt = await store.delete(JOB, "b")
    assert await store.delete(JOB, "b", erase=True) == receipt
    assert await store.delete(JOB, "b", erase=True) == receipt
    assert await store.upsert(JOB, [patch("a", NOW_MS), patch("b", NOW_MS), patch("c", NOW_MS)]) == [
        DELETED,
        DELETED,
        UNCHANGED,
    ]
    assert await store.ensure(JOB, ["a"]) == [1]
    assert await store.get_many(JOB, [1, 2]) == [None, None]
    await store.delete(JOB, "c")
    assert await store.erased(JOB, ["c", "b", "nobody", "a"]) == [None, 2, None, 1]


async def test_a_deleted_job_does_not_bury_a_talent_of_the_same_id(store: Store) -> None:
    await store.ensure(JOB, ["x"])
    await store.delete(JOB, "x", erase=True)
    assert await store.upsert(TALENT, [patch("x")]) == [CREATED]


# --- Changes -----------------------------------------------------------------------------------------------------


async def test_changes_page_through_everything_once_in_its_newest_state(store: Store) -> None:
    await store.upsert(JOB, [patch(f"j{n}", title="old") for n in range(7)])
    await store.upsert(TALENT, [patch("t")])
    await store.upsert(JOB, [patch("j0", title="new")])
    await store.delete(JOB, "j3")
    await store.upsert(TALENT, [patch("u")])
    seen: list[str] = []
    deleted: list[int] = []
    revision = 0
    while True:
        changes = await store.changes(JOB, revision, limit=2)
        assert len(changes.upserted) + len(changes.deleted) <= 2
        if not changes.upserted and not changes.deleted:
            break
        assert changes.revision > revision
        revision = changes.revision
        seen.extend(f"{one.id} {one.title}" for one in changes.upserted)
        deleted.extend(changes.deleted)
    assert seen == ["j1 old", "j2 old", "j4 old", "j5 old", "j6 old", "j0 new"]
    assert deleted == [4]
    assert revision == (await store.mirror(JOB)).revision


async def test_another_process_sees_each_write_with_its_next_call(engine: Engine) -> None:
    here, there = engine.open(), engine.open()
    for reader, writer in ((here, there), (there, here)):
        await writer.upsert(JOB, [patch("j", title="Go", status=JobStatus.OPEN)])
        assert list((await reader.mirror(JOB)).eligible(NOW_MS)) == [1]
        assert await found_by(reader, "go") == {"j"}
        await writer.upsert(JOB, [patch("j", title="Rust", status=JobStatus.CLOSED)])
        assert not (await reader.mirror(JOB)).eligible(NOW_MS)
        wanted = JobFilter(statuses=(JobStatus.CLOSED,))
        assert [len(found) for found in await reader.matching(JOB, [(wanted, "go"), (wanted, "rust")], NOW_MS)] == [
            0,
            1,
        ]


async def test_a_catalogue_keeps_what_was_written_when_it_is_opened_again(engine: Engine) -> None:
    first = engine.open()
    await first.upsert(JOB, [patch("j", title="Go"), patch("k")])
    await first.delete(JOB, "k")
    engine.close()
    again = engine.open()
    assert await found_by(again, "go") == {"j"}
    assert await again.upsert(JOB, [patch("k")]) == [DELETED]
    assert await again.ensure(JOB, ["l"]) == [3]


async def test_concurrent_writers_lose_nothing(engine: Engine) -> None:
    stores = [engine.open() for _ in range(3)]
    batches = [
        [patch("shared", attributes={f"w{w}-{n}": "x"}), patch(f"own{w}-{n}")] for w in range(6) for n in range(5)
    ]
    await asyncio.gather(*(stores[place % 3].upsert(JOB, batch) for place, batch in enumerate(batches)))
    found = await job_of(stores[0], "shared")
    assert sorted(found.attributes) == sorted(f"w{w}-{n}" for w in range(6) for n in range(5))
    mirrors = [await store.mirror(JOB) for store in stores]
    assert [len(mirror) for mirror in mirrors] == [31, 31, 31]
    assert sorted(mirrors[0].matching(JobFilter(), NOW_MS)) == list(range(1, 32))


async def test_answers_during_writes_are_of_one_state(engine: Engine) -> None:
    """One job is either OPEN and about Go, or CLOSED and about Rust: OPEN and about Rust it never was."""
    reader, writer = engine.open(), engine.open()
    states = [
        patch("j", title="Go", status=JobStatus.OPEN),
        patch("j", title="Rust", status=JobStatus.CLOSED),
    ]
    await writer.upsert(JOB, states[:1])

    async def write() -> None:
        for turn in range(60):
            await writer.upsert(JOB, [states[turn % 2]])

    writing = asyncio.create_task(write())
    totals = set()
    while not writing.done():
        go, rust = await reader.matching(JOB, [(JobFilter(), "go"), (JobFilter(), "rust")], NOW_MS)
        assert not rust
        totals.add(len(go))
    await writing
    assert totals <= {0, 1}


async def test_a_closed_catalogue_is_unavailable(engine: Engine) -> None:
    store = engine.open()
    engine.close()
    with pytest.raises(UnavailableError, match="catalogue"):
        await store.get_many(JOB, [1])
    with pytest.raises(UnavailableError, match="catalogue"):
        await store.upsert(JOB, [patch("j")])
    with pytest.raises(UnavailableError, match="catalogue"):
        await store.mirror(JOB)


# --- Text --------------------------------------------------------------------------------------------------------

TITLES = {
    "cpp": "Senior C++ Engineer",
    "c": "C programmer",
    "csharp": "C# / .NET developer",
    "node": "Node.js (backend)",
    "dash": "state-of-the-art AND NEAR or NOT",
    "street": "Straße",
    "coffee": "Cafe\u0301 manager",
    "turkish": "İstanbul guide",
    "quote": 'The "best" job* ever',
    "cjk": "软件工程师",
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("C++", {"cpp"}),
        ("c", {"c"}),
        ("c#", {"csharp"}),
        (".net", {"csharp"}),
        ("NODE.JS", {"node"}),
        ("node", set()),
        ("c# .net developer", {"csharp"}),
        ("c# node.js", set()),
        ("STRASSE", {"street"}),
        ("straẞe", {"street"}),
        ("café", {"coffee"}),
        ("cafe", {"coffee"}),
        ("istanbul", {"turkish"}),
        ("İSTANBUL", {"turkish"}),
        ('"best"', {"quote"}),
        ("best*", {"quote"}),
        ("bes*", set()),
        ("AND", {"dash"}),
        ("NEAR(art state, 3)", set()),
        ("NEAR(art, state)", {"dash"}),
        ("NOT job", set()),
        ("state-of", {"dash"}),
        ("terms:best", set()),
        ("best OR coffee", set()),
        ("^best", {"quote"}),
        ("{best}", {"quote"}),
        ("'; DROP TABLE jobs; --", set()),
        ("软", {"cjk"}),
        ("软件", {"cjk"}),
        ("", set(TITLES)),
        (' "" * () ', set(TITLES)),
        ("x" * 100_000, set()),
    ],
)
async def test_text_finds_whole_words_whatever_their_case_and_form(
    store: Store, query: str, expected: set[str]
) -> None:
    await store.upsert(JOB, [patch(name, title=title) for name, title in TITLES.items()])
    assert await found_by(store, query) == expected


async def test_relevance_sums_the_weights_of_the_fields_that_have_each_term(store: Store) -> None:
    await store.upsert(
        JOB,
        [
            patch("all", title="Go", skills=("Go", "SQL"), description="go with sql"),
            patch("skill", skills=("Go", "SQL")),
            patch("text", description="go, SQL"),
            patch("title", title="Go SQL"),
            patch("title2", title="SQL go go go"),
            patch("half", title="Go"),
        ],
    )
    (page,) = await store.search(JOB, [SearchRequest(JobFilter(), "go sql")], NOW_MS)
    assert [(one.id, one.value) for one in page.positions] == [
        ("all", 9.0),
        ("title", 6.0),
        ("title2", 6.0),
        ("skill", 4.0),
        ("text", 2.0),
    ]


async def test_text_follows_every_change_of_a_document(store: Store) -> None:
    await store.upsert(JOB, [patch("j", title="alpha", skills=("beta",), description="gamma")])
    await store.upsert(JOB, [patch("j", skills=("delta",))])
    assert [await found_by(store, word) for word in ("alpha", "beta", "gamma", "delta")] == [{"j"}, set(), {"j"}, {"j"}]
    await store.upsert(JOB, [patch("j", title=None, skills=None, description=None)])
    assert [await found_by(store, word) for word in ("alpha", "beta", "gamma", "delta")] == [set()] * 4
    await store.upsert(JOB, [patch("j", title="alpha")])
    assert await found_by(store, "alpha") == {"j"}


async def test_words_of_two_skills_do_not_run_together(store: Store) -> None:
    await store.upsert(JOB, [patch("j", skills=("C", "+ ", ".js"))])
    assert await found_by(store, "c") == {"j"}
    assert await found_by(store, "c+") == set()


async def test_rebuilding_the_text_index_changes_no_answer(store: Store) -> None:
    await store.upsert(JOB, [patch(name, title=title) for name, title in TITLES.items()])
    await store.upsert(TALENT, [patch("t", title="Go")])
    await store.delete(JOB, "c")
    seen: list[tuple[Kind, int, int]] = []
    assert await store.rebuild(lambda *step: seen.append(step)) == len(TITLES)
    last = {kind: (done, total) for kind, done, total in seen}
    assert all(done == total > 0 for done, total in (last[JOB], last[TALENT]))
    assert await found_by(store, "c++") == {"cpp"}
    assert await found_by(store, "c") == set()
    await store.upsert(JOB, [patch("cpp", title="Rust")])
    assert await found_by(store, "c++") == set()


# --- Search, filters and facets against brute force ----------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_every_answer_is_what_brute_force_gives(engine: Engine, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(Kind)))
    store = engine.fresh()
    first = data.draw(brute_force.documents_of(kind, most=15))
    await store.upsert(kind, patches_of(first))
    documents = {one.id: one for one in first}
    for _ in range(data.draw(st.integers(0, 2))):
        changed = data.draw(brute_force.documents_of(kind, most=4))
        for one in changed:
            await store.mirror(kind)
            if one.id in documents:
                documents[one.id] = replace(one, ordinal=documents[one.id].ordinal)
                # Attributes merge, so the old ones go first.
                await store.upsert(kind, [patch(one.id, attributes=None), *patches_of([one])])
        gone = data.draw(st.none() | st.sampled_from(brute_force.ids))
        if gone in documents:
            await store.delete(kind, gone)
            del documents[gone]
    everything = list(documents.values())
    wanted = data.draw(brute_force.filters_of(kind))
    text = data.draw(st.none() | st.lists(st.sampled_from(brute_force.WORDS), min_size=1, max_size=2).map(" ".join))
    expected = brute_force.found(everything, wanted, text, NOW_MS)

    (matching,) = await store.matching(kind, [(wanted, text)], NOW_MS)
    assert sorted(matching) == sorted(one.ordinal for one in expected)

    sort, count = data.draw(st.sampled_from(list(Sort))), data.draw(st.integers(1, 6))
    in_order = brute_force.in_order(expected, sort, wanted.pay or brute_force.default_pay(kind), text)
    seen: list[int] = []
    after = None
    while True:
        (page,) = await store.search(kind, [SearchRequest(wanted, text, sort, count, after)], NOW_MS)
        assert page.total == len(expected)
        seen.extend(page.ordinals)
        if not page.has_next:
            break
        after = page.positions[-1]
    assert seen == [one.ordinal for one in in_order]
    start = len(seen) - len(page.ordinals)
    before = page.positions[0] if page.positions else None
    (back,) = await store.search(kind, [SearchRequest(wanted, text, sort, last=count, before=before)], NOW_MS)
    assert list(back.ordinals) == seen[max(0, start - count) : start]
    assert back.has_previous == (start > count)

    names: list[Any] = [field for field in FacetField if field is not FacetField.PAY]
    request = FacetRequest(wanted, text, tuple(names), ("size",), size=3)
    (facets,) = await store.facets(kind, [request], NOW_MS)
    for name, facet in zip([*names, "size"], facets, strict=True):
        counted = brute_force.found(everything, brute_force.without_own_clause(wanted, name), text, NOW_MS)
        counts = brute_force.counts(everything, counted, name)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        assert [(bucket.value, bucket.count) for bucket in facet.buckets] == ranked[:3]
        assert facet.other == sum(counts.values()) - sum(count for _, count in ranked[:3])
        assert facet.missing == sum(not brute_force.values_of(one, name) for one in counted)


async def test_sorts_put_missing_values_last_and_break_ties_by_id_bytes(store: Store) -> None:
    def hourly(low: int | None, high: int | None, currency: str = "USD") -> Budget:
        return Budget(
            BudgetType.HOURLY, None if low is None else Decimal(low), None if high is None else Decimal(high), currency
        )

    await store.upsert(
        JOB,
        [
            patch("é", budget=hourly(10, 50), posted_at_ms=NOW_MS),
            patch("z", budget=hourly(10, 50), posted_at_ms=NOW_MS),
            patch("min", budget=hourly(60, None), posted_at_ms=NOW_MS - 1),
            patch("max", budget=hourly(None, 20)),
            patch("euro", budget=hourly(10, 900, "EUR")),
            patch("fixed", budget=Budget(BudgetType.FIXED, None, Decimal(5_000), "USD")),
        ],
    )
    orders = {
        Sort.PAY_DESC: ["min", "z", "é", "max", "euro", "fixed"],
        Sort.PAY_ASC: ["max", "z", "é", "min", "euro", "fixed"],
        Sort.NEWEST: ["z", "é", "min", "euro", "fixed", "max"],
        Sort.RELEVANCE: ["euro", "fixed", "max", "min", "z", "é"],
    }
    pages = await store.search(JOB, [SearchRequest(JobFilter(), sort=sort) for sort in orders], NOW_MS)
    assert [[one.id for one in page.positions] for page in pages] == list(orders.values())
    euros = JobFilter(pay=PayFilter("eur", budget_type=BudgetType.HOURLY, include_unknown=True))
    (page,) = await store.search(JOB, [SearchRequest(euros, sort=Sort.PAY_DESC)], NOW_MS)
    assert page.positions == (SearchPosition(900.0, "euro"),)


async def test_facets_can_count_only_what_may_be_recommended(store: Store) -> None:
    await store.upsert(
        JOB,
        [
            patch("open", title="Go", category="X"),
            patch("rust", title="Rust", category="X"),
            patch("expired", title="Go", category="X", expires_at_ms=NOW_MS),
            patch("draft", title="Go", category="X", status=JobStatus.DRAFT),
        ],
    )
    wanted = JobFilter(statuses=tuple(JobStatus))
    limits = [(None, False), ("go", False), (None, True), ("go", True)]
    requests = [
        FacetRequest(wanted, text, (FacetField.CATEGORIES,), eligible_only=eligible_only)
        for text, eligible_only in limits
    ]
    facets = await store.facets(JOB, requests, NOW_MS)
    assert [one[0].buckets[0].count for one in facets] == [4, 3, 2, 1]
    (rust,) = (document.ordinal for document in await store.get_many(JOB, ids=["rust"]) if document is not None)
    less = [
        FacetRequest(wanted, text, (FacetField.CATEGORIES,), eligible_only=True, without=FrozenBitMap([rust, 999]))
        for text in (None, "go")
    ]
    assert [one[0].buckets[0].count for one in await store.facets(JOB, less, NOW_MS)] == [1, 1]


async def test_requests_of_one_call_do_not_mix(store: Store) -> None:
    await store.upsert(JOB, [patch("a", title="Go", category="X"), patch("b", title="Rust", category="Y")])
    x, both = JobFilter(categories=("x",)), JobFilter()
    assert [list(one) for one in await store.matching(JOB, [(x, None), (both, "rust"), (x, "rust")], NOW_MS)] == [
        [1],
        [2],
        [],
    ]
    facets = await store.facets(
        JOB, [FacetRequest(both, "go", (FacetField.CATEGORIES,)), FacetRequest(both, None, ())], NOW_MS
    )
    assert [[[bucket.value for bucket in facet.buckets] for facet in one] for one in facets] == [[["X"]], []]
    assert await store.matching(JOB, [], NOW_MS) == []


async def test_an_empty_catalogue_answers(store: Store) -> None:
    wanted = TalentFilter(skills=TermFilter(any=("go",)), attributes=(AttributeFilter("a", min=1),), ids=("x",))
    assert [list(one) for one in await store.matching(TALENT, [(wanted, "go")], NOW_MS)] == [[]]
    (page,) = await store.search(TALENT, [SearchRequest(wanted, "go")], NOW_MS)
    assert (page.total, page.has_next, list(page.ordinals)) == (0, False, [])
    (facets,) = await store.facets(TALENT, [FacetRequest(TalentFilter(), attributes=("a",))], NOW_MS)
    assert [(facet.name, list(facet.buckets), facet.other, facet.missing) for facet in facets] == [
        (name, [], 0, 0) for name in [*(field.value for field in FacetField), "a"]
    ]
    assert (await store.changes(TALENT, 0)).revision == 0


async def test_posted_within_days_counts_back_from_the_moment_of_the_call(store: Store) -> None:
    await store.upsert(JOB, [patch("j", posted_at_ms=NOW_MS - DAY_MS)])
    wanted: Callable[[int], JobFilter] = lambda days: JobFilter(posted_within_days=days)  # noqa: E731
    (today,) = await store.matching(JOB, [(wanted(1), None)], NOW_MS)
    (tomorrow,) = await store.matching(JOB, [(wanted(1), None)], NOW_MS + 1)
    assert (list(today), list(tomorrow)) == ([1], [])
    await store.upsert(TALENT, [patch("t", created_at_ms=NOW_MS - DAY_MS), patch("u")])
    joined = TalentFilter(joined_within_days=1)
    (today,) = await store.matching(TALENT, [(joined, None)], NOW_MS)
    (tomorrow,) = await store.matching(TALENT, [(joined, None)], NOW_MS + 1)
    assert (list(today), list(tomorrow)) == ([1], [])
