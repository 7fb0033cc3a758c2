from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

from recommender.als import fold_in
from recommender.choice import choose_recipe, has_types
from recommender.documents import Kind
from recommender.errors import BadInputError
from recommender.evaluation import build_trial, evaluate
from recommender.events import Emphasis, Event, EventType
from recommender.interactions import EventTable, affinity, pair_weights, table_from_events
from recommender.model import Model
from recommender.recipe import Recipe, carried_over, default_recipe, resolve
from recommender.splits import split_events
from recommender.training import Earlier, contenders, start_from, train, version_of
from recommender.two_sides import precedes
from tests.factories import DAY_MS, NOW_MS, event

SMALL = Recipe(factors=4, strength=10.0, shrinkage=1.0, half_life_days=30.0)


def taste_events(talents: int = 120, jobs: int = 40, each: int = 12, seed: int = 0, timed: bool = True) -> list[Event]:
    """Talents of four tastes who mostly act on the quarter of the jobs that suits them."""
    rng = np.random.default_rng(seed)
    events = []
    for talent in range(talents):
        liked = [job for job in range(jobs) if job % 4 == talent % 4]
        for _ in range(each):
            job = rng.choice(liked) if rng.random() < 0.8 else rng.integers(jobs)
            at = NOW_MS - int(rng.integers(60 * DAY_MS)) if timed else None
            kind = EventType.APPLY if rng.random() < 0.3 else EventType.VIEW
            events.append(event(kind, f"t{talent}", f"j{job}", occurred_at_ms=at, seq=len(events) + 1))
    return events


def ordinals(ids: object) -> npt.NDArray[np.uint32]:
    return np.arange(1, len(ids) + 1, dtype=np.uint32)  # type: ignore[arg-type]


def trained(table: EventTable, recipe: Recipe = SMALL, **arguments: object) -> Model:
    defaults = {
        "talent_ordinals": ordinals(table.talent_ids),
        "job_ordinals": ordinals(table.job_ids),
        "as_of_ms": table.newest_ms,
        "watermark": len(table),
        "trained_at_ms": NOW_MS,
        "nonce": "n",
    }
    return train(table, recipe, **{**defaults, **arguments})  # type: ignore[arg-type]


def test_als_beats_popularity_and_a_shuffled_log_does_not() -> None:
    def scores(events: list[Event]) -> dict[str, float]:
        split = split_events(table_from_events(events))
        algorithms = contenders(split, default_recipe(affinity(split.train, None, None)))
        return {name: outcome.metrics["ndcg@10"] for name, outcome in evaluate(algorithms, build_trial(split), (10,))}

    real = scores(taste_events())
    assert set(real) == {"popularity", "item_knn", "rp3beta", "als", "served"}
    assert real["als"] > 1.5 * real["popularity"]
    rng = np.random.default_rng(1)
    shuffled = [
        event(e.type, e.talent_id, f"j{rng.integers(40)}", occurred_at_ms=e.occurred_at_ms, seq=e.seq)
        for e in taste_events()
    ]
    noise = scores(shuffled)
    assert noise["als"] < 1.5 * noise["popularity"]


def test_a_stored_talent_equals_the_fold_in_of_its_history_as_serving_weighs_it() -> None:
    events = taste_events()
    table = table_from_events(events)
    model = trained(table)
    hyper = model.manifest.hyperparameters
    job_ordinal = dict(zip(table.job_ids, ordinals(table.job_ids), strict=True))
    for talent in (0, 17, 119):
        history = [e for e in events if e.talent_id == f"t{talent}"]
        weights = pair_weights(history, hyper, model.manifest.as_of_ms)
        rows = model.jobs.rows(np.array([job_ordinal[job_id] for _, job_id in weights], dtype=np.uint32))
        folded = fold_in(model.jobs, rows, np.array(list(weights.values())), hyper)
        stored = model.talents.factors[model.talents.rows(ordinals(table.talent_ids)[[talent_place(table, talent)]])[0]]
        assert np.linalg.norm(folded - stored) <= 1e-4 * np.linalg.norm(stored)


def talent_place(table: EventTable, talent: int) -> int:
    return list(table.talent_ids).index(f"t{talent}")


def test_popularity_is_the_decayed_positive_weight_of_each_row() -> None:
    table = table_from_events(
        [
            event(EventType.VIEW, "t1", "j1"),
            event(EventType.SAVE, "t2", "j1", occurred_at_ms=NOW_MS - 30 * DAY_MS),
            event(EventType.DISMISS, "t2", "j2"),
        ]
    )
    model = trained(table)
    assert model.side(Kind.JOB).popularity.tolist() == [2.5, 0.0]
    assert model.side(Kind.TALENT).popularity.tolist() == [1.0, 1.5]


def test_rows_ascend_by_ordinal_and_say_something() -> None:
    table = table_from_events(
        [
            event(EventType.VIEW, "t1", "j1"),
            event(EventType.VIEW, "t2", "j2"),
            event(EventType.APPLY, "t3", "j3", seq=1),
            event(EventType.WITHDRAW, "t3", "j3", seq=2),
        ]
    )
    model = trained(
        table,
        talent_ordinals=np.array([9, 4, 2], dtype=np.uint32),
        job_ordinals=np.array([7, 30, 1], dtype=np.uint32),
    )
    assert model.talents.ordinals.tolist() == [4, 9]
    assert model.jobs.ordinals.tolist() == [7, 30]
    assert model.talents.factors[0] @ model.jobs.factors[1] > 0.3  # ordinal 4 is t2, who viewed j2, ordinal 30
    assert abs(model.talents.factors[0] @ model.jobs.factors[0]) < 0.3


def test_training_twice_gives_the_same_bytes() -> None:
    table = table_from_events(taste_events())
    first, again = trained(table), trained(table)
    assert first.manifest == again.manifest
    assert first.talents.factors.tobytes() == again.talents.factors.tobytes()
    assert first.jobs.factors.tobytes() == again.jobs.factors.tobytes()


def test_choosing_a_recipe_is_deterministic_and_told_trial_by_trial() -> None:
    table = table_from_events(taste_events())
    told: list[tuple[int, int]] = []
    first = choose_recipe(table, on_trial=lambda done, of: told.append((done, of)))
    assert first == choose_recipe(table)
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert 3 <= len(told) <= told[0][1]


def test_nothing_after_the_cut_changes_a_choice_or_a_contender() -> None:
    table = table_from_events(taste_events())
    split = split_events(table)
    assert split.cut_ms is not None
    late = table.at_ms > split.cut_ms
    tampered = split_events(replace(table, job=np.where(late, 0, table.job), value=np.where(late, 100.0, 1.0)))
    assert choose_recipe(split.train) == choose_recipe(tampered.train)
    theirs = contenders(tampered, SMALL)
    for name, build in contenders(split, SMALL).items():
        assert np.array_equal(build().scores(np.arange(120)), theirs[name]().scores(np.arange(120)))


def test_regularisation_never_shrinks_a_sparse_log_to_nothing() -> None:
    table = table_from_events([event(talent_id=f"t{n}", job_id=f"j{n}") for n in range(60)])
    model = trained(table, replace(SMALL, factors=64, shrinkage=5.0))
    own = np.einsum("nf,nf->n", model.talents.factors, model.jobs.factors)
    assert (own > 0.3).all()


def test_a_talent_whose_history_leads_nowhere_is_recommended_what_is_popular() -> None:
    """A job that nobody else acted on says nothing of any other; the order of scores around 1e-18 is noise."""
    rng = np.random.default_rng(2)
    crowd = [event(talent_id=f"t{n}", job_id=f"j{int(40 * rng.random() ** 2)}", seq=n) for n in range(600)]
    table = table_from_events([*crowd, event(talent_id="hermit", job_id="cave")])
    split = split_events(table)
    everything = replace(split, train=table)
    algorithms = contenders(everything, default_recipe(affinity(table, None, None)))
    hermit = np.array([table.talent_ids.index("hermit")])
    seen = table.job_ids.index("cave")
    ranked = [
        np.argsort(-np.delete(algorithms[name]().scores(hermit)[0], seen))[:10].tolist()
        for name in ("served", "popularity")
    ]
    assert ranked[0] == ranked[1]


def test_a_recipe_chosen_on_a_part_departs_from_the_formula_by_as_much_on_the_whole() -> None:
    whole = affinity(table_from_events(taste_events()), None, None)
    part = affinity(table_from_events(taste_events(each=6)), None, None)
    chosen = replace(default_recipe(part), strength=2 * default_recipe(part).strength, half_life_days=7.0)
    carried = carried_over(chosen, part, whole)
    assert carried.strength == pytest.approx(2 * default_recipe(whole).strength)
    assert carried.shrinkage == pytest.approx(default_recipe(whole).shrinkage)
    assert carried.half_life_days == 7.0
    assert carried.popularity == default_recipe(whole).popularity != chosen.popularity
    assert carried_over(replace(chosen, popularity=0.2), part, whole).popularity == 0.2
    assert carried_over(chosen, part, part) == chosen


def test_confidence_is_weak_in_a_dense_log_and_strong_in_a_sparse_one() -> None:
    """Figures of logs on which both were measured: docs/decisions/0006-default-hyperparameters.md."""
    dense = default_recipe(sp.random_array((200, 3280), density=0.065, rng=1).tocsr())
    assert (dense.strength, dense.shrinkage) == (pytest.approx(4.6, rel=0.02), pytest.approx(7.2, rel=0.02))
    assert (dense.popularity, dense.neighbours) == (0.003, 0.3)
    sparse = default_recipe(sp.random_array((5000, 2680), density=0.0018, rng=1).tocsr())
    assert (sparse.strength, sparse.shrinkage) == (pytest.approx(65.8, rel=0.02), pytest.approx(2.43, rel=0.02))
    assert sparse.popularity == pytest.approx(0.057, rel=0.02)
    twice = default_recipe(sp.random_array((3448, 6915), density=0.00033, rng=1).tocsr())  # two events per talent
    assert twice.popularity == pytest.approx(0.59, rel=0.05)


def test_a_log_too_small_to_measure_on_keeps_the_formula() -> None:
    table = table_from_events(taste_events(talents=10))
    assert choose_recipe(table) == default_recipe(affinity(table, None, None))


def test_scaling_every_weight_scales_alpha_and_leaves_the_model() -> None:
    small = table_from_events([event(e.type, e.talent_id, e.job_id, value=1.0, occurred_at_ms=None, seq=e.seq)
                               for e in taste_events()])  # fmt: skip
    large = table_from_events([event(e.type, e.talent_id, e.job_id, value=1000.0, occurred_at_ms=None, seq=e.seq)
                               for e in taste_events()])  # fmt: skip
    first, second = trained(small), trained(large)
    assert second.manifest.hyperparameters.alpha == pytest.approx(first.manifest.hyperparameters.alpha / 1000, rel=1e-5)
    np.testing.assert_allclose(first.jobs.factors, second.jobs.factors, rtol=1e-2, atol=1e-3)


def test_one_huge_value_does_not_silence_the_rest() -> None:
    events = [event(talent_id=f"t{n}", job_id=f"j{n % 9}", value=1e9 if n == 0 else None) for n in range(500)]
    matrix = affinity(table_from_events(events), None, None)
    assert resolve(SMALL, matrix).alpha == pytest.approx(10.0)


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([event()], id="one event"),
        pytest.param([event(talent_id=f"t{n}", job_id=f"j{n}") for n in range(60)], id="one event per talent and job"),
        pytest.param([event(talent_id=f"t{n}") for n in range(200)], id="one job"),
        pytest.param([event(job_id=f"j{n}") for n in range(200)], id="one talent"),
        pytest.param([event(occurred_at_ms=None), event(EventType.DISMISS, "t2", "j2")], id="no times, one dislike"),
        pytest.param([event(occurred_at_ms=0), event(EventType.VIEW, "t2", "j2")], id="fifty years apart"),
    ],
)
def test_the_smallest_and_oddest_logs_train_and_evaluate(events: list[Event]) -> None:
    table = table_from_events(events)
    split = split_events(table)
    recipe = choose_recipe(split.train)
    measured = dict(evaluate(contenders(split, recipe), build_trial(split)))
    assert all(np.isfinite(value) for outcome in measured.values() for value in outcome.metrics.values())
    model = trained(table, recipe)
    assert np.isfinite(model.jobs.factors).all()
    assert np.isfinite(model.talents.factors).all()


@pytest.mark.parametrize("kind", [EventType.DISMISS, EventType.REJECT, EventType.UNSAVE, EventType.IMPRESSION])
def test_a_log_that_speaks_for_no_pair_is_refused_with_what_is_needed(kind: EventType) -> None:
    with pytest.raises(BadInputError, match="there is nothing to learn from: training needs at least one VIEW"):
        trained(table_from_events([event(kind, f"t{n}") for n in range(3)]))


def test_versions_sort_by_time_and_differ_by_nonce() -> None:
    assert version_of(NOW_MS, "a").startswith("20251009T085320.000Z-")
    assert (
        version_of(NOW_MS, "a")
        < version_of(NOW_MS + 1, "a")
        < version_of(NOW_MS + 999, "b")
        < version_of(NOW_MS + 1000, "a")
    )
    assert version_of(NOW_MS, "a") != version_of(NOW_MS, "b")


def test_what_views_weigh_is_chosen_where_types_differ_and_left_where_there_is_one() -> None:
    rng = np.random.default_rng(1)
    events = []
    for talent in range(150):
        for _ in range(16):  # applications follow the talent's taste, views follow none
            applies = rng.random() < 0.4
            job = int(rng.integers(30)) * 4 + talent % 4 if applies else int(rng.integers(120))
            kind = EventType.APPLY if applies else EventType.VIEW
            events.append(event(kind, f"t{talent}", f"j{job}", occurred_at_ms=None, seq=len(events) + 1))
    table = table_from_events(events)
    assert has_types(table)
    assert choose_recipe(table).emphasis.views < 1
    alike = replace(table, kind=np.full_like(table.kind, table.kind[0]))
    assert not has_types(alike)
    assert choose_recipe(alike).emphasis == Emphasis()


def grown(table: EventTable) -> tuple[Model, dict[str, object]]:
    """A model of the first nine tenths of a log, and what a training of all of it is given."""
    rows = np.arange(len(table))
    earlier = trained(table.take(rows[: len(rows) * 9 // 10]))
    fit = replace(earlier, manifest=replace(earlier.manifest, version="earlier"))
    return fit, {"earlier": Earlier(fit.manifest.version, fit.first)}


def test_a_model_goes_on_from_an_earlier_one_in_a_third_of_the_iterations_and_says_so() -> None:
    table = table_from_events(taste_events())
    _, given = grown(table)
    told: list[int] = []
    model = trained(table, on_iteration=lambda done, of: told.append(of), **given)
    assert model.manifest.started_from == "earlier"
    assert set(told) == {-(-SMALL.iterations // 3)}
    assert model.manifest.hyperparameters == replace(
        trained(table).manifest.hyperparameters, popularity=model.manifest.hyperparameters.popularity
    )
    again = trained(table, **given)
    assert again.jobs.factors.tobytes() == model.jobs.factors.tobytes()
    assert trained(table).manifest.started_from is None


@pytest.mark.parametrize(
    "change",
    [
        {"factors": 5},
        {"strength": 40.0},
        {"shrinkage": 40.0},
        {"half_life_days": 90.0},
        {"emphasis": Emphasis(views=2.0)},
    ],
)
def test_a_model_learnt_otherwise_is_no_start(change: dict[str, object]) -> None:
    table = table_from_events(taste_events())
    _, given = grown(table)
    recipe = replace(SMALL, **change)  # type: ignore[arg-type]
    model = trained(table, recipe, **given)
    assert model.manifest.started_from is None
    assert model.jobs.factors.tobytes() == trained(table, recipe).jobs.factors.tobytes()


def test_a_model_of_others_is_no_start() -> None:
    table = table_from_events(taste_events())
    earlier, _ = grown(table)
    strangers = earlier.jobs.ordinals + np.uint32(10_000)
    assert start_from(earlier.first, earlier.manifest.hyperparameters, earlier.talents.ordinals, strangers) is None


def test_a_model_that_knows_of_what_is_to_come_is_no_start() -> None:
    manifest = trained(table_from_events(taste_events())).manifest
    known = replace(manifest, as_of_ms=1_000, watermark=10)
    assert precedes(known, 1_000, 10)
    assert not precedes(known, 999, 10)
    assert not precedes(known, 1_000, 9)
    assert not precedes(known, None, 10)


def test_a_model_that_somebody_was_erased_from_is_no_start() -> None:
    manifest = trained(table_from_events(taste_events())).manifest
    known = replace(manifest, as_of_ms=1_000, watermark=10)

    assert not precedes(replace(known, is_without=True), 1_000, 10)
