"""The search of hyper-parameters: what it keeps, when it goes on, and who follows it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import FixedTrial

from gateway.cli import main
from gateway.cli.evaluate import steps
from gateway.cli.train import train_and_publish
from gateway.cli.tune import Tuning, search
from gateway.settings import load_settings
from gateway.tuned import NAME, Tuned, TunedRefusedError, read_tuned, write_tuned
from gateway.wiring import Stores, stores
from recommender.choice import CONTENTS, Measured, Validation
from recommender.documents import Kind
from recommender.events import Emphasis, EventType
from recommender.features import unit_rows
from recommender.interactions import table_from_events
from recommender.likeness import Likeness
from recommender.recipe import Recipe
from tests.factories import NOW_MS, event
from tests.gateway.test_train_and_evaluate import market

FOUND = Tuned(
    recipe=Recipe(32, 20.0, 3.0, 30.0, 0.3, Likeness(0.5, 0.5, 0.5, 5.0), 1.2, 0.8, 8),
    formula=Recipe(64, 10.0, 2.0),
    value=0.5,
    of_choice=0.4,
    trials=7,
    seed=42,
    measured_on={"events": 10, "newest_ms": None, "talents_asked": 60, "seed": 42},
)


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def filled(talents: int = 140) -> None:
    async def fill() -> None:
        async with stores(load_settings()) as opened:
            await opened.events.append(market(talents))

    asyncio.run(fill())


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        main([*arguments])
    return int(done.value.code or 0)


def test_what_was_found_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_tuned(tmp_path) is None
    assert write_tuned(tmp_path / "models", FOUND) == tmp_path / "models" / NAME
    assert read_tuned(tmp_path / "models") == FOUND
    assert [file.name for file in (tmp_path / "models").iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "is torn or altered"),
        (b"[]", "is torn or altered"),
        (b'{"schema": 1}', "is torn or altered"),
        (b'{"schema": 99}', "has schema 99 and this version reads 1"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(TunedRefusedError, match=f"{why}.*run `tandem tune` again"):
        read_tuned(tmp_path)


def test_a_search_keeps_its_best_and_goes_on_where_it_ended(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled()
    assert run("tune", "--trials", "2", "--minutes", "5") == 0
    first = read_tuned(data_dir / "models")
    assert first is not None
    assert first.trials == 2
    assert first.value >= first.of_choice
    assert "`tandem train` follows it" in capsys.readouterr().out
    assert run("tune", "--trials", "1", "--minutes", "5") == 0
    second = read_tuned(data_dir / "models")
    assert second is not None
    assert second.trials == 3
    assert second.value >= first.value
    assert second.measured_on == first.measured_on


def test_the_same_seed_finds_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("a", "b"):
        monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / name))
        filled()
        assert run("tune", "--trials", "1", "--minutes", "5") == 0
        found.append(read_tuned(tmp_path / name / "models"))
    assert found[0] == found[1]


def test_what_types_weigh_is_searched_where_they_differ(tmp_path: Path) -> None:
    fixed = {
        "factors": 32, "strength": 2.0, "shrinkage": 1.0, "iterations": 6, "half_life_days": 0.0,
        "power": 0.25, "views": 4.0, "talent": 1.0, "source": 0.5, "target": 0.2, "likeness_shrinkage": 0.0,
    }  # fmt: skip
    views = market()
    mixed = [replace(one, type=EventType.APPLY) if place % 3 else one for place, one in enumerate(views)]
    for events, expected in ((mixed, Emphasis(0.25, 4.0)), (views, Emphasis())):
        trial = FixedTrial(fixed)
        recipe = Tuning(Validation(table_from_events(events)), None, tmp_path, {}, 42)._recipe(trial)  # type: ignore[arg-type]
        assert recipe.emphasis == expected
        assert ("power" in trial.params) == (expected != Emphasis())


@pytest.mark.parametrize(("gain", "is_kept"), [(0.0, False), (0.005, False), (0.05, True)])
def test_a_trial_is_kept_only_when_its_lead_over_what_train_chooses_is_no_luck(gain: float, is_kept: bool) -> None:
    rng = np.random.default_rng(0)
    chosen = Measured(FOUND.formula, rng.random(400))
    tried = Measured(FOUND.recipe, chosen.gains + gain + rng.normal(0, 0.2, 400))
    assert tried.surely_beats(chosen) is is_kept


def test_a_recipe_must_lead_on_splits_that_no_trial_was_measured_on() -> None:
    validation = Validation(table_from_events(market(140)))
    good = validation.measure(replace(validation.formula, factors=8)).recipe
    bad = replace(good, neighbours=0.0, popularity=100.0)
    assert validation.holds(good, bad)
    assert not validation.holds(bad, good)
    assert not validation.holds(good, good)


def test_an_interrupted_search_keeps_what_it_found(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_tuning: Tuning, _trial: object) -> float:
        raise KeyboardInterrupt

    filled()
    monkeypatch.setattr(Tuning, "objective", interrupted)
    assert run("tune", "--trials", "2") == 130
    assert read_tuned(data_dir / "models") is not None
    assert "Stopped; the best so far is in" in capsys.readouterr().err


def test_a_search_that_was_cut_off_while_it_wrote_is_gone_on_with(data_dir: Path) -> None:
    filled()
    assert run("tune", "--trials", "1") == 0
    (journal,) = (data_dir / "tuning").glob("*.journal")
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size - 20)
    assert run("tune", "--trials", "1") == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("factors", -3), ("factors", 100_000), ("factors", 3.5), ("strength", float("nan")), ("neighbours", 1e999)],
)
def test_numbers_that_no_search_gives_are_not_followed(data_dir: Path, name: str, value: float) -> None:
    recipe = replace(FOUND.recipe, **{name: value})  # type: ignore[arg-type]
    write_tuned(data_dir / "models", replace(FOUND, recipe=recipe))
    with pytest.raises(TunedRefusedError, match="is torn or altered"):
        read_tuned(data_dir / "models")


def test_a_log_too_small_to_tune_on_is_one_clear_line(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(talents=20)
    assert run("tune") == 1
    assert "tandem: there is too little to tune on:" in capsys.readouterr().err
    assert not (data_dir / "models" / NAME).exists()


def test_the_prior_of_a_description_and_what_content_weighs_are_found_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Recipe] = []
    measured = Validation.measure

    def measure(validation: Validation, recipe: Recipe) -> Measured:
        seen.append(recipe)
        return measured(validation, recipe)

    monkeypatch.setattr(Validation, "measure", measure)
    table = table_from_events(market(140))
    skills = {
        kind: unit_rows(np.arange(len(ids) + 1), np.array([int(name[1:]) % 4 for name in ids], np.int32), np.ones(4))
        for kind, ids in ((Kind.TALENT, table.talent_ids), (Kind.JOB, table.job_ids))
    }
    with steps() as shown:
        tuning = search(table, tmp_path, tmp_path, minutes=5, trials=3, seed=42, shown=shown, content=skills)
    assert len({recipe.prior for recipe in seen}) > 1
    found = read_tuned(tmp_path)
    assert found is not None
    assert found.recipe.content in CONTENTS
    assert tuning.best_value >= tuning.of_choice


async def hyper_of(opened: Stores, nonce: str, **arguments: object) -> object:
    model = await train_and_publish(opened, trained_at_ms=NOW_MS, nonce=nonce, evaluate=False, **arguments)  # type: ignore[arg-type]
    return model.manifest.hyperparameters


async def test_train_follows_what_was_found_says_so_and_can_be_told_not_to(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stores(load_settings()) as opened:
        await opened.events.append(market())
        before = await hyper_of(opened, "a")
        write_tuned(opened.models.path, FOUND)
        capsys.readouterr()
        hyper = await hyper_of(opened, "b")
        assert "Following what `tandem tune` found in 7 trials (0.5000 against 0.4000" in capsys.readouterr().out
        assert (hyper.factors, hyper.iterations, hyper.half_life_days) == (32, 8, 30.0)  # type: ignore[attr-defined]
        assert (hyper.neighbours, hyper.talent_neighbours) == (1.2, 0.8)  # type: ignore[attr-defined]
        assert hyper.likeness == (0.5, 0.5, 0.5, 5.0)  # type: ignore[attr-defined]
        assert await hyper_of(opened, "c", defaults=True) == before


async def test_train_ignores_a_file_of_another_schema_with_a_line(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stores(load_settings()) as opened:
        await opened.events.append([*market(), event(event_id="more")])
        path = write_tuned(opened.models.path, FOUND)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
        ignored = await hyper_of(opened, "a")
        said = capsys.readouterr().out
        assert "Ignored: " in said
        assert "has schema 2 and this version reads 1; run `tandem tune` again" in said
        default = await hyper_of(opened, "b", defaults=True, warm_start=False)
        assert ignored == default
