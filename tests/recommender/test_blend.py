"""What is chosen and compared is the served score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

from recommender.als import fold_in
from recommender.choice import _best_blend, choose_recipe, gains_of
from recommender.documents import Kind
from recommender.evaluation import Trial, build_trial, top_lists
from recommender.events import EventType
from recommender.interactions import affinity, table_from_events
from recommender.interest import Interest, interests_from_histories
from recommender.likeness import Likeness
from recommender.recipe import Recipe, default_recipe
from recommender.scoring import contributions, score
from recommender.splits import split_events
from recommender.training import contenders, contenders_both_ways
from recommender.versions import LoadedModel
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


def test_the_contender_called_served_scores_what_serving_scores() -> None:
    table = table_from_events(events := taste_events())
    model = trained(table, BLENDED)
    split = replace(split_events(table), train=table)
    scorer = contenders(split, BLENDED)["served"]()
    job_ids = np.array(table.job_ids)
    for talent in range(0, 120, 17):
        history = [one for one in events if one.talent_id == table.talent_ids[talent]]
        ordinals_of = lambda ids: [table.job_ids.index(name) + 1 for name in ids]  # noqa: E731
        (interest,) = interests_from_histories([history], Kind.JOB, model, ordinals_of)
        terms = LoadedModel(model).jobs.terms_of(interest)
        assert terms.names == ("interest", "neighbours", "popularity")
        expected = score(terms, np.arange(1, len(job_ids) + 1, dtype=np.uint32))
        assert scorer.scores(np.array([talent]))[0] == pytest.approx(expected, abs=1e-5)


def test_the_contender_that_lists_talents_scores_what_serving_scores() -> None:
    table = table_from_events(events := taste_events())
    model = trained(table, BLENDED)
    split = replace(split_events(table), train=table)
    scorer = contenders_both_ways(split, BLENDED)[Kind.TALENT]["served"]()
    for job in range(0, 40, 7):
        history = [one for one in events if one.job_id == table.job_ids[job]]
        ordinals_of = lambda ids: [table.talent_ids.index(name) + 1 for name in ids]  # noqa: E731
        (interest,) = interests_from_histories([history], Kind.TALENT, model, ordinals_of)
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

    def lists(self, of: int, neighbours: float, popularity: float) -> npt.NDArray[np.int64]:
        lists = np.full((400, 20), -1, dtype=np.int64)
        if neighbours == 1.0:
            lists[: self.talents, 0] = np.arange(self.talents)
        return lists


@pytest.mark.parametrize(("moved", "chosen"), [(49, 0.3), (50, 1.0)])
def test_a_blend_that_changes_what_few_talents_find_is_not_taken(moved: int, chosen: float) -> None:
    sought = sp.identity(400, format="csr")
    everybody, once = np.ones(400, dtype=np.bool_), np.ones(400, dtype=np.int64)
    trial = Trial(np.arange(400), sp.csr_matrix((400, 400)), sought, everybody, 0, 400, once, once, 400)
    found = _best_blend([_Finds(moved)], [trial], [(0, 1.0, 0.1), (0, 3.0, 0.1)], (0, 0.3, 0.1))  # type: ignore[list-item]
    assert found == (0, chosen, 0.1)
