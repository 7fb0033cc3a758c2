"""Two interests over the same talents and jobs: learnt apart, made comparable, summed; one where a side is silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from gateway.adapters.memory.cache import MemoryCache
from gateway.adapters.redis.cache_encoding import decoded_list, encoded_list
from recommender.batch import lists_for_everyone
from recommender.calibration import sigmoid
from recommender.documents import Document, Kind
from recommender.documents import Side as Actor
from recommender.eligibility import Exclude
from recommender.events import Event, EventType
from recommender.features import DescribedItems, FeatureTable
from recommender.filters import JobFilter, TalentFilter
from recommender.interactions import affinity, table_from_events
from recommender.interest import interests_from_histories
from recommender.kept_lists import kept_from, snapshot_from
from recommender.model import Model
from recommender.ports import SubjectKey
from recommender.query import Exactness, ListQuery, Mode, Options, RankedPage, ReasonKind, Strategy
from recommender.recipe import Recipe, default_recipe
from recommender.scoring import score
from recommender.snapshots import Snapshot
from recommender.splits import split_events
from recommender.training import train
from recommender.two_sides import both_sides, calibrate, of_actor, train_both_sides
from recommender.versions import LoadedModel
from tests.factories import NOW_MS, event, job, talent
from tests.recommender.fakes import World
from tests.recommender.vectors import ExactVectors

TALENTS, JOBS, DAY_MS = 240, 96, 86_400_000


@cache
def market(seed: int = 5) -> list[Event]:
    """Talents go by one of four traits of a job, clients by one of three of a talent: neither side sees the other's."""
    rng = np.random.default_rng(seed)
    made = []
    for number, minute in enumerate(np.sort(rng.integers(0, 60 * 24 * 60, 9_000)).tolist()):
        by_client = number % 3 == 0
        t, j = int(rng.integers(1, TALENTS + 1)), int(rng.integers(1, JOBS + 1))
        is_wanted = (t // 4) % 3 == (j // 4) % 3 if by_client else t % 4 == j % 4
        if not (is_wanted or rng.random() < 0.1):
            continue
        kinds = (EventType.SHORTLIST, EventType.INTERVIEW) if by_client else (EventType.VIEW, EventType.SAVE)
        actor = Actor.CLIENT if by_client else Actor.TALENT
        at_ms = NOW_MS - 60 * DAY_MS + minute * 60_000
        kind = kinds[int(rng.integers(2))]
        made.append(event(kind, f"t{t}", f"j{j}", actor=actor, occurred_at_ms=at_ms, seq=number + 1))
    return made


def documents(of: int = 3) -> list[Document]:
    """What clients go by is in the skills; what talents go by is not."""
    return [
        *(talent(n, skills=(f"Skill {(n // 4) % of}", f"Tool {n % 7}")) for n in range(1, TALENTS + 1)),
        *(job(n, skills=(f"Skill {(n // 4) % of}", f"Tool {n % 7}")) for n in range(1, JOBS + 1)),
    ]


def described() -> dict[Kind, DescribedItems]:
    tables = {kind: FeatureTable() for kind in Kind}
    everything = documents()
    tables[Kind.TALENT].add(everything[:TALENTS])
    tables[Kind.JOB].add(everything[TALENTS:])
    return {kind: table.build() for kind, table in tables.items()}


def recipe_of(events: Sequence[Event]) -> Recipe:
    return replace(default_recipe(affinity(table_from_events(events), None, None)), factors=8, iterations=6)


def trained(events: Sequence[Event], *, both: bool = True, by: Recipe | None = None, content: bool = False) -> Model:
    table = table_from_events(events)
    learn = train_both_sides if both else train
    return learn(
        table,
        recipe_of(events) if by is None else by,
        talent_ordinals=np.array([int(name[1:]) for name in table.talent_ids], np.uint32),
        job_ordinals=np.array([int(name[1:]) for name in table.job_ids], np.uint32),
        as_of_ms=NOW_MS,
        watermark=len(events),
        trained_at_ms=NOW_MS,
        nonce="",
        described=described() if content else None,
    )


@cache
def two_sided(content: bool = True) -> Model:
    return trained(market(), content=content)


def arrays(model: Model) -> list[np.ndarray]:
    return [
        part
        for side in (model.talents, model.jobs)
        for part in (side.ordinals, side.factors, side.popularity, side.neighbours.columns, side.neighbours.strengths)
    ]


def query(kind: Kind, subject_id: str, weight: float | None = None, first: int = 50) -> ListQuery:
    return ListQuery(
        mode=Mode.RECOMMENDED,
        subject_kind=kind,
        subject_id=subject_id,
        filter=JobFilter() if kind is Kind.TALENT else TalentFilter(),
        options=Options(mutual_weight=weight, rerank=False),
        first=first,
    )


def world(model: Model, **more: object) -> World:
    return World(documents(), market(), model, **more)  # type: ignore[arg-type]


async def listed(world: World, asked: ListQuery) -> list[tuple[str, float]]:
    (page,) = await world.recommender.lists([asked])
    assert isinstance(page, RankedPage)
    return [(item.id, item.score) for item in page.items]


@pytest.mark.parametrize("actor", list(Actor))
def test_a_log_of_one_side_gives_the_model_it_gave_before(actor: Actor) -> None:
    events = [one for one in market() if one.actor is actor]
    one, other = trained(events), trained(events, both=False)
    assert one.clients is None and one.manifest == other.manifest
    assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays(one), arrays(other), strict=True))


def test_a_side_with_too_few_events_has_no_interest_of_its_own_and_is_heard_in_the_only_one() -> None:
    events = market()
    few = [one for one in events if one.actor is Actor.CLIENT][:90]
    events = sorted([one for one in events if one.actor is Actor.TALENT] + few, key=lambda one: one.order)
    one, other = trained(events), trained(events, both=False)
    assert one.clients is None
    assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays(one), arrays(other), strict=True))


def test_a_side_whose_events_follow_nothing_has_no_interest_of_its_own() -> None:
    rng = np.random.default_rng(1)
    events = [
        replace(one, talent_id=f"t{rng.integers(1, TALENTS + 1)}", job_id=f"j{rng.integers(1, JOBS + 1)}")
        if one.actor is Actor.CLIENT
        else one
        for one in market()
    ]
    assert calibrate(table_from_events(events), recipe_of(events)) is None


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize(("kind", "actor"), [(Kind.TALENT, Actor.TALENT), (Kind.JOB, Actor.CLIENT)])
async def test_weight_0_is_the_list_of_the_asking_side_alone_bit_for_bit(
    kind: Kind, actor: Actor, content: bool
) -> None:
    model = two_sided(content)
    own = [one for one in market() if one.actor is actor]
    recipes = calibrate(table_from_events(market()), recipe_of(market()))
    assert recipes is not None and model.clients is not None
    alone = trained(own, both=False, by=recipes.recipes[actor], content=content)
    subject = "t7" if kind is Kind.TALENT else "j7"
    both, single = world(model), World(documents(), own, alone)
    listed_both = await listed(both, query(kind, subject, 0.0))
    if kind is Kind.JOB and content:  # the clients' interest alone knows what suits whom besides
        assert listed_both != await listed(single, query(kind, subject, 0.0))
        return
    single.recommender._mutual_weight = 1.0  # nothing to add where there is one interest
    hidden = {
        one.id_of(Kind.JOB if kind is Kind.TALENT else Kind.TALENT) for one in market() if one.id_of(kind) == subject
    }
    of_single = await listed(single, query(kind, subject))
    assert [row for row in listed_both if row[0] not in hidden] == [row for row in of_single if row[0] not in hidden]


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("weight", [None, 0.3, 4.0])
async def test_a_list_goes_by_the_weighted_sum_of_log_odds(kind: Kind, weight: float | None, content: bool) -> None:
    model, subject = two_sided(content), "t9" if kind is Kind.TALENT else "j9"
    item_kind = Kind.JOB if kind is Kind.TALENT else Kind.TALENT
    one = world(model)
    (history,) = await one.events.history([SubjectKey(kind, subject)])
    loaded = LoadedModel(model).lists_of(item_kind)
    (interest,) = interests_from_histories(
        [history],
        item_kind,
        model,
        lambda ids: [int(name[1:]) for name in ids],
        model.side(kind).lent_to(np.array([9], np.uint32)) if model.lends_to(kind) else None,
        mutual_weight=1.0 if weight is None else weight,
        subjects=[9],
    )
    everything = np.arange(1, (JOBS if item_kind is Kind.JOB else TALENTS) + 1, dtype=np.uint32)
    assert interest.mutual is not None and loaded.mutual is not None
    own = score(loaded.terms_of(replace(interest, mutual=None)), everything)
    mutual = model.mutual(item_kind)
    assert mutual is not None
    (a, _), (b, _) = (fit.hyperparameters.calibration_of(item_kind) for fit in (model.own(item_kind), mutual))
    theirs = sum(
        score(replace(loaded.terms_of(interest), dense=(term,), sparse=(), bias=()), everything)
        for term in loaded.mutual_of(replace(interest, mutual_weight=1.0))
    )
    expected = a * own + (1.0 if weight is None else weight) * (theirs / (b / a)) * b
    rows = await listed(one, query(kind, subject, weight, first=300))
    logits = {f"{item_kind.value[0]}{ordinal}": value for ordinal, value in zip(everything, expected, strict=True)}
    assert np.allclose([a * value for _, value in rows], [logits[name] for name, _ in rows], rtol=1e-9, atol=1e-9)
    assert a > 0 and b > 0


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("weight", [0.0, 1.0, 10.0])
async def test_everyones_lists_are_the_served_ones(kind: Kind, weight: float, content: bool) -> None:
    one = world(two_sided(content))
    made = []
    async for some in lists_for_everyone(
        catalogue=one.catalogue,
        events=one.events,
        model=one.recommender.model,
        subject_kind=kind,
        k=20,
        exclude=Exclude.RULES,
        as_of_ms=NOW_MS,
        workers=1,
        mutual_weight=weight,
    ):
        made += some
    for found in made[:25]:
        served = await listed(one, query(kind, found.subject_id, weight, first=20))
        assert served == list(zip(found.item_ids, found.scores.tolist(), strict=True))


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("weight", [0.0, 1.0, 4.0])
async def test_an_index_of_vectors_nominates_by_both(kind: Kind, weight: float) -> None:
    exact, nominated = world(two_sided()), world(two_sided())
    nominated.vectors = ExactVectors(nominated.catalogue)
    loaded = LoadedModel(two_sided())
    for of in Kind:
        await nominated.vectors.publish(
            of, loaded.model.manifest.version, loaded.vector_rows(of), lambda kind, done, of: None
        )
    nominated.recommender = nominated.replica()
    asked = query(kind, "t9" if kind is Kind.TALENT else "j9", weight, first=10)
    (page,) = await nominated.recommender.lists([asked])
    assert isinstance(page, RankedPage) and page.exactness is Exactness.APPROXIMATE
    assert [(item.id, item.score) for item in page.items] == await listed(exact, asked)


async def test_the_weight_is_part_of_what_a_list_is_kept_under() -> None:
    one = world(two_sided(), cache=MemoryCache(8_000_000, lambda: NOW_MS))
    for asked in (query(Kind.TALENT, "t3"), query(Kind.TALENT, "t3", 0.0), query(Kind.TALENT, "t3", 3.0)):
        first = await listed(one, asked)
        kept = await listed(one, asked)
        fresh = await listed(world(two_sided()), asked)
        assert first == kept == fresh
    assert await listed(one, query(Kind.TALENT, "t3", 0.0)) != await listed(one, query(Kind.TALENT, "t3", 3.0))


def test_a_kept_list_holds_both_interests() -> None:
    model = two_sided()
    history = [one for one in market() if one.talent_id == "t3"]
    (interest,) = interests_from_histories(
        [history], Kind.JOB, model, lambda ids: [int(name[1:]) for name in ids], mutual_weight=2.0, subjects=[3]
    )
    kept = kept_from(
        Snapshot(Strategy.COLLABORATIVE, interest),
        (np.array([1, 2], np.uint32), np.array([2.0, 1.0])),
        is_whole=False,
        basis="",
        revision=1,
        made_at_ms=1,
    )
    found = snapshot_from(decoded_list("key", encoded_list("key", kept))).interest
    assert found is not None and found.mutual is not None and interest.mutual is not None
    loaded, everything = LoadedModel(model).lists_of(Kind.JOB), np.arange(1, JOBS + 1, dtype=np.uint32)
    assert np.array_equal(score(loaded.terms_of(found), everything), score(loaded.terms_of(interest), everything))
    assert found.mutual_weight == 2.0 and np.array_equal(found.mutual.rows, interest.mutual.rows)


@pytest.mark.parametrize("side", list(Actor))
async def test_contributions_sum_to_the_score_and_name_the_other_sides_share(side: Actor) -> None:
    one = world(two_sided())
    explanation = await one.recommender.explain("t9", "j41", side, JobFilter(), TalentFilter())
    assert explanation.score is not None
    total = sum(part.value for part in explanation.contributions)
    assert abs(total - explanation.score) <= 1e-5 * max(1.0, abs(explanation.score))
    assert any(part.signal.startswith("mutual") and part.value != 0 for part in explanation.contributions)
    assert explanation.probability is not None and explanation.mutual_probability is not None
    assert 0 < explanation.probability < 1 and 0 < explanation.mutual_probability < 1


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_reason_says_that_the_other_side_is_likely_to_act_and_names_nobody(kind: Kind) -> None:
    one = world(two_sided())
    (page,) = await one.recommender.lists([query(kind, "t9" if kind is Kind.TALENT else "j9", first=60)])
    assert isinstance(page, RankedPage)
    reasons = await one.recommender.reasons([(page, item) for item in page.items])
    likely = [reason for of in reasons for reason in of if reason.kind is ReasonKind.LIKELY_TO_ACCEPT]
    assert 0 < len(likely) < len(page.items)
    text = "The client is likely to answer" if kind is Kind.TALENT else "Likely to be interested"
    assert {reason.text for reason in likely} == {text}
    assert not any(reason.job_ordinals or reason.talent_ordinals for reason in likely)
    (alone,) = await one.recommender.lists([query(kind, "t9" if kind is Kind.TALENT else "j9", 0.0)])
    assert isinstance(alone, RankedPage)
    told = await one.recommender.reasons([(alone, item) for item in alone.items])
    assert not any(reason.kind is ReasonKind.LIKELY_TO_ACCEPT for of in told for reason in of)


async def test_a_list_that_was_begun_under_another_weight_is_not_gone_on_with() -> None:
    one = world(two_sided())
    (page,) = await one.recommender.lists([query(Kind.TALENT, "t3", first=5)])
    assert isinstance(page, RankedPage)
    other = one.replica()
    other._mutual_weight = 0.25  # another setting, after a restart
    (answer,) = await other.lists([replace(query(Kind.TALENT, "t3", first=5), after=page.items[-1].position)])
    assert type(answer).__name__ == "CursorExpiredError"
    (again,) = await one.replica().lists([replace(query(Kind.TALENT, "t3", first=5), after=page.items[-1].position)])
    assert isinstance(again, RankedPage) and again.items[0].rank == 6


def test_log_odds_of_both_sides_say_how_often_they_act() -> None:
    events = market()
    split = split_events(table_from_events(events), seed=1)
    both = both_sides(split, recipe_of(events))
    assert both is not None
    curves = both.reliability(split)
    assert set(curves) == set(Actor)
    for bins in curves.values():
        pairs = np.array([one.pairs for one in bins])
        predicted, observed = (np.array([getattr(one, name) for one in bins]) for name in ("predicted", "observed"))
        assert np.all(np.diff(predicted) > 0) and len(bins) >= 5
        # What is predicted over all of them is what happens, to within what a change of pace from one part of the log
        # to the next makes of it.
        assert 0.6 < (pairs @ predicted) / (pairs @ observed) < 1.7
        assert observed[-1] > 2 * observed[0]


def test_nothing_of_the_newer_part_reaches_a_calibration() -> None:
    table = table_from_events(market())
    split = split_events(table, seed=1)
    shuffled = replace(split, test=split.test.take(np.random.default_rng(0).permutation(len(split.test))[:500]))
    one, other = (calibrate(part.train, recipe_of(market())) for part in (split, shuffled))
    assert one is not None and other is not None
    assert one.own == other.own and one.mutual == other.mutual


def test_both_sides_find_hires_that_neither_finds_alone() -> None:
    model, loaded = two_sided(), LoadedModel(two_sided())
    rng = np.random.default_rng(9)
    wins: dict[float, int] = dict.fromkeys((0.0, 1.0), 0)
    for name in rng.choice(np.arange(1, TALENTS + 1), 60, replace=False).tolist():
        history = [one for one in market() if one.talent_id == f"t{name}"]
        fitting = {j for j in range(1, JOBS + 1) if name % 4 == j % 4 and (name // 4) % 3 == (j // 4) % 3}
        for weight in wins:
            (interest,) = interests_from_histories(
                [history],
                Kind.JOB,
                model,
                lambda ids: [int(one[1:]) for one in ids],
                mutual_weight=weight,
                subjects=[name],
            )
            scores = score(loaded.lists_of(Kind.JOB).terms_of(interest), np.arange(1, JOBS + 1, dtype=np.uint32))
            wins[weight] += len(fitting & set((np.argsort(-scores)[:8] + 1).tolist()))
    assert wins[1.0] > 2 * wins[0.0]


def test_probabilities_follow_the_map() -> None:
    assert sigmoid(np.array([0.0, 1000.0, -1000.0])).tolist() == [0.5, 1.0, 0.0]


def test_each_side_keeps_to_its_own_events() -> None:
    table = table_from_events(market())
    parts: Mapping[Actor, int] = {actor: len(of_actor(table, actor)) for actor in Actor}
    assert sum(parts.values()) == len(table) and all(parts.values())


@pytest.mark.parametrize("side", list(Actor))
async def test_an_effect_is_what_the_score_loses_without_the_asking_sides_events_with_the_item(side: Actor) -> None:
    one = world(two_sided())
    found = await one.recommender.explain("t9", "j41", side, JobFilter(), TalentFilter())
    everything, kind = one.events.events, Kind.JOB if side is Actor.TALENT else Kind.TALENT
    for part in found.contributions:
        if part.effect is None:
            continue
        acted_on = part.signal.removeprefix("history:")
        one.events.events = [e for e in everything if e.id_of(kind) != acted_on or e.actor is not side]
        without = await one.recommender.explain("t9", "j41", side, JobFilter(), TalentFilter())
        assert found.score is not None and without.score is not None
        assert part.effect == pytest.approx(found.score - without.score, abs=1e-8)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("weight", [0.0, 1.0])
async def test_who_came_after_the_model_is_scored_as_those_who_say_the_same(kind: Kind, weight: float) -> None:
    """By everything that a score is of, each in its own scale: neither above all others nor below them."""
    same = {"skills": ("Skill 1", "Tool 5")}
    twin = job(901, **same) if kind is Kind.TALENT else talent(901, **same)
    one = World([*documents(), twin], market(), two_sided())
    of = [one for one in documents() if type(one) is type(twin) and "Skill 1" in one.skills]
    for number in (4, 5, 6, 7):
        scores = dict(await listed(one, query(kind, f"{kind.value[0]}{number}", weight, first=300)))
        alike = [scores[document.id] for document in of if document.id in scores]
        assert np.quantile(list(scores.values()), 0.3) <= scores[twin.id] <= np.quantile(alike, 0.9)


async def test_a_job_without_events_gets_the_talents_whom_it_suits() -> None:
    events = [one for one in market() if one.job_id != "j9"]
    one = World(documents(), events, two_sided())
    (page,) = await one.recommender.lists([query(Kind.JOB, "j9", first=40)])
    assert isinstance(page, RankedPage)
    assert page.strategy is Strategy.CONTENT
    assert {(int(item.id[1:]) // 4) % 3 for item in page.items} == {(9 // 4) % 3}
    one.events.add(event(EventType.SHORTLIST, page.items[0].id, "j9", actor=Actor.CLIENT))
    (after,) = await one.recommender.lists([query(Kind.JOB, "j9", first=40)])
    assert isinstance(after, RankedPage)
    assert after.strategy is Strategy.COLLABORATIVE
    kept = {item.id for item in page.items} & {item.id for item in after.items}
    assert len(kept) > 20  # one event is no other list
