"""Ranked lists end to end over fake ports: order, eligibility, strategies, paging, batching, failures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.als import fold_in
from recommender.documents import JobStatus, Kind
from recommender.errors import BadInputError, CursorExpiredError, ModelRefusedError, NoModelError, UnavailableError
from recommender.events import EventType
from recommender.filters import JobFilter, TalentFilter, TermFilter
from recommender.interactions import pair_weights
from recommender.model import Manifest, Model, Side
from recommender.query import Exactness, ListQuery, Mode, Options, Profile, RankedPage, Strategy
from recommender.search import FacetField
from tests.factories import DAY_MS, NOW_MS, event, job, talent
from tests.recommender.fakes import World, model

TALENTS, JOBS = 40, 120


def jobs_for(talent_id: str = "t1", **fields: object) -> ListQuery:
    defaults = {"mode": Mode.RECOMMENDED, "subject_kind": Kind.TALENT, "subject_id": talent_id, "filter": JobFilter()}
    return ListQuery(**{**defaults, **fields})  # type: ignore[arg-type]


def talents_for(job_id: str = "j1", **fields: object) -> ListQuery:
    defaults = {"mode": Mode.RECOMMENDED, "subject_kind": Kind.JOB, "subject_id": job_id, "filter": TalentFilter()}
    return ListQuery(**{**defaults, **fields})  # type: ignore[arg-type]


def documents() -> list[object]:
    return [
        *(talent(n, skills=("Go",) if n % 2 else (), category="Data") for n in range(1, TALENTS + 1)),
        *(job(n, skills=("Go", "SQL")[n % 2 :], client_id=f"c{n % 4}") for n in range(1, JOBS + 1)),
    ]


HISTORY = [
    event(EventType.VIEW, "t1", "j5"),
    event(EventType.APPLY, "t1", "j7", occurred_at_ms=NOW_MS - 5 * DAY_MS),
    event(EventType.SAVE, "t1", "j9", occurred_at_ms=NOW_MS - DAY_MS),
    event(EventType.DISMISS, "t1", "j11"),
]


def world(*more: object) -> World:
    return World(documents(), [*HISTORY, *more])  # type: ignore[arg-type]


async def one(world: World, query: ListQuery) -> RankedPage:
    page = (await world.recommender.lists([query]))[0]
    assert isinstance(page, RankedPage), page
    return page


async def all_pages(world: World, query: ListQuery, first: int = 7) -> list[RankedPage]:
    pages = [await one(world, replace(query, first=first))]
    while pages[-1].has_next:
        pages.append(await one(world, replace(query, first=first, after=pages[-1].items[-1].position)))
    return pages


def ids(*pages: RankedPage) -> list[str]:
    return [item.id for page in pages for item in page.items]


def oracle(world: World, vector: np.ndarray, side: Side, among: list[str], prefix: str = "j") -> list[str]:
    def key(name: str) -> tuple[float, bytes]:
        rows = side.rows(np.array([int(name.removeprefix(prefix))], dtype=np.uint32))
        score = 0.0 if rows[0] < 0 else float((side.factors[rows[0]].astype(float) * vector).sum())
        return -score, name.encode()

    return sorted(among, key=key)


async def test_a_list_is_the_full_sort_of_what_may_be_recommended() -> None:
    w = world()
    m = w.recommender.model
    weights = pair_weights(w.events.events, m.manifest.hyperparameters, NOW_MS)
    rows = np.array(sorted(int(j[1:]) - 1 for _, j in weights))
    vector = fold_in(m.jobs, rows, np.array([weights["t1", f"j{r + 1}"] for r in rows]), m.manifest.hyperparameters)
    expected = oracle(w, vector, m.jobs, [f"j{n}" for n in range(1, JOBS + 1) if n not in (7, 11)])
    page = await one(w, jobs_for(first=50))
    assert ids(page) == expected[:50]
    assert (page.total, page.has_next, page.has_previous) == (118, True, False)
    assert (page.strategy, page.exactness) == (Strategy.COLLABORATIVE, Exactness.EXACT)
    assert [item.rank for item in page.items] == list(range(1, 51))
    assert ids(*await all_pages(w, jobs_for())) == expected


@pytest.mark.parametrize("first", [1, 119, 200])
async def test_exactly_as_many_items_as_match_or_are_asked_for(first: int) -> None:
    page = await one(world(), jobs_for(first=first))
    assert len(page.items) == min(first, 118)
    assert page.has_next == (first < 118)


async def test_jobs_without_factors_are_listed_with_score_zero() -> None:
    w = world()
    w.catalogue.put(job(500))
    page = await one(w, jobs_for(filter=JobFilter(ids=("j500", "j1"))))
    assert {item.id: item.score for item in page.items}["j500"] == 0.0
    assert page.total == 2


@pytest.mark.parametrize(
    "change",
    [
        {"status": JobStatus.CLOSED},
        {"status": JobStatus.DRAFT},
        {"expires_at_ms": NOW_MS},
        {"status": JobStatus.PAUSED},
    ],
)
async def test_a_job_that_is_not_open_or_has_expired_never_appears(change: dict[str, object]) -> None:
    w = world()
    w.catalogue.change(Kind.JOB, 1, **change)
    every = tuple(JobStatus)
    assert "j1" not in ids(*await all_pages(w, jobs_for(filter=JobFilter(statuses=every))))


async def test_a_job_expires_while_the_list_is_paged() -> None:
    w = world()
    last = ids(await one(w, jobs_for(first=118)))[-1]
    w.catalogue.change(Kind.JOB, int(last[1:]), expires_at_ms=NOW_MS + 10)
    page = await one(w, jobs_for(first=117))
    assert page.has_next
    w.now_ms += 10
    rest = await one(w, jobs_for(after=page.items[-1].position))
    assert (ids(rest), rest.total) == ([], 117)


async def test_a_withdrawn_application_is_recommendable_again() -> None:
    w = world(event(EventType.WITHDRAW, "t1", "j7", occurred_at_ms=NOW_MS))
    assert "j7" in ids(*await all_pages(w, jobs_for()))


async def test_every_event_hides_what_its_rule_says_in_each_direction() -> None:
    hides_job = {"APPLY", "DISMISS", "DECLINE", "REJECT", "HIRE"}
    hides_talent = {"INVITE", "OFFER", "HIRE", "REJECT", "DECLINE", "APPLY", "DISMISS"}
    for kind in EventType:
        w = World(documents(), [event(kind, "t1", "j5")])  # type: ignore[arg-type]
        jobs, talents = await w.recommender.lists([jobs_for(first=200), talents_for("j5", first=200)])
        assert isinstance(jobs, RankedPage)
        assert isinstance(talents, RankedPage)
        assert ("j5" not in ids(jobs)) == (kind.value in hides_job), kind
        assert ("t1" not in ids(talents)) == (kind.value in hides_talent), kind


async def test_exclude_seen_leaves_out_every_pair_with_an_event_but_an_impression() -> None:
    w = world(event(EventType.IMPRESSION, "t1", "j20"), event(EventType.UNSAVE, "t1", "j21"))
    page = await one(w, jobs_for(first=200, options=Options(exclude_seen=True)))
    gone = {f"j{n}" for n in range(1, JOBS + 1)} - set(ids(page))
    assert gone == {"j5", "j7", "j9", "j11", "j21"}


async def test_a_draft_gets_talents_and_an_unavailable_talent_is_not_among_them() -> None:
    w = world(event(EventType.SHORTLIST, "t3", "j1"))
    w.catalogue.change(Kind.JOB, 1, status=JobStatus.DRAFT)
    w.catalogue.change(Kind.TALENT, 2, is_available=False)
    page = await one(w, talents_for(first=100))
    m = w.recommender.model
    vector = fold_in(m.talents, np.array([2]), np.array([3.0]), m.manifest.hyperparameters)
    among = [f"t{n}" for n in range(1, TALENTS + 1) if n != 2]
    assert ids(page) == oracle(w, vector, m.talents, among, "t")
    assert page.strategy is Strategy.COLLABORATIVE


async def test_similar_lists_are_ordered_by_cosine_without_the_subject() -> None:
    w = world()
    m = w.recommender.model
    unit = m.jobs.factors.astype(float) / np.linalg.norm(m.jobs.factors.astype(float), axis=1)[:, None]
    page = await one(
        w, ListQuery(mode=Mode.SIMILAR, subject_kind=Kind.JOB, subject_id="j2", filter=JobFilter(), first=5)
    )
    assert ids(page)[0] == "j3"  # its twin in the model
    assert "j2" not in ids(page)
    assert page.items[0].score == pytest.approx(1.0, abs=1e-7)
    assert [item.score for item in page.items] == pytest.approx(np.sort(unit @ unit[1])[::-1][1:6].tolist())


async def test_similar_falls_back_to_content_for_a_job_the_model_has_not_seen() -> None:
    w = world()
    w.catalogue.put(job(501, skills=("go",)))
    query = ListQuery(mode=Mode.SIMILAR, subject_kind=Kind.JOB, subject_id="j501", filter=JobFilter(), first=200)
    page = await one(w, query)
    having = [item for item in page.items if item.strategy is Strategy.CONTENT]
    assert {item.id for item in having} == {f"j{n}" for n in range(2, JOBS + 1, 2)}
    assert page.strategy is Strategy.HYBRID
    assert ids(page)[:60] == [item.id for item in having]


async def test_a_talent_without_history_gets_content_then_popular() -> None:
    w = world()
    w.catalogue.change(Kind.TALENT, 2, skills=("GO", "sql"), title="Go developer")
    pages = await all_pages(w, jobs_for("t2"), first=30)
    assert [page.strategy for page in pages] == [Strategy.CONTENT] * 4
    w.catalogue.change(Kind.TALENT, 2, skills=("go",), title=None)
    pages = await all_pages(w, jobs_for("t2"), first=40)
    assert [page.strategy for page in pages] == [Strategy.CONTENT, Strategy.HYBRID, Strategy.POPULAR]
    popularity = w.recommender.model.jobs.popularity
    tail = [float(popularity[int(name[1:]) - 1]) for name in ids(*pages)[60:]]
    assert tail == sorted(tail, reverse=True)


async def test_popularity_never_outweighs_shared_content() -> None:
    w = world()
    page = await one(w, jobs_for("t3", first=200))
    scores = {item.strategy: [] for item in page.items}
    for item in page.items:
        scores[item.strategy].append(item.score)
    assert max(scores[Strategy.POPULAR]) < 1 <= min(scores[Strategy.CONTENT])


async def test_a_history_of_dismissals_alone_is_no_interest() -> None:
    w = World(documents(), [event(EventType.DISMISS, "t4", "j11")])  # type: ignore[arg-type]
    page = await one(w, jobs_for("t4", first=200))
    assert (page.strategy, page.total, "j11" in ids(page)) == (Strategy.POPULAR, 119, False)


async def test_an_unknown_talent_gets_popular_jobs_and_an_unknown_job_no_list() -> None:
    w = world()
    unknown = replace(jobs_for("nobody"), mode=Mode.SIMILAR, filter=TalentFilter())
    page, missing, similar = await w.recommender.lists([jobs_for("nobody"), talents_for("nothing"), unknown])
    assert isinstance(page, RankedPage)
    assert page.strategy is Strategy.POPULAR
    popularity = w.recommender.model.jobs.popularity
    expected = sorted(range(1, JOBS + 1), key=lambda n: (-float(popularity[n - 1]), f"j{n}"))[:20]
    assert ids(page) == [f"j{n}" for n in expected]
    assert (missing, similar) == (None, None)


async def test_a_profile_is_served_from_its_likes_else_its_content_else_popularity() -> None:
    w = world()
    queries = [
        jobs_for(subject_id=None, profile=profile, first=200)
        for profile in (Profile(liked_job_ids=("j5", "unknown")), Profile(skills=("go",)), Profile())
    ]
    liked, content, popular = await w.recommender.lists(queries)
    assert isinstance(liked, RankedPage)
    assert isinstance(content, RankedPage)
    assert isinstance(popular, RankedPage)
    assert [liked.strategy, content.strategy, popular.strategy] == [
        Strategy.COLLABORATIVE,
        Strategy.HYBRID,
        Strategy.POPULAR,
    ]
    assert (liked.total, "j5" in ids(liked)) == (119, False)
    assert [served.subject for served in w.serving_log.served] == [None] * 3


async def test_filters_and_text_are_hard_constraints() -> None:
    w = world()
    w.catalogue.change(Kind.JOB, 3, title="Data engineer")
    page = await one(w, jobs_for(filter=JobFilter(skills=TermFilter(all=("sql",))), text="engineer"))
    assert (ids(page), page.total) == (["j3"], 1)
    assert ids(await one(w, jobs_for(filter=JobFilter(ids=())))) == []


# --- paging -----------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, JOBS), max_size=12), st.integers(1, 40), st.sampled_from(["t1", "t3", "nobody"]))
async def test_paging_neither_repeats_nor_skips_while_jobs_close_and_events_come(
    closing: list[int], first: int, talent_id: str
) -> None:
    w = world()
    before = ids(await one(w, jobs_for(talent_id, first=200)))
    query, seen, gone = jobs_for(talent_id, first=first), [], set()
    page = await one(w, query)
    while True:
        seen += ids(page)
        if not page.has_next:
            break
        if closing:
            number = closing.pop()
            if number % 2:
                w.catalogue.change(Kind.JOB, number, status=JobStatus.CLOSED)
            else:
                w.events.add(event(EventType.DISMISS, talent_id, f"j{number}", occurred_at_ms=NOW_MS + number))
            gone.add(f"j{number}")
        w.catalogue.put(job(600 + len(seen), skills=("go",)))  # shifts how rare a skill is, must not shift the order
        page = await one(w, replace(query, after=page.items[-1].position))
    assert len(seen) == len(set(seen))
    assert [name for name in seen if name in before and name not in gone] == [n for n in before if n not in gone]


@pytest.mark.parametrize("options", [Options(), Options(max_per_client=1)])
async def test_a_document_that_changes_does_not_move_in_a_list_that_is_paged(options: Options) -> None:
    w = world()
    query = jobs_for("t3", options=options)  # no history: what a job shares gives the order
    before = ids(await one(w, replace(query, first=200)))
    page = await one(w, replace(query, first=10))
    w.catalogue.change(Kind.JOB, int(before[2][1:]), skills=(), category=None)  # shown, would come again
    w.catalogue.change(Kind.JOB, int(before[-1][1:]), skills=("Go",), category="Data")  # to come, would be passed over
    rest = await one(w, replace(query, first=200, after=page.items[-1].position))
    assert ids(page, rest) == before
    assert ids(await one(w, replace(query, first=200))) != before


async def test_later_pages_keep_the_model_and_history_they_began_with() -> None:
    w = world()
    everything = ids(await one(w, jobs_for(first=200)))
    page = await one(w, jobs_for(first=10))
    w.models.publish(model("m2", seed=9))
    assert w.recommender.refresh_model()
    w.events.add(event(EventType.SAVE, "t1", "j77", occurred_at_ms=NOW_MS + 5))
    rest = await one(w, jobs_for(first=200, after=page.items[-1].position))
    assert ids(page, rest) == everything
    assert (rest.model.version, rest.items[0].rank, rest.has_previous) == ("m1", 11, True)
    assert ids(await one(w, jobs_for(first=200))) != everything


async def test_another_process_continues_a_list() -> None:
    w = world()
    for query in (jobs_for(), jobs_for("t3"), jobs_for("nobody"), jobs_for(options=Options(max_per_client=1))):
        everything = ids(await one(w, replace(query, first=200)))
        page = await one(w, query)
        rest = (await w.replica().lists([replace(query, first=200, after=page.items[-1].position)]))[0]
        assert isinstance(rest, RankedPage)
        assert ids(page, rest) == everything


async def test_another_process_refuses_a_list_that_it_cannot_rebuild() -> None:
    w = world()
    query = jobs_for(options=Options(max_per_client=1), first=10)
    page = await one(w, query)
    w.catalogue.change(Kind.JOB, int(page.items[5].id[1:]), status=JobStatus.CLOSED)
    later = replace(query, after=page.items[-1].position)
    assert isinstance((await w.replica().lists([later]))[0], CursorExpiredError)
    assert isinstance((await w.recommender.lists([later]))[0], RankedPage)


async def test_a_changed_history_under_the_pins_is_noticed() -> None:
    w = world()
    page = await one(w, jobs_for())
    w.events.events = [e for e in w.events.events if e.job_id != "j9"]  # erased
    later = jobs_for(after=page.items[-1].position)
    assert isinstance((await w.replica().lists([later]))[0], CursorExpiredError)


async def test_a_cursor_of_another_list_is_bad_input() -> None:
    w = world()
    position = (await one(w, jobs_for())).items[-1].position
    others = [
        jobs_for("t2", after=position),
        jobs_for(filter=JobFilter(is_remote=True), after=position),
        jobs_for(text="x", after=position),
        jobs_for(options=Options(exclude_seen=True), after=position),
        jobs_for(options=Options(placement="home"), after=position),
    ]
    assert [type(answer) for answer in await w.recommender.lists(others)] == [BadInputError] * 5
    assert isinstance((await w.recommender.lists([jobs_for(first=3, after=position)]))[0], RankedPage)


async def test_a_cursor_whose_model_is_gone_has_expired() -> None:
    w = world()
    page = await one(w, jobs_for())
    w.models.publish(model("m2", seed=9))
    del w.models.models["m1"]
    replica = w.replica()
    answer = (await replica.lists([jobs_for(after=page.items[-1].position)]))[0]
    assert isinstance(answer, CursorExpiredError)


async def test_the_position_is_the_same_on_every_way_to_it() -> None:
    w = world()
    whole = (await one(w, jobs_for(first=30))).items
    page = await one(w, jobs_for(first=10))
    assert (await one(w, jobs_for(first=20, after=page.items[-1].position))).items == whole[10:]


# --- re-ranking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3, 5])
async def test_at_most_n_jobs_of_one_client_in_any_ten_rows(most: int) -> None:
    w = world()
    for number in range(1, JOBS + 1):
        w.catalogue.change(Kind.JOB, number, client_id=f"c{number % 13}")
    query = jobs_for(options=Options(max_per_client=most))
    listed = ids(*await all_pages(w, query))
    clients = [int(name[1:]) % 13 for name in listed]
    windows = [clients[start : start + 10] for start in range(100)]
    assert max(window.count(client) for window in windows for client in window) <= most
    assert sorted(listed) == sorted(ids(await one(w, jobs_for(first=200))))


async def test_rerank_false_switches_the_spreading_off_exactly() -> None:
    w = world()
    plain = await one(w, jobs_for(first=200))
    off = await one(w, jobs_for(first=200, options=Options(max_per_client=1, rerank=False)))
    assert [(item.id, item.score) for item in off.items] == [(item.id, item.score) for item in plain.items]


async def test_a_reranked_list_pages_across_its_prefix_while_items_leave() -> None:
    rows = 700
    w = World(
        [talent(1), *(job(n, client_id=f"c{n % 3}") for n in range(1, rows + 1))],
        [event(EventType.SAVE, "t1", "j5")],
        model(jobs=rows),
    )
    query = jobs_for(options=Options(max_per_client=3), first=100)
    plain = ids(await one(w, jobs_for(first=rows)))
    page = await one(w, query)
    seen = ids(page)
    while page.has_next:
        w.catalogue.change(Kind.JOB, int(plain[len(seen) + 50][1:]), status=JobStatus.CLOSED)
        page = await one(w, replace(query, after=page.items[-1].position))
        seen += ids(page)
        if len(seen) > 600:
            break
    assert len(seen) == len(set(seen))
    assert set(seen[:400]) <= set(plain[:500])
    tail = [name for name in seen if name in set(plain[500:])]
    assert tail == [name for name in plain[500:] if name in set(tail)]


async def test_a_senseless_option_is_bad_input() -> None:
    answers = await world().recommender.lists(
        [jobs_for(options=Options(max_per_client=0)), jobs_for(first=0), jobs_for(profile=Profile())]
    )
    assert [type(answer) for answer in answers] == [BadInputError] * 3


# --- batching, failures, the log --------------------------------------------------------------------------------------


async def test_twenty_lists_cost_one_call_of_each_port() -> None:
    w = world()
    queries = [jobs_for(f"t{n}") for n in range(1, 21)] + [talents_for(f"j{n}") for n in range(1, 21)]
    answers = await w.recommender.lists(queries)
    assert all(isinstance(answer, RankedPage) for answer in answers)
    assert w.calls == {
        "mirror talent": 1,
        "mirror job": 1,
        "history": 1,
        "get_many talent": 1,  # of the subjects without a vector
        "get_many job": 1,
        "matching talent": 1,
        "matching job": 1,
        "append": 1,
    }


async def test_equal_queries_are_computed_and_logged_once() -> None:
    w = world()
    first, second, other = await w.recommender.lists([jobs_for(), jobs_for(), jobs_for("t2")])
    assert first is second
    assert first is not other
    assert len(w.serving_log.served) == 2


async def test_a_list_alone_is_the_list_in_a_batch() -> None:
    w = world(*(event(EventType.SAVE, f"t{n}", f"j{n * 3}") for n in range(2, 20)))
    queries = [jobs_for(f"t{n}", first=40) for n in range(1, 30)]
    batch = await w.recommender.lists(queries)
    for query, page in zip(queries, batch, strict=True):
        assert isinstance(page, RankedPage)
        alone = await one(w, query)
        assert [(i.id, i.score) for i in alone.items] == [(i.id, i.score) for i in page.items]


async def test_one_bad_query_does_not_break_the_others() -> None:
    w = world()
    bad = jobs_for(first=0)
    answers = await w.recommender.lists([bad, jobs_for(), bad, talents_for("none")])
    assert [type(answer) for answer in answers] == [BadInputError, RankedPage, BadInputError, type(None)]


async def test_a_port_that_is_down_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    w = world()

    async def down(*_: object) -> None:
        raise UnavailableError("event log")

    monkeypatch.setattr(w.events, "history", down)
    answers = await w.recommender.lists([jobs_for(), jobs_for("t2")])
    assert [str(answer) for answer in answers] == ["event log is unavailable"] * 2
    assert w.serving_log.served == []


async def test_every_row_shown_is_in_the_serving_log() -> None:
    w = world()
    page = await one(w, jobs_for(first=3, options=Options(placement="home")))
    (served,) = w.serving_log.served
    assert (served.request_id, served.placement, served.model_version) == (page.request_id, "home", "m1")
    assert [(row.rank, row.ordinal, row.score) for row in served.items] == [
        (item.rank, item.ordinal, item.score) for item in page.items
    ]


async def test_no_list_without_a_model() -> None:
    w = World(documents(), HISTORY)  # type: ignore[arg-type]
    w.models.pointer = None
    empty = w.replica()
    assert isinstance((await empty.lists([jobs_for()]))[0], NoModelError)
    with pytest.raises(NoModelError):
        _ = empty.model


async def test_a_refused_model_leaves_the_old_one_serving_and_is_retried_later() -> None:
    w = world()
    w.models.publish(model("m2", seed=9))
    w.models.torn.add("m2")
    with pytest.raises(ModelRefusedError):
        w.recommender.refresh_model()
    assert w.recommender.model.manifest.version == "m1"
    assert not w.recommender.refresh_model()  # said once
    assert isinstance((await w.recommender.lists([jobs_for()]))[0], RankedPage)
    w.models.torn.clear()
    w.now_ms += 60_000
    assert w.recommender.refresh_model()
    assert w.recommender.model.manifest.version == "m2"


async def test_decay_is_measured_from_the_newest_event_never_from_the_clock() -> None:
    w = world(event(EventType.VIEW, "t1", "j30", occurred_at_ms=NOW_MS + 90 * DAY_MS))
    before = await one(w, jobs_for(first=100))
    w.now_ms += 4000 * DAY_MS
    after = await one(w, jobs_for(first=100))
    assert [(i.id, i.score) for i in before.items] == [(i.id, i.score) for i in after.items]


async def test_a_model_without_rows_still_lists_everything() -> None:
    m = model()
    none = Side(np.empty(0, np.uint32), np.empty((0, 8), np.float32), np.empty(0, np.float32))
    w = World(documents(), HISTORY, Model(m.manifest, none, none))  # type: ignore[arg-type]
    page = await one(w, jobs_for("t2", first=200))
    assert (page.total, page.strategy) == (120, Strategy.POPULAR)


async def test_facets_count_what_the_list_could_show() -> None:
    w = world()
    w.catalogue.change(Kind.JOB, 2, expires_at_ms=NOW_MS - 1)
    w.catalogue.change(Kind.JOB, 4, status=JobStatus.CLOSED)
    pages = [await one(w, jobs_for()), await one(w, jobs_for("t2"))]
    w.forget_calls()
    answers = await w.recommender.facets([(page, (FacetField.SKILLS,), (), 20) for page in pages])
    assert [[(b.value, b.count) for b in facets[0].buckets] for facets in answers] == [
        [("SQL", 116), ("Go", 58)],  # less the applied j7 and the dismissed j11
        [("SQL", 118), ("Go", 58)],
    ]
    assert w.calls == {"facets job": 1}


async def test_interactions_are_the_types_in_force() -> None:
    w = world(
        event(EventType.SAVE, "t1", "j5"),
        event(EventType.UNSAVE, "t1", "j5", occurred_at_ms=NOW_MS + 1),
        event(EventType.SHORTLIST, "t1", "j5", occurred_at_ms=NOW_MS + 2),
        event(EventType.IMPRESSION, "t1", "j5"),
    )
    page = await one(w, jobs_for(first=200))
    items = {item.id: item for item in page.items}
    w.forget_calls()
    answers = await w.recommender.interactions([(page, items["j5"]), (page, items["j1"])])
    assert answers == [[EventType.VIEW, EventType.SHORTLIST], []]
    assert w.calls == {}


def test_manifest_is_reported() -> None:
    assert isinstance(world().recommender.model.manifest, Manifest)
