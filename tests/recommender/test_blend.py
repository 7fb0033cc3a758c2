"""What is chosen and compared is the served score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

from recommender.als import fold_in
from recommender.blend import near_both_ways
from recommender.choice import (
    Blend,
    Validation,
    _best_blend,
    choose_blend,
    choose_recipe,
    choose_talent_blend,
    gains_of,
)
from recommender.documents import Kind
from recommender.evaluation import Trial, build_trial, top_lists
from recommender.events import EventType
from recommender.features import DescribedItems, FeatureTable
from recommender.interactions import EventTable, affinity, table_from_events
from recommender.interest import Interest, interests_from_histories
from recommender.likeness import Likeness
from recommender.recipe import Recipe, default_recipe
from recommender.scoring import contributions, score
from recommender.splits import split_events
from recommender.training import contenders, contenders_both_ways
from recommender.versions import LoadedModel
from tests import factories
from tests.factories import event
from tests.recommender.test_training import taste_events, trained

BLENDED = Recipe(
    factors=4,
    strength=10.0,
    shrinkage=1.0,
    half_life_days=30.0,
    popularity=0.2,
    likeness=Likeness(1, 1, 0.3),
    neighbours=2.0,
    talent_neighbours=1.0,
)


def told(
    table: EventTable, skills: Callable[[int], Sequence[str]] = lambda place: [f"s{place % 4}", f"s{place % 7}"]
) -> tuple[dict[Kind, DescribedItems], dict[Kind, sp.csr_matrix]]:
    """What the talents and jobs of a table say of themselves, as the catalogue has it and in the order of the table."""
    items, rows = {}, {}
    for kind, ids in ((Kind.TALENT, table.talent_ids), (Kind.JOB, table.job_ids)):
        features = FeatureTable()
        document = factories.talent if kind is Kind.TALENT else factories.job
        features.add(document(place, skills=tuple(skills(int(name[1:])))) for place, name in enumerate(ids, 1))
        items[kind] = features.build()
        rows[kind] = items[kind].at(np.arange(1, len(ids) + 1, dtype=np.uint32))
    return items, rows


@pytest.mark.parametrize("recipe", [BLENDED, replace(BLENDED, content=1.5), replace(BLENDED, neighbours=0.0)])
def test_the_contender_called_served_scores_what_serving_scores(recipe: Recipe) -> None:
    table = table_from_events(events := taste_events())
    described, content = told(table) if recipe.content != BLENDED.content or recipe.neighbours == 0 else (None, None)
    model = trained(table, recipe, described=described)
    split = replace(split_events(table), train=table)
    scorer = contenders(split, recipe, content=content)["served"]()
    job_ids = np.array(table.job_ids)
    for talent in range(0, 120, 17):
        history = [one for one in events if one.talent_id == table.talent_ids[talent]]
        ordinals_of = lambda ids: [table.job_ids.index(name) + 1 for name in ids]  # noqa: E731
        lent = model.talents.lent_to(np.array([talent + 1], np.uint32)) if described else None
        (interest,) = interests_from_histories([history], Kind.JOB, model, ordinals_of, lent)
        terms = LoadedModel(model).jobs.terms_of(interest)
        assert terms.names == ("interest", "neighbours", "popularity")
        expected = score(terms, np.arange(1, len(job_ids) + 1, dtype=np.uint32))
        assert scorer.scores(np.array([talent]))[0] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("talent_content", [None, 0.0, 0.6])
def test_the_contender_that_lists_talents_scores_what_serving_scores(talent_content: float | None) -> None:
    table = table_from_events(events := taste_events())
    described, content = told(table) if talent_content is not None else (None, None)
    recipe = replace(BLENDED, talent_content=talent_content or 0.0)
    model = trained(table, recipe, described=described)
    split = replace(split_events(table), train=table)
    scorer = contenders_both_ways(split, recipe, content=content)[Kind.TALENT]["served"]()
    for job in range(0, 40, 7):
        history = [one for one in events if one.job_id == table.job_ids[job]]
        ordinals_of = lambda ids: [table.talent_ids.index(name) + 1 for name in ids]  # noqa: E731
        lent = model.jobs.lent_to(np.array([job + 1], np.uint32)) if described else None
        (interest,) = interests_from_histories([history], Kind.TALENT, model, ordinals_of, lent)
        terms = LoadedModel(model).talents.terms_of(interest)
        assert terms.names == ("interest", "neighbours")
        expected = score(terms, np.arange(1, len(table.talent_ids) + 1, dtype=np.uint32))
        assert scorer.scores(np.array([job]))[0] == pytest.approx(expected, abs=1e-5)


def test_a_weight_means_the_same_whatever_the_size_of_the_scores() -> None:
    """At weight 1, the best neighbour sums of a typical history are as large as its best products of factors."""
    table = table_from_events(taste_events())
    for talents in (False, True):
        model = trained(table, replace(BLENDED, neighbours=1.0, popularity=0.0))
        hyper = model.manifest.hyperparameters
        side = model.talents if talents else model.jobs
        matrix = affinity(table, 30.0, table.newest_ms)
        matrix = (matrix.T if talents else matrix).tocsr()
        assert len(side.neighbours.starts) == len(side.ordinals) + 1
        assert np.all(side.neighbours.strengths > 0)
        loaded = LoadedModel(model).side(Kind.TALENT if talents else Kind.JOB)
        sizes = []
        for row in range(0, matrix.shape[0], 3):
            liked = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
            vector = fold_in(side, liked, matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]], hyper)
            interest = Interest(np.sort(liked), np.ones(len(liked)), vector)
            unseen = np.delete(side.ordinals, liked)
            sizes.append([np.sort(part)[-20:] for part in contributions(loaded.terms_of(interest), unseen)])
        factors, near = (np.sqrt(np.mean(np.square(part))) for part in zip(*sizes, strict=True))
        assert near == pytest.approx(factors, rel=0.2)


def test_neighbours_are_chosen_where_they_pay_and_the_choice_is_no_worse_than_factors_alone() -> None:
    table = table_from_events(taste_events(talents=150, jobs=60, each=6))
    split = split_events(table)
    recipe = choose_recipe(split.train)
    trial = build_trial(split)
    found = {name: build() for name, build in contenders(split, recipe).items() if name in ("als", "served")}
    gains = {name: gains_of(top_lists(scorer, trial, 20), trial).mean() for name, scorer in found.items()}
    assert gains["served"] >= 0.98 * gains["als"]


def test_content_is_weighed_by_what_it_gains_and_counts_for_nothing_where_nothing_is_described() -> None:
    table = table_from_events(taste_events(talents=120, jobs=100, each=4))
    assert choose_recipe(table, content=told(table, lambda place: [])[1]) == choose_recipe(table)
    split = split_events(table_from_events(taste_events(talents=300, jobs=240, each=4)))
    recipe = replace(default_recipe(affinity(split.train, None, None)), factors=8, iterations=4)
    matrix = affinity(split.train, None, None)
    said = told(split.train, lambda place: [f"s{place % 4}", f"s{place % 12}"])[1]
    assert choose_blend([split], recipe, 42, [near_both_ways(said, matrix)]).content > 0.1

    chance = np.random.default_rng(0)
    noise = told(split.train, lambda place: [f"s{chance.integers(30)}"])[1]
    assert choose_blend([split], recipe, 42, [near_both_ways(noise, matrix)]).content <= 0.1


def test_the_search_weighs_content_and_is_the_same_where_nothing_is_described() -> None:
    table = table_from_events(taste_events(talents=200, jobs=160, each=4))
    plain, bare = Validation(table), Validation(table, content=told(table, lambda place: [])[1])
    recipe = replace(plain.formula, factors=8, iterations=4)
    assert plain.measure(recipe).recipe == bare.measure(recipe).recipe
    assert plain.measure(recipe).gains.tolist() == bare.measure(recipe).gains.tolist()
    telling = Validation(table, content=told(table, lambda place: [f"s{place % 4}", f"s{place % 12}"])[1])
    measured = telling.measure(recipe)
    assert measured.recipe.content > 0.1
    assert measured.value > plain.measure(recipe).value


def test_content_is_weighed_for_lists_of_talents_by_itself() -> None:
    table = table_from_events(taste_events(talents=200, jobs=400, each=8))
    split, content = split_events(table), told(table, lambda place: [f"s{place % 4}", f"s{place % 12}"])[1]
    matrix = affinity(split.train, None, None)
    recipe = replace(default_recipe(matrix), factors=8, iterations=4, prior=0.0)
    weighed = choose_talent_blend(split, recipe, 42, near_both_ways(content, matrix))
    assert weighed.talent_content > recipe.talent_content
    unaided = choose_talent_blend(split, recipe, 42, near_both_ways(None, matrix))
    assert (unaided.content, unaided.talent_content) == (recipe.content, recipe.talent_content)


def test_content_alone_is_a_contender_where_items_are_described() -> None:
    table = table_from_events(taste_events(talents=200, jobs=160, each=4))
    split, content = split_events(table), told(table, lambda place: [f"s{place % 4}"])[1]
    algorithms = contenders_both_ways(split, BLENDED, content={**content, Kind.TALENT: content[Kind.TALENT] * 0})
    assert list(algorithms[Kind.JOB]) == ["popularity", "item_knn", "rp3beta", "content", "als", "served"]
    trial = build_trial(split)
    gains = {
        name: gains_of(top_lists(algorithms[Kind.JOB][name](), trial, 20), trial).mean()
        for name in ("popularity", "content")
    }
    assert gains["content"] > 2 * gains["popularity"]
    assert "content" not in contenders_both_ways(split, BLENDED)[Kind.JOB]


@pytest.mark.parametrize("each", [1, 2])
def test_a_log_of_an_event_or_two_a_talent_is_led_by_neighbours_and_popularity(each: int) -> None:
    table = table_from_events(taste_events(talents=400, jobs=300, each=each))
    recipe = default_recipe(affinity(table, None, None))
    assert recipe.neighbours > 1
    assert recipe.popularity > 0.2
    model = trained(table, recipe)
    assert model.manifest.hyperparameters.popularity > 0


@pytest.mark.parametrize(
    "events",
    [
        [event(EventType.APPLY, f"t{n}", "j1", seq=n + 1) for n in range(60)],
        [event(EventType.APPLY, f"t{n}", f"j{n}", seq=n + 1) for n in range(60)],
        [event(EventType.APPLY, "t1", f"j{n}", seq=n + 1) for n in range(60)],
        [event(EventType.APPLY, f"t{n % 60}", f"j{n % 7}", seq=n + 1, value=5.0) for n in range(300)],
    ],
    ids=["one job", "one event each", "one talent", "equal weights"],
)
def test_the_oddest_logs_get_a_blend_that_can_be_stored(events: list) -> None:  # type: ignore[type-arg]
    table = table_from_events(events)
    model = trained(table, replace(choose_recipe(table), factors=4))
    for side in (model.talents, model.jobs):
        assert int(side.neighbours.starts[-1]) == len(side.neighbours.columns)
        assert np.all(side.neighbours.strengths > 0)
        assert np.isfinite(side.neighbours.strengths).all()


class _Finds:
    """A pool in which the blend of weight 1 finds what so many talents seek, and the formula's finds nothing."""

    def __init__(self, talents: int) -> None:
        self.talents = talents

    def lists(self, of: int, neighbours: float, popularity: float, content: float) -> npt.NDArray[np.int64]:
        lists = np.full((400, 20), -1, dtype=np.int64)
        if neighbours == 1.0:
            lists[: self.talents, 0] = np.arange(self.talents)
        return lists


@pytest.mark.parametrize(("moved", "chosen"), [(49, 0.3), (50, 1.0)])
def test_a_blend_that_changes_what_few_talents_find_is_not_taken(moved: int, chosen: float) -> None:
    sought = sp.identity(400, format="csr")
    everybody, once = np.ones(400, dtype=np.bool_), np.ones(400, dtype=np.int64)
    trial = Trial(np.arange(400), sp.csr_matrix((400, 400)), sought, everybody, 0, 400, once, once, 400)
    blends = [Blend(0, 1.0, 0.1), Blend(0, 3.0, 0.1)]
    found = _best_blend([_Finds(moved)], [trial], blends, Blend(0, 0.3, 0.1))  # type: ignore[list-item]
    assert found == Blend(0, chosen, 0.1)
