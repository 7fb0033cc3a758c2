from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import orjson
import pytest
from rich.console import Console

from gateway.cli import main
from gateway.cli.evaluate import read_served
from gateway.cli.train import train_and_publish
from gateway.erasure import Remains, erase
from gateway.settings import load_settings
from gateway.wiring import Stores, open_stores, stores
from recommender.documents import Kind, Patch
from recommender.errors import BadInputError
from recommender.evaluation import ServedRow
from recommender.events import Event, EventType
from recommender.model import Model
from recommender.ports import SubjectKey
from tests.factories import DAY_MS, NOW_MS, event


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def market(talents: int = 80, jobs: int = 24) -> list[Event]:
    rng = np.random.default_rng(0)
    events = []
    for talent in range(talents):
        for _ in range(10):
            job = 4 * rng.integers(jobs // 4) + talent % 4 if rng.random() < 0.8 else rng.integers(jobs)
            at = NOW_MS - int(rng.integers(60 * DAY_MS))
            number = len(events)
            events.append(event(EventType.VIEW, f"t{talent}", f"j{job}", occurred_at_ms=at, event_id=f"e{number}"))
    return events


async def train_on(opened: Stores, nonce: str = "n", **arguments: object) -> object:
    return await train_and_publish(
        opened,
        trained_at_ms=NOW_MS,
        nonce=nonce,
        console=Console(quiet=True),
        **arguments,  # type: ignore[arg-type]
    )


async def test_training_publishes_the_model_with_what_every_algorithm_reached(data_dir: Path) -> None:
    async with stores(load_settings()) as opened:
        await opened.events.append(market())
        await train_on(opened)
        model = opened.models.load(opened.models.current() or "")
    manifest = model.manifest
    algorithms = {"popularity", "item_knn", "rp3beta", "als", "served"}
    assert set(manifest.metrics) == algorithms | {f"{name}:talents" for name in algorithms}
    assert manifest.metrics["als:talents"]["recall@10"] > manifest.metrics["popularity:talents"]["recall@10"]
    assert manifest.metrics["als"]["recall@10"] > manifest.metrics["popularity"]["recall@10"]
    assert (manifest.events, manifest.watermark, manifest.trained_at_ms) == (800, 800, NOW_MS)
    assert model.side(Kind.TALENT).factors.shape == (80, manifest.hyperparameters.factors)


async def test_the_same_model_comes_out_without_the_evaluation(data_dir: Path) -> None:
    async with stores(load_settings()) as opened:
        await opened.events.append(market())
        with_it = await train_on(opened, "a")
        without = await train_on(opened, "b", evaluate=False, warm_start=False)
        gone_on = await train_on(opened, "c", evaluate=False)
    assert with_it.manifest.hyperparameters == without.manifest.hyperparameters  # type: ignore[attr-defined]
    assert with_it.jobs.factors.tobytes() == without.jobs.factors.tobytes()  # type: ignore[attr-defined]
    assert without.manifest.metrics == {}  # type: ignore[attr-defined]
    assert without.manifest.started_from is None  # type: ignore[attr-defined]
    assert gone_on.manifest.started_from == without.manifest.version  # type: ignore[attr-defined]


async def test_as_of_leaves_later_events_out(data_dir: Path) -> None:
    async with stores(load_settings()) as opened:
        await opened.events.append([event(event_id="a"), event(job_id="j2", occurred_at_ms=NOW_MS + 1, event_id="b")])
        model = await train_on(opened, as_of_ms=NOW_MS)
    assert (model.manifest.events, model.manifest.watermark, model.manifest.as_of_ms) == (1, 1, NOW_MS)  # type: ignore[attr-defined]


async def test_no_events_are_one_clear_error_and_nothing_is_published(data_dir: Path) -> None:
    async with stores(load_settings()) as opened:
        with pytest.raises(BadInputError, match="there are no events to learn from: import some with `tandem import"):
            await train_on(opened)
        assert opened.models.current() is None


async def test_a_log_of_impressions_alone_is_told_apart_from_an_empty_one(data_dir: Path) -> None:
    async with stores(load_settings()) as opened:
        await opened.events.append([event(EventType.IMPRESSION)])
        with pytest.raises(BadInputError, match="the log holds IMPRESSIONs alone"):
            await train_on(opened)


def fail(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0), [line for line in capsys.readouterr().err.splitlines() if line]


def test_without_data_both_commands_say_what_to_do_in_one_line(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("train", "evaluate"):
        code, lines = fail([command], capsys)
        assert code == 1
        assert len(lines) == 1
        assert "tandem import" in lines[0]


def test_a_malformed_as_of_is_a_usage_error(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = fail(["train", "--as-of", "yesterday"], capsys)
    assert code == 2
    assert any("yesterday" in line for line in lines)


def filled(count: int = 10**9) -> None:
    import asyncio

    opened = open_stores(load_settings())
    asyncio.run(opened.events.append(market()[:count]))
    opened.close()


def test_evaluate_writes_every_metric_as_json_and_publishes_nothing(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled()
    served = tmp_path / "served.csv"
    served.write_text("talent_id,job_id,rank\n" + "".join(f"t{t},j{t % 4},1\n" for t in range(80)))
    arguments = ["evaluate", "--against", str(served), "--against-for-jobs", str(served)]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json", str(tmp_path / "o.json"), "--k", "5"])
    assert ended.value.code in (0, None)
    printed = capsys.readouterr().out
    assert "Lists of today flatter themselves" in printed
    assert "Served against today's in Recall@5: +" in printed
    document = orjson.loads((tmp_path / "o.json").read_bytes())
    assert document["split"] == "time"
    for direction, asked in ((document, "talents"), (document["talents_for_jobs"], "jobs")):
        assert list(direction["metrics"]) == ["popularity", "item_knn", "rp3beta", "als", "served", "against"]
        measured = {"recall@5", "ndcg@5", "map@5", "coverage@5", "gini@5", "novelty@5", "new@5"}
        assert set(direction["metrics"]["als"]) == measured  # nothing is known of skills: no diversity
        lead = next(iter(direction["served_against_best"].values()))
        assert lead["low"] <= lead["difference"] <= lead["high"]
        assert lead["verdict"] in ("better", "level", "worse")
        low, high = direction["intervals"][lead["best"]][lead["metric"]]
        assert low <= direction["metrics"][lead["best"]][lead["metric"]] <= high
        today = direction["served_against_today"]["recall@5"]
        metrics = direction["metrics"]
        assert today["difference"] == pytest.approx(metrics["served"]["recall@5"] - metrics["against"]["recall@5"])
        assert today["verdict"] == "better"
        by_history = [row for row in direction["segments"] if row["by"] == "history"]
        assert sum(row["asked"] for row in by_history) == direction[asked]["asked"]
        for algorithm in ("served", "popularity", "against"):
            assert sum(row["asked"] * row["metrics"][algorithm]["recall@5"] for row in by_history) == pytest.approx(
                direction[asked]["asked"] * metrics[algorithm]["recall@5"]
            )
    assert not (data_dir / "models" / "CURRENT").exists()


def test_categories_and_diversity_are_those_of_the_catalogue(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import asyncio

    filled()

    async def describe() -> None:
        async with stores(load_settings()) as opened:
            patches = [Patch(f"j{j}", {"category": f"[b]{j % 4}[/b]", "skills": (f"s{j % 3}",)}) for j in range(24)]
            await opened.catalogue.upsert(Kind.JOB, patches)

    asyncio.run(describe())
    with pytest.raises(SystemExit):
        main(["evaluate", "--json", "-", "--k", "5"])
    document = orjson.loads(capsys.readouterr().out)
    names = {row["name"] for row in document["segments"] if row["by"] == "category"}
    assert names == {"[b]0[/b]", "[b]1[/b]", "[b]2[/b]", "[b]3[/b]"}
    assert 0 < document["metrics"]["served"]["diversity@5"] < document["metrics"]["popularity"]["diversity@5"] < 1
    assert "diversity@5" not in document["talents_for_jobs"]["metrics"]["served"]
    with pytest.raises(SystemExit):
        main(["evaluate", "--k", "5"])
    assert "[b]3[/b]" in capsys.readouterr().out  # no markup


def test_evaluate_prints_json_alone_to_a_pipe(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled()
    with pytest.raises(SystemExit):
        main(["evaluate", "--json", "-"])
    assert set(orjson.loads(capsys.readouterr().out)["metrics"]) == {
        "popularity",
        "item_knn",
        "rp3beta",
        "als",
        "served",
    }


def test_a_log_that_cannot_be_measured_fails_with_a_reason(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(1)
    code, lines = fail(["evaluate"], capsys)
    assert code == 1
    assert "nothing can be measured" in lines[-1]


def test_served_rows_are_read_by_rank_or_by_score(tmp_path: Path) -> None:
    by_rank, by_score = tmp_path / "a.csv", tmp_path / "b.jsonl"
    by_rank.write_text("talent_id,job_id,rank,score\n1,7,2,0.9\n")
    by_score.write_text('{"talent_id": 1, "job_id": "7", "score": 0.9}\n')
    assert read_served(by_rank) == ([ServedRow("1", "7", 2.0)], None)
    assert read_served(by_score) == ([ServedRow("1", "7", -0.9)], None)


def test_bad_served_rows_are_counted_and_the_first_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("talent_id,job_id,rank\n1,7,1\n1,8,soon\n,9,2\n1,9,\n")
    rows, complaint = read_served(path)
    assert [row.job_id for row in rows] == ["7"]
    assert complaint == f"{path}: 3 rows could not be used; the first is line 3: rank must be a number; got 'soon'"


def test_a_file_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("talent_id,job_id\n1,7\n")
    with pytest.raises(BadInputError, match=r"no row can be used \(line 2: a rank or a score is needed\)"):
        read_served(path)


async def test_who_is_erased_while_a_model_is_learnt_is_in_no_model(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stores(load_settings()) as opened:
        await opened.events.append(market())
        await train_on(opened, "a", evaluate=False)
        publish, subject = opened.models.publish, SubjectKey(Kind.TALENT, "t7")

        def erased_before(model: Model, *, make_current: bool = True) -> None:
            remains = Remains(opened.serving_log, opened.models, opened.cache, data_dir / "none.jsonl", 0.0)
            asyncio.run(erase(subject, opened.catalogue, opened.events, remains, NOW_MS))
            publish(model, make_current=make_current)

        monkeypatch.setattr(opened.models, "publish", erased_before)
        await train_on(opened, "b", evaluate=False)
        assert len(opened.models.versions()) == 2
        (ordinal,) = await opened.catalogue.ensure(Kind.TALENT, ["t7"])
        for version in opened.models.versions():
            talents = opened.models.load(version).talents
            row = int(np.searchsorted(talents.ordinals, ordinal))
            assert talents.ordinals[row] == ordinal
            assert not talents.factors[row].any()
            assert talents.factors.any()
