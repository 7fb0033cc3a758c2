"""Everyone's lists at once are the lists that serving gives one by one."""

from __future__ import annotations

import numpy as np
import pytest

from recommender import batch, shared_pass
from recommender.batch import SubjectList, lists_for_everyone
from recommender.documents import JobStatus, Kind, Talent
from recommender.eligibility import Exclude
from recommender.events import EventType
from recommender.filters import JobFilter, TalentFilter, TermFilter
from recommender.model import Model, Side
from recommender.query import ListQuery, Mode, Options, RankedPage
from recommender.rules import Rule, RuleKind
from tests.factories import NOW_MS, event, job, talent
from tests.recommender.fakes import World, blended, model

TALENTS, JOBS = 40, 300


def world(rows: int = JOBS, popularity: float = 0.0, neighbours: float = 0.0) -> World:
    """Talents with long, short and no histories, with and without content; closed, expired and unmodelled jobs."""
    rng = np.random.default_rng(4)
    kinds = [EventType.VIEW, EventType.SAVE, EventType.APPLY, EventType.DISMISS, EventType.WITHDRAW, EventType.INVITE]
    events = [
        event(kinds[int(rng.integers(len(kinds)))], f"t{t}", f"j{j}", occurred_at_ms=NOW_MS - int(rng.integers(10**9)))
        for t in range(1, TALENTS - 5)
        for j in rng.integers(1, JOBS + 1, int(rng.integers(0, 30)))
    ]
    documents = [
        *(talent(n, skills=("Go",) if n % 2 else (), title="Data engineer") for n in range(1, TALENTS - 1)),
        talent(TALENTS - 1),
        talent(TALENTS, is_available=False),
        *(job(n, skills=("Go",) if n % 3 else ("SQL",), title=f"Engineer {n % 5}") for n in range(1, JOBS + 11)),
    ]
    documents[TALENTS] = job(1, status=JobStatus.CLOSED)
    documents[TALENTS + 1] = job(2, expires_at_ms=NOW_MS)
    base = model(talents=TALENTS, jobs=rows)
    return World(documents, events, blended(base, neighbours, neighbours, popularity))


async def everyone(world: World, subject_kind: Kind, k: int, exclude: Exclude, **more: object) -> list[SubjectList]:
    defaults = {"as_of_ms": NOW_MS, "workers": 2}
    made: list[SubjectList] = []
    async for some in lists_for_everyone(
        catalogue=world.catalogue,
        events=world.events,
        model=world.recommender.model,
        subject_kind=subject_kind,
        k=k,
        exclude=exclude,
        **{**defaults, **more},  # type: ignore[arg-type]
    ):
        made += some
    return made


def query(kind: Kind, subject_id: str, k: int, exclude: Exclude) -> ListQuery:
    return ListQuery(
        mode=Mode.RECOMMENDED,
        subject_kind=kind,
        subject_id=subject_id,
        filter=JobFilter() if kind is Kind.TALENT else TalentFilter(),
        first=k,
        options=Options(exclude_seen=exclude is Exclude.SEEN),
    )


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("exclude", [Exclude.RULES, Exclude.SEEN])
@pytest.mark.parametrize("k", [1, 20, 500])
@pytest.mark.parametrize(
    ("popularity", "neighbours"),
    [(0.0, 0.0), (1e-9, 0.0), (0.001, 0.0), (0.4, 0.0), (0.0, 0.3), (0.001, 1e-9), (0.4, 1e9), (0.1, 1.0)],
)
async def test_everyones_lists_are_the_served_ones(
    kind: Kind, exclude: Exclude, k: int, popularity: float, neighbours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "SUBJECTS", 7)
    monkeypatch.setattr(batch, "BLOCK", 3)
    w = world(popularity=popularity, neighbours=neighbours)
    made = await everyone(w, kind, k, exclude)
    assert [one.subject_id for one in made] == [document.id for document in w.catalogue.all(kind)]
    pages = await w.recommender.lists([query(kind, one.subject_id, k, exclude) for one in made])
    for one, page in zip(made, pages, strict=True):
        assert isinstance(page, RankedPage)
        assert one.item_ids == [item.id for item in page.items], one.subject_id
        assert one.scores.tolist() == [item.score for item in page.items]


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("most", [1, 60])
async def test_what_rules_exclude_is_left_out_as_it_is_in_serving(kind: Kind, most: int) -> None:
    w = world(neighbours=0.3)
    jobs, talents = (tuple(f"{letter}{n}" for n in range(5, 5 + most)) for letter in "jt")
    rules = [
        Rule(name="jobs", kind=RuleKind.EXCLUDE, items=JobFilter(ids=jobs)),
        Rule(name="talents", kind=RuleKind.EXCLUDE, items=TalentFilter(ids=talents[:9])),
        Rule(
            name="some",
            kind=RuleKind.EXCLUDE,
            items=JobFilter(skills=TermFilter(all=("sql",))),
            subjects=TalentFilter(skills=TermFilter(all=("go",))),
        ),
        Rule(name="elsewhere", kind=RuleKind.EXCLUDE, items=JobFilter(), placements=("home",)),
        Rule(name="later", kind=RuleKind.EXCLUDE, items=JobFilter(), from_ms=NOW_MS + 1),
    ]
    made = await everyone(w, kind, 20, Exclude.RULES, rules=rules)
    w.recommender.steer(rules)
    pages = await w.recommender.lists([query(kind, one.subject_id, 20, Exclude.RULES) for one in made])
    for one, page in zip(made, pages, strict=True):
        assert isinstance(page, RankedPage)
        assert one.item_ids == [item.id for item in page.items], one.subject_id
        assert one.scores.tolist() == [item.score for item in page.items]


@pytest.mark.parametrize("neighbours", [0.0, 1e-3, 3.0])
@pytest.mark.parametrize("shape", ["gauss", "copies", "equal", "spike"])
async def test_subjects_that_share_a_pass_get_what_they_are_served(
    shape: str, neighbours: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All-equal scores crowd in at the threshold, and spikes come late or early."""
    monkeypatch.setattr(shared_pass, "TILE", 100)
    rng = np.random.default_rng(6)
    jobs, base = 2_000, model(talents=5, jobs=2_000)
    factors = rng.standard_normal((jobs, 8)).astype(np.float32)
    if shape == "copies":
        factors = factors[rng.integers(0, 4, jobs)]
    elif shape == "equal":
        factors[:] = factors[0]
    elif shape == "spike":
        factors = np.ones((jobs, 8), dtype=np.float32) * 0.01
        factors[:: jobs // 64] = 1.0
        factors[::31] += rng.random((len(factors[::31]), 8)).astype(np.float32)
    m = Model(base.manifest, base.talents, Side(base.jobs.ordinals, factors, base.jobs.popularity))
    m = blended(m, neighbours, popularity=0.0)
    w = World(
        [*(talent(n) for n in range(1, 6)), *(job(n) for n in range(1, jobs + 1))],
        [event(EventType.APPLY, f"t{n}", f"j{n * n * 31 % jobs + 1}") for n in range(1, 5)],
        m,
    )
    made = await everyone(w, Kind.TALENT, 25, Exclude.RULES)
    pages = await w.recommender.lists([query(Kind.TALENT, f"t{n}", 25, Exclude.RULES) for n in range(1, 6)])
    for one, page in zip(made, pages, strict=True):
        assert isinstance(page, RankedPage)
        assert [one.item_ids, one.scores.tolist()] == [
            [item.id for item in page.items],
            [item.score for item in page.items],
        ]


async def test_excluding_none_lists_what_is_known_too() -> None:
    w = World([talent(1), *(job(n) for n in range(1, 31))], [event(EventType.APPLY, "t1", "j3")])
    rules = (await everyone(w, Kind.TALENT, 100, Exclude.RULES))[0]
    nothing = (await everyone(w, Kind.TALENT, 100, Exclude.NONE))[0]
    assert set(nothing.item_ids) - set(rules.item_ids) == {"j3"}
    assert [name for name in nothing.item_ids if name != "j3"] == rules.item_ids


async def test_expiry_is_judged_as_of_the_given_time() -> None:
    w = World([talent(1), job(1, expires_at_ms=NOW_MS), job(2)])
    assert (await everyone(w, Kind.TALENT, 5, Exclude.RULES))[0].item_ids == ["j2"]
    early = await everyone(w, Kind.TALENT, 5, Exclude.RULES, as_of_ms=NOW_MS - 1)
    assert sorted(early[0].item_ids) == ["j1", "j2"]


async def test_nobody_is_left_out_when_nothing_can_be_recommended() -> None:
    w = World([talent(1), talent(2), job(1, status=JobStatus.CLOSED)])
    assert [(one.subject_id, list(one.item_ids)) for one in await everyone(w, Kind.TALENT, 5, Exclude.RULES)] == [
        ("t1", []),
        ("t2", []),
    ]


async def test_histories_are_read_once_per_chunk_and_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "SUBJECTS", 10)
    w, told = world(), list[tuple[int, int]]()
    await everyone(w, Kind.TALENT, 5, Exclude.RULES, on_progress=lambda done, of: told.append((done, of)))
    assert told == [(10, 40), (20, 40), (30, 40), (40, 40)]
    assert w.events.calls["history"] == 4
    assert w.catalogue.calls["get_many talent"] <= 4


async def test_a_reader_that_stops_early_leaves_nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "SUBJECTS", 2)
    w = world()
    running = lists_for_everyone(
        catalogue=w.catalogue,
        events=w.events,
        model=w.recommender.model,
        subject_kind=Kind.TALENT,
        k=5,
        exclude=Exclude.RULES,
        as_of_ms=NOW_MS,
        workers=2,
    )
    assert isinstance((await anext(running))[0].subject_id, str)
    await running.aclose()
    assert w.events.calls["history"] <= 4
    assert isinstance(w.catalogue.all(Kind.TALENT)[0], Talent)
