"""`tandem import` from end to end: real stores, what is printed, how it exits."""

from __future__ import annotations

import asyncio
import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.settings import Settings, load_settings
from gateway.wiring import stores
from recommender.documents import Budget, BudgetType, Job, Kind, Money, Talent
from recommender.events import Event
from recommender.ports import SubjectKey


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory that is not there yet, set in the environment."""
    path = tmp_path / "data"
    monkeypatch.setenv("TANDEM_DATA_DIR", str(path))
    monkeypatch.setenv("TANDEM_CURRENCY", "EUR")
    return path


@pytest.fixture
def market(tmp_path: Path) -> list[str]:
    """The arguments that import a small market."""
    talents, jobs, events = tmp_path / "talents.csv", tmp_path / "jobs.jsonl", tmp_path / "events.csv"
    talents.write_text("talent_id,title,skills,hourly_rate\nt1,Gopher,Go;SQL,50.10\nt2,Painter,,\n")
    jobs.write_text(
        '{"job_id":"j1","client_id":7,"title":"Build it","budget_type":"hourly","budget_min":20,"team":"core"}\n'
    )
    events.write_text(
        "talent_id,job_id,type,occurred_at\n"
        "t1,j1,VIEW,2025-03-01T00:00:00Z\nt1,j1,VIEW,2025-03-01T00:00:00Z\nt9,j1,APPLY,\n"
    )
    return ["import", "--talents", str(talents), "--jobs", str(jobs), "--events", str(events)]


def run(arguments: list[str]) -> int:
    """The exit code of one command."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    code = left.value.code
    return code if isinstance(code, int) else 0


async def stored(settings: Settings) -> tuple[list[Talent | Job | None], list[list[Event]], int]:
    async with stores(settings) as opened:
        talents = await opened.catalogue.get_many(Kind.TALENT, ids=["t1", "t9"])
        jobs = await opened.catalogue.get_many(Kind.JOB, ids=["j1"])
        history = await opened.events.history([SubjectKey(Kind.JOB, "j1")])
        changes = await opened.catalogue.changes(Kind.TALENT, since=0)
        return [*talents, *jobs], history, changes.revision


def test_an_import_is_stored_and_summed_up_and_a_second_one_changes_nothing(
    data_dir: Path, market: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(market) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    *lines, last = printed.out.splitlines()
    assert lines == [
        "talents: 2 read, 2 created, 0 updated, 0 unchanged, 0 stale, 0 rejected",
        "jobs:    1 read, 1 created, 0 updated, 0 unchanged, 0 stale, 0 rejected",
        "events:  3 read, 3 accepted, 0 duplicates, 0 conflicts, 0 rejected",
        "bare:    1 talents and 0 jobs created, which only events name",
    ]
    assert last.startswith("imported in ")
    first = asyncio.run(stored(load_settings()))
    (gopher, bare, job), (events,), _ = first
    assert isinstance(gopher, Talent)
    assert isinstance(bare, Talent)
    assert isinstance(job, Job)
    assert (gopher.title, gopher.skills, gopher.hourly_rate) == ("Gopher", ("Go", "SQL"), Money(Decimal("50.1"), "EUR"))
    assert (bare.title, bare.is_available) == (None, True)
    assert (job.client_id, job.attributes) == ("7", {"team": "core"})
    assert job.budget == Budget(BudgetType.HOURLY, Decimal("20"), None, "EUR")
    assert [(event.talent_id, event.type.value, event.occurred_at_ms) for event in events] == [
        ("t1", "VIEW", 1_740_787_200_000),
        ("t1", "VIEW", 1_740_787_200_000),
        ("t9", "APPLY", None),
    ]

    assert run(market) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "talents: 2 read, 0 created, 0 updated, 2 unchanged, 0 stale, 0 rejected",
        "jobs:    1 read, 0 created, 0 updated, 1 unchanged, 0 stale, 0 rejected",
        "events:  3 read, 0 accepted, 3 duplicates, 0 conflicts, 0 rejected",
    ]
    assert asyncio.run(stored(load_settings())) == first


def test_bad_rows_go_to_a_rejects_file_in_the_data_directory_and_the_import_succeeds(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("talent_id,level\nt1,expert\nt2,guru\n")
    assert run(["import", "--talents", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "talents: 2 read, 1 created, 0 updated, 0 unchanged, 0 stale, 1 rejected\n" in printed
    assert f"rejects: {data_dir / 'import-rejects.jsonl'}; it begins with\n" in printed
    assert f"{path}:3: level: must be one of ENTRY, INTERMEDIATE, EXPERT; got 'guru'\n" in printed
    assert json.loads((data_dir / "import-rejects.jsonl").read_text())["line"] == 3


def test_a_dry_run_checks_and_stores_nothing(
    data_dir: Path, tmp_path: Path, market: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*market, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "talents: 2 read, 2 valid, 0 rejected"
    assert not data_dir.exists()


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("t.csv", "", "nothing usable in {path}: there are no rows"),
        ("t.csv", "talent_id,title\n", "nothing usable in {path}: there are no rows"),
        ("t.csv", "talent_id\n\"\"\n", "nothing usable in {path}: all 1 rows were refused, see {rejects}"),
        ("t.csv", "title,level\nx,y\n", "{path}: column talent_id is missing; found: title, level"),
        ("t.txt", "", "{path}: the format of a file is told by its suffix; allowed: .csv, .jsonl, .ndjson, .json, "
                      ".parquet, each also with .gz"),
        ("t.csv.gz", "", "nothing usable in {path}: there are no rows"),
    ],
)  # fmt: skip
def test_a_file_without_anything_usable_ends_with_one_line_and_exit_code_1(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, line: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert run(["import", "--talents", str(path)]) == 1
    expected = line.format(path=path, rejects=data_dir / "import-rejects.jsonl")
    assert capsys.readouterr().err == f"tandem: {expected}\n"


def test_a_missing_file_leaves_no_data_directory_behind(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", "--events", str(tmp_path / "none.csv")]) == 1
    assert capsys.readouterr().err == f"tandem: {tmp_path / 'none.csv'}: there is no such file\n"
    assert not data_dir.exists()


def test_a_torn_file_is_imported_up_to_its_end_and_ends_with_exit_code_1(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"talent_id":"t1"}\n{"talent_id":"t2"}\n')[:-8])
    assert run(["import", "--talents", str(path)]) == 1
    printed = capsys.readouterr()
    assert "talents: 2 read, 2 created" in printed.out
    assert printed.err == (
        f"tandem: {path}:3: the gzip data ends too early: the file is torn; the rows before it are kept\n"
    )


def test_an_import_without_files_is_wrong_usage(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import"]) == 2
    assert "name at least one file: --talents, --jobs or --events" in capsys.readouterr().err
