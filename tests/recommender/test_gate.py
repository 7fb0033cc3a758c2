"""The gate: what is surely worse does not serve, and nothing else is kept from it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from recommender.events import Event, EventType
from recommender.gate import Judgement, judge
from recommender.interactions import EventTable, affinity, table_from_events
from recommender.model import Model, Neighbours
from recommender.recipe import Recipe, default_recipe
from tests.factories import DAY_MS, NOW_MS, event
from tests.recommender.test_training import ordinals, taste_events, trained

EVENTS = taste_events(talents=300, jobs=80, each=10)
TABLE = table_from_events(EVENTS)
RECIPE = replace(default_recipe(affinity(TABLE, None, None)), factors=8, iterations=6)


@cache
def model_of(recipe: Recipe = RECIPE) -> Model:
    return trained(TABLE, recipe)


def judged(table: EventTable, serving: Model, model: Model) -> Judgement:
    found = judge(table, serving.manifest, model, ordinals(table.job_ids))
    assert found is not None
    return found


def test_a_model_with_shuffled_factors_is_refused_and_an_equal_one_is_not() -> None:
    model = model_of()
    equal = judged(TABLE, model, trained(TABLE, RECIPE))
    assert equal.values["serving"] == equal.values["learnt"] < equal.values["model"]
    assert equal.leads["learnt"].verdict == "level"
    assert equal.refused_for is None
    shuffled = np.random.default_rng(1).permutation(model.jobs.factors)
    broken = judged(TABLE, model, replace(model, jobs=replace(model.jobs, factors=shuffled)))
    assert broken.refused_for is not None
    assert broken.values["model_factors"] < 0.5 * broken.values["learnt_factors"]


def test_rows_under_the_wrong_ordinals_are_refused() -> None:
    found = judge(TABLE, model_of().manifest, model_of(), ordinals(TABLE.job_ids)[::-1].copy())
    assert found is not None
    assert found.refused_for is found.leads["model"]


def test_a_model_of_more_events_is_published() -> None:
    serving = trained(TABLE.take(TABLE.seq <= 2200), RECIPE, watermark=2200)
    found = judged(TABLE, serving, model_of())
    assert found.refused_for is None
    assert found.values["learnt"] > 0.97 * found.values["serving"]


def test_a_model_of_a_polluted_log_is_refused() -> None:
    rng = np.random.default_rng(3)
    noise = [
        event(EventType.HIRE, f"t{rng.integers(300)}", f"j{rng.integers(80)}", seq=len(EVENTS) + n + 1)
        for n in range(6_000)
    ]
    table = table_from_events([*EVENTS, *noise])
    found = judged(table, model_of(), trained(table, RECIPE))
    assert found.refused_for is found.leads["learnt"]


def test_a_worse_recipe_is_refused_however_well_it_remembers() -> None:
    """Against the very pairs it has learnt, the model that memorises would look better than the one that serves."""
    memory = replace(RECIPE, factors=64, iterations=15, shrinkage=0.001, strength=200.0, neighbours=0.0)
    found = judged(TABLE, model_of(), model_of(memory))
    assert found.values["model"] > found.values["serving"] > 1.3 * found.values["learnt"]
    assert found.refused_for is found.leads["learnt"]
    assert judged(TABLE, model_of(memory), model_of()).refused_for is None


def test_new_and_vanished_jobs_do_not_count() -> None:
    """The catalogue turned over by half: both models are asked about what both know."""
    first = [one for one in EVENTS if one.seq <= 1500]
    moved = [
        replace(one, job_id=f"n{one.job_id}") if int(one.job_id[1:]) % 8 >= 4 else one
        for one in EVENTS
        if one.seq > 1500
    ]
    table = table_from_events([*first, *moved])
    found = judged(table, trained(table.take(table.seq <= 1500), RECIPE, watermark=1500), trained(table, RECIPE))
    assert found.refused_for is None


def test_too_few_talents_say_nothing() -> None:
    table = table_from_events(taste_events(talents=40, jobs=20, each=5))
    model = trained(table, RECIPE)
    assert judge(table, model.manifest, model, ordinals(table.job_ids)) is None
    later = table_from_events([replace(one, seq=one.seq + 10_000) for one in EVENTS])
    assert judge(later, model_of().manifest, trained(later, RECIPE), ordinals(later.job_ids)) is None


def test_a_serving_model_from_before_neighbours_is_compared_as_it_is() -> None:
    model = trained(TABLE, replace(RECIPE, neighbours=0.0, talent_neighbours=0.0))
    bare = replace(model, jobs=replace(model.jobs, neighbours=Neighbours.none()))
    old = replace(bare.manifest.hyperparameters, likeness=(0.0, 0.0, 0.0, 0.0))
    before = replace(bare, manifest=replace(bare.manifest, hyperparameters=old, schema=1))
    found = judged(TABLE, before, model_of())
    assert found.values["serving"] > 0
    assert found.refused_for is None


def test_erased_talents_are_in_neither_model() -> None:
    serving = model_of()
    kept = table_from_events([one for one in EVENTS if int(one.talent_id[1:]) >= 100])
    assert judged(kept, serving, trained(kept, RECIPE)).refused_for is None


def test_a_larger_log_is_represented_by_a_share_of_its_talents(monkeypatch: pytest.MonkeyPatch) -> None:
    from recommender import gate

    whole = judged(TABLE, model_of(), model_of())
    monkeypatch.setattr(gate, "PAIRS", 1_400)
    part = judged(TABLE, model_of(), model_of())
    assert part.asked < whole.asked


def test_the_verdict_is_the_same_each_time() -> None:
    model = model_of()
    assert judged(TABLE, model, model) == judged(TABLE, model, model)


def test_the_decayed_market_of_an_old_model_is_no_reason_to_refuse() -> None:
    """A year later tastes have turned; under a short half-life the new model knows little of the old ones."""
    decaying = replace(RECIPE, half_life_days=30.0)
    serving = trained(TABLE, decaying)
    turned: list[Event] = []
    for one in EVENTS:
        job_id = f"j{(int(one.job_id[1:]) + 1) % 80}"
        at = (one.occurred_at_ms or NOW_MS) + 365 * DAY_MS
        turned.append(replace(one, job_id=job_id, occurred_at_ms=at, seq=one.seq + len(EVENTS)))
    table = table_from_events([*EVENTS, *turned])
    assert judged(table, serving, trained(table, decaying)).refused_for is None
