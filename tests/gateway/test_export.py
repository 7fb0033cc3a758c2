"""`tandem export`: the file against what serving lists, its formats, and that it is whole or absent."""

from __future__ import annotations

import asyncio
import gzip
from itertools import groupby
from pathlib import Path

import numpy as np
import orjson
import pytest
from pyarrow import parquet
from rich.console import Console

from gateway.cli import main
from gateway.cli.train import train_and_publish
from gateway.files.writer import open_writer
from gateway.settings import load_settings
from gateway.wiring import stores
from recommender.documents import JobStatus, Kind, Patch
from recommender.errors import BadInputError
from recommender.events import Event, EventType
from recommender.filters import JobFilter, TalentFilter
from recommender.query import ListQuery, Mode, RankedPage
from recommender.recommender import Recommender
from tests.factories import DAY_MS, NOW_MS, event

TALENTS, JOBS = 30, 50
Row = dict[str, object]


def history() -> list[Event]:
    rng = np.random.default_rng(1)
    kinds = [EventType.VIEW, EventType.APPLY, EventType.SAVE, EventType.DISMISS]
    return [
        event(
            kinds[number % 4],
            f"t{rng.integers(TALENTS)}",
            f"jöb {rng.integers(JOBS)}",
            occurred_at_ms=NOW_MS - number * DAY_MS // 10,
            event_id=f"e{number}",
        )
        for number in range(300)
    ]


async def prepare() -> None:
    """A market from an event log, a model of it, and then a closed, an expired and a new job."""
    async with stores(load_settings()) as opened:
        await opened.events.append(history())
        await train_and_publish(opened, trained_at_ms=NOW_MS, nonce="n", evaluate=False, console=Console(quiet=True))
        await opened.catalogue.upsert(
            Kind.JOB,
            [
                Patch("jöb 1", {"status": JobStatus.CLOSED}),
                Patch("jöb 2", {"expires_at_ms": NOW_MS}),
                Patch("new", {"skills": ("Go",)}),
            ],
        )
        await opened.catalogue.upsert(Kind.TALENT, [Patch("newcomer", {"skills": ("go",)}), Patch("stranger")])


async def served(kind: Kind, first: int) -> dict[str, list[tuple[str, float]]]:
    async with stores(load_settings()) as opened:
        recommender = Recommender(
            catalogue=opened.catalogue,
            events=opened.events,
            serving_log=opened.serving_log,
            models=opened.models,
            clock_ms=lambda: NOW_MS,
            new_id=lambda: "r",
        )
        recommender.refresh_model()
        wanted = JobFilter(statuses=tuple(JobStatus)) if kind is Kind.JOB else TalentFilter()
        (everybody,) = await opened.catalogue.matching(kind, [(wanted, None)], NOW_MS)
        ids = (await opened.catalogue.mirror(kind)).ids_of(list(everybody))
        listed = JobFilter() if kind is Kind.TALENT else TalentFilter()
        pages = await recommender.lists(
            [
                ListQuery(mode=Mode.RECOMMENDED, subject_kind=kind, subject_id=name, filter=listed, first=first)
                for name in ids
            ]
        )
        lists = {}
        for name, page in zip(ids, pages, strict=True):
            assert isinstance(page, RankedPage)
            lists[name] = [(item.id, item.score) for item in page.items]
        return lists


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))
    asyncio.run(prepare())
    return tmp_path / "data"


def export(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["export", *arguments])
    return int(stopped.value.code or 0)


def rows_in(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        rows: list[Row] = parquet.read_table(path).to_pylist()
        return rows
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [orjson.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("kind", list(Kind))
def test_the_file_holds_the_served_lists_of_everybody(kind: Kind, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "top.jsonl"
    assert export("--for", f"{kind.value}s", "--k", "12", "--out", str(out)) == 0
    expected = asyncio.run(served(kind, 12))
    subject, item = ("talent_id", "job_id") if kind is Kind.TALENT else ("job_id", "talent_id")
    rows = rows_in(out)
    assert list(rows[0]) == ["talent_id", "job_id", "rank", "score"]
    found = {name: list(of_one) for name, of_one in groupby(rows, key=lambda row: row[subject])}
    assert {name: [(row[item], row["score"]) for row in of_one] for name, of_one in found.items()} == expected
    assert all([row["rank"] for row in of_one] == list(range(1, len(of_one) + 1)) for of_one in found.values())
    if kind is Kind.TALENT:
        assert expected["newcomer"][0][0] == "new"
        assert {"jöb 1", "jöb 2"}.isdisjoint(row["job_id"] for row in rows)


def test_every_format_holds_the_same_rows(data_dir: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"top{suffix}" for suffix in (".jsonl", ".ndjson", ".jsonl.gz", ".parquet")]
    for out in outs:
        assert export("--for", "talents", "--k", "5", "--out", str(out)) == 0
    first, *others = [rows_in(out) for out in outs]
    assert len(first) == (TALENTS + 2) * 5
    assert others == [first] * 3
    assert parquet.read_schema(outs[-1]).metadata[b"tandem_schema"] == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", *sorted(out.name for out in outs)]


def test_exclusions_and_the_now_of_expiry_are_options(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "top.jsonl"

    def pairs(*options: str) -> set[tuple[object, object]]:
        assert export("--for", "talents", "--k", "1000", "--out", str(out), *options) == 0
        return {(row["talent_id"], row["job_id"]) for row in rows_in(out)}

    events = history()
    open_jobs = {f"jöb {n}" for n in range(JOBS)} - {"jöb 1", "jöb 2"}
    known = {(one.talent_id, one.job_id) for one in events if one.job_id in open_jobs}
    hidden = {
        (one.talent_id, one.job_id)
        for one in events
        if one.type in (EventType.APPLY, EventType.DISMISS) and one.job_id in open_jobs
    }
    nothing = pairs("--exclude", "none")
    assert known < nothing
    assert nothing - pairs() == hidden
    assert nothing - pairs("--exclude", "seen") == known
    assert any(job_id == "jöb 2" for _, job_id in pairs("--as-of", str((NOW_MS - 1000) / 1000)))


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "top.parquet"
    out.write_bytes(b"older")
    with pytest.raises(RuntimeError), open_writer(out, Kind.TALENT) as writer:
        writer.write("t1", ["j1"], [1.0])
        raise RuntimeError
    assert out.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["top.csv", "top", "nowhere/top.jsonl", "."])
def test_a_file_that_cannot_be_written_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError), open_writer(tmp_path / name, Kind.TALENT):
        pass


def test_what_cannot_be_exported_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "none"))
    assert export("--for", "talents", "--out", str(tmp_path / "top.csv")) == 1
    assert ".parquet" in capsys.readouterr().err
    assert export("--for", "talents", "--out", str(tmp_path / "top.jsonl")) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert export("--for", "clients", "--out", str(tmp_path / "top.jsonl")) == 2
    assert export("--for", "jobs", "--k", "0", "--out", str(tmp_path / "top.jsonl")) == 2


def test_no_model_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path))

    async def empty() -> None:
        async with stores(load_settings()):
            pass

    asyncio.run(empty())
    assert export("--for", "talents", "--out", str(tmp_path / "top.jsonl")) == 1
    assert capsys.readouterr().err == "tandem: there is no model yet; `tandem train` makes one\n"
    assert not (tmp_path / "top.jsonl").exists()
