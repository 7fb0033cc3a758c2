"""Importing files into stores: what is written, counted, rejected, and what a second import changes (nothing)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.files import importing
from gateway.files.import_summary import Counts
from gateway.files.importing import check_files, import_files
from recommender.documents import Budget, BudgetType, JobStatus, Kind, Money
from recommender.errors import BadInputError
from recommender.events import EventType
from tests.gateway.import_fakes import FakeStores

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines to a file and gives back its path."""

    def to(name: str, *lines: str) -> Path:
        path = tmp_path / name
        text = "".join(f"{line}\n" for line in lines).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return to


def rejected(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def test_talents_jobs_and_events_are_imported_and_the_same_import_again_changes_nothing(write: Write) -> None:
    stores = FakeStores()
    files: dict[str, Any] = {
        "talents": [write("t.csv", "talent_id,title,hourly_rate", "t1,Gopher,50.10", "007,,")],
        "jobs": [write("j.jsonl", '{"job_id":1,"client_id":"c"}', '{"job_id":"j2","status":"draft"}')],
        "events": [write("e.csv.gz", "talent_id,job_id,type", "t1,1,VIEW", "t1,1,VIEW", "007,j2,INVITE")],
    }
    first = await import_files(stores, **files)
    assert first.talents == Counts(read=2, created=2)
    assert first.jobs == Counts(read=2, created=2)
    assert first.events == Counts(read=3, accepted=3)
    assert (first.bare_talents, first.bare_jobs, first.problems, first.rejects, first.usable) == (0, 0, [], None, 7)
    talent = stores.catalogue.talent("t1")
    assert (talent.title, talent.hourly_rate, talent.is_available) == ("Gopher", Money(Decimal("50.10"), "USD"), True)
    assert (stores.catalogue.job("1").status, stores.catalogue.job("j2").status) == (JobStatus.OPEN, JobStatus.DRAFT)
    documents, events = dict(stores.catalogue.documents), dict(stores.events.kept)

    again = await import_files(stores, **files)
    assert again.talents == Counts(read=2, unchanged=2)
    assert again.jobs == Counts(read=2, unchanged=2)
    assert again.events == Counts(read=3, duplicates=3)
    assert again.usable == 7
    assert (stores.catalogue.documents, stores.events.kept) == (documents, events)


async def test_the_same_events_in_another_format_and_other_chunks_are_the_same_events(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = FakeStores()
    rows = [(f"t{n % 3}", f"j{n % 2}", "2025-03-01T00:00:00Z") for n in range(20)]
    csv = write("e.csv", "talent_id,job_id,type,occurred_at", *(f"{t},{j},view,{at}" for t, j, at in rows))
    assert (await import_files(stores, events=[csv])).events.accepted == 20
    monkeypatch.setattr(importing, "EVENT_CHUNK", 3)
    lines = write(
        "e.jsonl",
        *(json.dumps({"type": "VIEW", "job_id": j, "talent_id": t, "occurred_at": 1_740_787_200}) for t, j, _ in rows),
    )
    assert (await import_files(stores, events=[lines])).events == Counts(read=20, duplicates=20)
    pq.write_table(
        pa.table(
            {
                "talent_id": [t for t, _, _ in rows],
                "job_id": [j for _, j, _ in rows],
                "type": ["VIEW"] * 20,
                "occurred_at": pa.array([1_740_787_200] * 20, pa.int64()).cast(pa.timestamp("s", "UTC")),
            }
        ),
        tmp_path / "e.parquet",
    )
    assert (await import_files(stores, events=[tmp_path / "e.parquet"])).events == Counts(read=20, duplicates=20)
    assert stores.events.batches == [20, 3, 3, 3, 3, 3, 3, 2, 3, 3, 3, 3, 3, 3, 2]


async def test_a_row_that_the_catalogue_refuses_is_a_bad_row_and_the_others_are_kept(
    write: Write, tmp_path: Path
) -> None:
    stores = FakeStores()
    stores.catalogue.refused.add("t2")
    path, rejects = write("t.csv", "talent_id,title", "t1,A", "t2,B", "t3,C"), tmp_path / "rejects.jsonl"
    summary = await import_files(stores, talents=[path], rejects=rejects)
    assert summary.talents == Counts(read=3, created=2, rejected=1)
    assert rejected(rejects) == [
        {"file": str(path), "line": 3, "reason": "it is not taken", "row": {"talent_id": "t2", "title": "B"}}
    ]


async def test_bad_rows_are_reported_with_file_line_and_reason_and_good_ones_kept(write: Write, tmp_path: Path) -> None:
    stores = FakeStores()
    path = write("t.csv", "talent_id,level", "t1,EXPERT", ",ENTRY", "t2,guru", 't3,"two', 'lines"', "t4", "t5,entry")
    rejects = tmp_path / "new" / "rejects.jsonl"
    summary = await import_files(stores, talents=[path], rejects=rejects)
    assert summary.talents == Counts(read=6, created=2, rejected=4)
    assert rejected(rejects) == [
        {
            "file": str(path),
            "line": 3,
            "reason": "talent_id: is missing, and a row needs it",
            "row": {"talent_id": "", "level": "ENTRY"},
        },
        {
            "file": str(path),
            "line": 4,
            "reason": "level: must be one of ENTRY, INTERMEDIATE, EXPERT; got 'guru'",
            "row": {"talent_id": "t2", "level": "guru"},
        },
        {
            "file": str(path),
            "line": 5,
            "reason": "level: must be one of ENTRY, INTERMEDIATE, EXPERT; got 'two\\nlines'",
            "row": {"talent_id": "t3", "level": "two\nlines"},
        },
        {"file": str(path), "line": 7, "reason": "the row has 1 fields, the header 2", "row": ["t4"]},
    ]
    assert summary.rejects == rejects
    assert summary.samples[0] == f"{path}:3: talent_id: is missing, and a row needs it"


async def test_a_rejects_file_of_an_earlier_import_does_not_stay(write: Write, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.jsonl"
    await import_files(FakeStores(), talents=[write("bad.csv", "talent_id", '""')], rejects=rejects)
    assert len(rejected(rejects)) == 1
    summary = await import_files(FakeStores(), talents=[write("good.csv", "talent_id", "t1")], rejects=rejects)
    assert summary.rejects is None
    assert not rejects.exists()


async def test_the_rejects_file_may_not_be_an_input(write: Write) -> None:
    path = write("t.jsonl", '{"talent_id":"t1"}')
    with pytest.raises(BadInputError, match=r"t\.jsonl is a file to import"):
        await import_files(FakeStores(), talents=[path], rejects=path)
    assert path.read_text() == '{"talent_id":"t1"}\n'


async def test_an_import_without_files_is_refused() -> None:
    with pytest.raises(BadInputError, match="name at least one file"):
        await import_files(FakeStores())


async def test_nothing_is_written_when_any_file_cannot_be_opened_or_used(write: Write, tmp_path: Path) -> None:
    stores = FakeStores()
    good, bad = write("t.csv", "talent_id", "t1"), write("e.csv", "talent_id,type", "t1,VIEW")
    for events in ([tmp_path / "none.csv"], [bad]):
        with pytest.raises(BadInputError):
            await import_files(stores, talents=[good], events=events)
        with pytest.raises(BadInputError):
            check_files(talents=[good], events=events)
    assert stores.catalogue.calls == []


async def test_an_event_log_alone_creates_bare_talents_and_jobs_in_the_order_of_the_log(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "EVENT_CHUNK", 2)
    stores = FakeStores()
    path = write("e.csv", "talent_id,job_id,type", "t2,j1,VIEW", "t1,j1,APPLY", "t2,j2,VIEW", "t1,j1,SAVE")
    summary = await import_files(stores, events=[path])
    assert (summary.bare_talents, summary.bare_jobs, summary.events.accepted) == (2, 2, 4)
    assert list(stores.catalogue.documents[Kind.TALENT]) == ["t2", "t1"]
    assert list(stores.catalogue.documents[Kind.JOB]) == ["j1", "j2"]
    assert stores.catalogue.calls == [
        *(("get_many", 2), ("ensure", 2), ("get_many", 2)),
        *(("get_many", 1), ("ensure", 1), ("get_many", 1)),
        *(("get_many", 1), ("ensure", 1), ("get_many", 1)),
    ]
    assert (await import_files(stores, events=[path])).bare_talents == 0


async def test_events_of_a_deleted_id_are_rejected_and_their_numbers_are_not_given_to_others(
    write: Write, tmp_path: Path
) -> None:
    stores = FakeStores()
    stores.catalogue.buried = {"gone", "closed"}
    path = write("e.csv", "talent_id,job_id,type", "gone,j1,VIEW", "t1,closed,VIEW", "t1,j1,VIEW")
    summary = await import_files(stores, events=[path], rejects=tmp_path / "r.jsonl")
    assert summary.events == Counts(read=3, accepted=1, rejected=2)
    assert (summary.bare_talents, summary.bare_jobs) == (1, 1)
    assert [(row["line"], row["reason"]) for row in rejected(tmp_path / "r.jsonl")] == [
        (2, "talent_id: it was deleted"),
        (3, "job_id: it was deleted"),
    ]
    assert [event.talent_id for event in stores.events.kept.values()] == ["t1"]


async def test_a_talent_that_was_deleted_is_rejected_with_the_way_back(write: Write) -> None:
    stores = FakeStores()
    stores.catalogue.buried = {"gone"}
    summary = await import_files(stores, talents=[write("t.csv", "talent_id", "gone", "t1")])
    assert summary.talents == Counts(read=2, created=1, rejected=1)
    assert summary.samples[0].endswith("it was deleted: only a row with a later updated_at revives it, none if erased")


async def test_the_same_event_id_is_a_duplicate_or_with_other_content_a_conflict(write: Write, tmp_path: Path) -> None:
    stores = FakeStores()
    path = write("e.csv", "event_id,talent_id,job_id,type", "e1,t1,j1,VIEW", "e1,t1,j1,VIEW", "e1,t1,j2,VIEW")
    summary = await import_files(stores, events=[path], rejects=tmp_path / "r.jsonl")
    assert summary.events == Counts(read=3, accepted=1, duplicates=1, conflicts=1)
    assert rejected(tmp_path / "r.jsonl") == [
        {
            "file": str(path),
            "line": 4,
            "reason": "event_id: 'e1' was recorded before with other content",
            "row": {"event_id": "e1", "talent_id": "t1", "job_id": "j2", "type": "VIEW"},
        }
    ]


async def test_older_never_overwrites_newer_and_counts_as_stale(write: Write) -> None:
    stores = FakeStores()
    path = write("t.csv", "talent_id,title,updated_at", "t1,new,2025-03-02", "t1,old,2025-03-01")
    assert (await import_files(stores, talents=[path])).talents == Counts(read=2, created=1, stale=1)
    assert stores.catalogue.talent("t1").title == "new"


async def test_an_absent_column_keeps_and_an_empty_cell_clears(write: Write) -> None:
    stores = FakeStores()
    await import_files(
        stores,
        talents=[write("1.csv", "talent_id,title,country,city,hourly_rate,currency", "t1,Gopher,DE,Köln,50,EUR")],
        jobs=[
            write("1.jsonl", '{"job_id":"j1","budget_type":"HOURLY","budget_min":20,"budget_max":30,"currency":"EUR"}')
        ],
    )
    await import_files(
        stores,
        talents=[write("2.csv", "talent_id,title,city,hourly_rate", "t1,,,60")],
        jobs=[write("2.jsonl", '{"job_id":"j1","budget_max":40}', '{"job_id":"j1","budget_min":null}')],
    )
    talent = stores.catalogue.talent("t1")
    assert (talent.title, talent.country, talent.attributes, talent.hourly_rate) == (
        None,
        "DE",
        {},
        Money(Decimal("60"), "EUR"),
    )
    assert stores.catalogue.job("j1").budget == Budget(BudgetType.HOURLY, None, Decimal("40"), "EUR")


async def test_pay_that_contradicts_what_is_kept_is_rejected(write: Write) -> None:
    stores = FakeStores()
    await import_files(stores, jobs=[write("1.jsonl", '{"job_id":"j1","budget_min":20}')])
    summary = await import_files(stores, jobs=[write("2.jsonl", '{"job_id":"j1","budget_max":10}')])
    assert summary.jobs == Counts(read=1, rejected=1)
    assert summary.samples[0].endswith("2.jsonl:1: budget_min: must not be above budget_max; got 20 and 10")


async def test_a_torn_file_keeps_its_good_rows_and_the_next_file_is_imported(write: Write, tmp_path: Path) -> None:
    stores = FakeStores()
    torn = write("t.csv.gz", "talent_id", *(f"t{n * n * 7919 % 1_000_003}" for n in range(50_000)))
    torn.write_bytes(torn.read_bytes()[:50_000])
    summary = await import_files(
        stores, talents=[torn], jobs=[write("j.csv", "job_id", "j1")], rejects=tmp_path / "r.jsonl"
    )
    kept = summary.talents.read
    assert 1000 < kept < 50_000
    assert summary.talents == Counts(read=kept, created=kept)
    assert summary.jobs.created == 1
    reason = "the gzip data ends too early: the file is torn"
    assert summary.problems == [f"{torn}:{kept + 2}: {reason}; the rows before it are kept"]
    assert rejected(tmp_path / "r.jsonl") == [{"file": str(torn), "line": kept + 2, "reason": reason, "row": None}]


async def test_an_interrupted_import_has_stored_whole_chunks_and_the_same_import_completes_it(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "EVENT_CHUNK", 10)
    stores = FakeStores()
    stores.events.fails_after = 25
    path = write("e.csv", "talent_id,job_id,type", *(f"t{n % 4},j1,VIEW" for n in range(40)))
    with pytest.raises(KeyboardInterrupt):
        await import_files(stores, events=[path])
    assert len(stores.events.kept) == 20
    stores.events.fails_after = None
    assert (await import_files(stores, events=[path])).events == Counts(read=40, accepted=20, duplicates=20)


async def test_without_stores_rows_are_only_checked(write: Write, tmp_path: Path) -> None:
    summary = await import_files(
        None,
        talents=[write("t.csv", "talent_id,level", "t1,expert", "t2,guru")],
        jobs=[write("j.csv", "job_id,budget_min,budget_max", "j1,1,2", "j2,2,1")],
        events=[write("e.csv", "talent_id,job_id,type", "t1,j1,VIEW", "t1,j1,LIKE")],
        rejects=tmp_path / "r.jsonl",
    )
    assert summary.talents == summary.jobs == summary.events == Counts(read=2, valid=1, rejected=1)
    assert len(rejected(tmp_path / "r.jsonl")) == 3


async def test_several_files_of_a_kind_are_read_in_their_order_and_equal_rows_of_two_files_are_one_event(
    write: Write,
) -> None:
    stores = FakeStores()
    files = [write(f"{n}.csv", "talent_id,job_id,type", "t1,j1,VIEW", "t1,j1,VIEW") for n in range(2)]
    assert (await import_files(stores, events=files)).events == Counts(read=4, accepted=2, duplicates=2)


async def test_progress_is_told_by_file_from_its_bytes_to_its_end(write: Write) -> None:
    path = write("e.csv", "talent_id,job_id,type", *(f"t{n},j1,VIEW" for n in range(30_000)))
    told: list[tuple[Path, int, int, int]] = []
    await import_files(FakeStores(), events=[path], on_progress=lambda *progress: told.append(progress))
    size = path.stat().st_size
    assert {(told_path, told_size) for told_path, _, told_size, _ in told} == {(path, size)}
    assert [read for _, read, _, _ in told] == sorted(read for _, read, _, _ in told)
    assert told[-1] == (path, size, size, 30_000)
    assert len(told) == 16


async def test_nothing_usable_is_told_apart_from_nothing_new(write: Write) -> None:
    empty, header = write("e.csv"), write("h.csv", "talent_id")
    assert (await import_files(FakeStores(), talents=[empty, header])).usable == 0
    assert (await import_files(FakeStores(), talents=[write("b.csv", "talent_id,level", "t1,guru")])).usable == 0


async def test_an_event_of_every_type_can_be_imported(write: Write) -> None:
    stores = FakeStores()
    path = write("e.csv", "talent_id,job_id,type", *(f"t1,j1,{kind.value}" for kind in EventType))
    assert (await import_files(stores, events=[path])).events.accepted == len(EventType)
    assert [event.type for event in stores.events.kept.values()] == list(EventType)
