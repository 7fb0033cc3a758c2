"""The gate as `tandem train` and `tandem models` show it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gateway.cli import main
from gateway.settings import load_settings
from gateway.wiring import stores
from recommender import als, training
from recommender.events import Event, EventType
from tests.factories import event
from tests.gateway.test_train_and_evaluate import market


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def append(events: list[Event]) -> None:
    async def write() -> None:
        async with stores(load_settings()) as opened:
            await opened.events.append(events)

    asyncio.run(write())


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    capsys.readouterr()
    assert run("models", "list", "--json") == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def shuffled_fit(*arguments: object) -> tuple[als.Factors, als.Factors]:
    talents, jobs = als.fit(*arguments)  # type: ignore[arg-type]
    order: npt.NDArray[np.intp] = np.random.default_rng(0).permutation(len(jobs))
    return talents, jobs[order]


def test_a_model_with_shuffled_factors_is_kept_and_does_not_serve(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    append(market(talents=240, jobs=48))
    assert run("train", "--no-evaluate") == 0
    assert "Not compared" not in capsys.readouterr().out  # a first model has nothing to be compared with
    assert run("train", "--no-evaluate") == 0  # an equal one is published
    assert ", level; 48 talents, whom neither had learnt from." in " ".join(capsys.readouterr().out.split())
    first, equal = listed(capsys)
    assert (first["is_current"], equal["is_current"]) == (False, True)
    with monkeypatch.context() as patched:
        patched.setattr(training, "fit", shuffled_fit)
        assert run("train", "--no-evaluate") == 1
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tandem:")]
        assert len(told) == 1
        assert "is kept but does not serve: NDCG@20 0." in told[0]
        assert f"of {equal['version']}, which goes on serving, over 48 talents" in told[0]
        broken = listed(capsys)[-1]
        assert (broken["is_current"], broken["kept_from_serving"]) == (False, True)
        assert run("models", "list") == 0
        assert "worse than what served" in capsys.readouterr().out
        assert run("train", "--no-evaluate", "--force") == 0
    assert listed(capsys)[-1]["is_current"] is True
    assert run("models", "rollback") == 0
    assert listed(capsys)[1]["is_current"] is True  # not the refused one


def test_a_polluted_log_does_not_replace_what_serves(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(market(talents=240, jobs=48))
    assert run("train", "--no-evaluate") == 0
    rng = np.random.default_rng(1)
    append(
        [event(EventType.HIRE, f"t{rng.integers(240)}", f"j{rng.integers(48)}", event_id=f"x{n}") for n in range(4_000)]
    )
    assert run("train", "--no-evaluate") == 1
    assert "its events or hyper-parameters teach less" in capsys.readouterr().err
    assert [row["is_current"] for row in listed(capsys)] == [True, False]


def test_a_small_log_is_not_compared_and_says_so(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(market(talents=30))
    assert run("train", "--no-evaluate") == 0
    assert run("train", "--no-evaluate") == 0
    assert "fewer than 20 talents have two jobs that both models know" in " ".join(capsys.readouterr().out.split())
    assert [row["is_current"] for row in listed(capsys)] == [False, True]


def test_a_damaged_serving_model_does_not_keep_a_sound_one_out(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(market(talents=120))
    assert run("train", "--no-evaluate") == 0
    (manifest,) = (data_dir / "models").glob("*/manifest.json")
    manifest.write_text("{}")
    assert run("train", "--no-evaluate") == 0
    assert "Not compared with the serving model" in capsys.readouterr().out
    assert listed(capsys)[-1]["is_current"] is True
