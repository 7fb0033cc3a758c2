"""`tandem backup` and `tandem restore`: the same answers from what was put back; what is not whole is refused."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.sqlite.serving_log import SqliteServingLog
from gateway.backup import MANIFEST, UNFINISHED, BackupError, back_up, restore
from gateway.cli.serve import build_services
from gateway.settings import Settings
from gateway.wiring import open_stores
from recommender.documents import Kind
from recommender.filters import JobFilter, TalentFilter
from recommender.ports import ServedItem, ServedList
from recommender.query import ListQuery, Mode, RankedPage
from tests.gateway.test_serve import trained_market
from tests.processes import tandem

PATIENT = {"catalogue_timeout_ms": 5_000, "events_timeout_ms": 5_000, "deadline_ms": 30_000}


def nothing_shown(_what: str, _done: int, _total: int) -> None:
    """No progress is looked at here."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_market(tmp_path_factory.mktemp("backup"), "--no-evaluate")


async def answers(data: Path) -> list[Any]:
    """The lists of every talent and job, with scores and totals."""
    settings = Settings(data_dir=data, **PATIENT)
    stores = open_stores(settings, must_exist=True)
    try:
        recommender = build_services(stores).recommender
        recommender.refresh_model()
        queries = [
            ListQuery(mode=Mode.RECOMMENDED, subject_kind=kind, subject_id=f"{letter}{n}", filter=wanted)
            for kind, letter, wanted in ((Kind.TALENT, "t", JobFilter()), (Kind.JOB, "j", TalentFilter()))
            for n in range(20)
        ]
        pages = await recommender.lists(queries)
        assert all(isinstance(page, RankedPage) and page.items for page in pages)
        return [
            (page.total, [(item.id, item.score, item.rank) for item in page.items])
            for page in pages
            if isinstance(page, RankedPage)
        ]
    finally:
        stores.close()


async def test_what_was_put_back_answers_as_what_was_copied(data: Path, tmp_path: Path) -> None:
    before = await answers(data)
    made = tandem(data, "backup", "--out", str(tmp_path / "copy"))
    assert (made.returncode, "puts it back" in made.stdout) == (0, True), made.stderr
    again = tandem(tmp_path / "other", "restore", "--from", str(tmp_path / "copy"))
    assert (again.returncode, "tandem doctor" in again.stdout) == (0, True), again.stderr
    assert await answers(tmp_path / "other") == before
    assert not list((tmp_path / "other").glob(f"*{UNFINISHED}"))


def test_a_database_is_copied_as_of_one_moment_while_it_is_written_to(data: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    shutil.copytree(data, used)
    with sqlite3.connect(used / "events.db") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE filler (n INTEGER, text TEXT)")
        connection.executemany("INSERT INTO filler VALUES (?, ?)", ((n, "x" * 500) for n in range(20_000)))
    stops = threading.Event()

    def write() -> None:
        own = sqlite3.connect(used / "events.db", timeout=30)
        number = 20_000
        while not stops.is_set():
            with own:  # two rows at once, or none
                own.executemany("INSERT INTO filler VALUES (?, 'y')", ((number,), (number + 1,)))
            number += 2
        own.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        back_up(Settings(data_dir=used), tmp_path / "copy", nothing_shown, 0)
    finally:
        stops.set()
        writer.join()
    copied = sqlite3.connect(tmp_path / "copy" / "events.db")
    ((count, highest),) = copied.execute("SELECT count(*), max(n) FROM filler").fetchall()
    copied.close()
    assert (count % 2, highest) == (0, count - 1)


def test_lists_on_their_way_into_the_log_are_in_the_copy(data: Path, tmp_path: Path) -> None:
    used = Settings(data_dir=tmp_path / "used")
    shutil.copytree(data, used.data_dir)
    log = SqliteServingLog.open(used.serving_log_path)
    page = ServedList("r", 0, None, Kind.JOB, "v", None, (ServedItem(1, 7, 0.5, "POPULAR"),))
    asyncio.run(log.append([page]))
    back_up(used, tmp_path / "copy", nothing_shown, 0)
    log.close()
    copied = SqliteServingLog.open(tmp_path / "copy" / "serving.db")
    assert asyncio.run(copied.get_many(["r"])) == [page]
    copied.close()


def test_what_cannot_be_moved_into_the_log_keeps_nobody_from_a_backup(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = Settings(data_dir=tmp_path / "used")
    shutil.copytree(data, used.data_dir)
    (used.data_dir / "serving.db.pending").write_bytes(b"x")
    taken = used.data_dir / "serving.db.pending.taken"
    taken.unlink(missing_ok=True)
    taken.mkdir()
    back_up(used, tmp_path / "copy", nothing_shown, 0)
    assert (tmp_path / "copy" / "serving.db").is_file()
    assert "the last served lists are not in the backup" in "".join(capsys.readouterr())


def test_nothing_is_overwritten(data: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=data)
    copy = tmp_path / "copy"
    back_up(settings, copy, nothing_shown, 0)
    with pytest.raises(BackupError, match="is there already; name a directory"):
        back_up(settings, copy, nothing_shown, 0)
    with pytest.raises(BackupError, match="overwrites nothing: move it away"):
        restore(settings, copy, nothing_shown)


@pytest.mark.parametrize("name", ["catalogue.db", "events.db", "models/CURRENT", MANIFEST])
@pytest.mark.parametrize("harm", ["altered", "cut", "missing"])
def test_a_backup_that_was_harmed_is_refused_and_leaves_nothing(
    data: Path, tmp_path: Path, name: str, harm: str
) -> None:
    copy = tmp_path / "copy"
    back_up(Settings(data_dir=data), copy, nothing_shown, 0)
    path = copy / name
    whole = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] + (b"" if harm == "cut" else b"?" + whole[len(whole) // 2 + 1 :]))
    with pytest.raises(BackupError, match=r"take another backup|is no backup"):
        restore(Settings(data_dir=tmp_path / "other"), copy, nothing_shown)
    assert not (tmp_path / "other").exists()


def test_a_backup_that_was_cut_off_is_none(data: Path, tmp_path: Path) -> None:
    def cut(what: str, _done: int, _total: int) -> None:
        if what == "Checking":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(Settings(data_dir=data), tmp_path / "copy", cut, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_data_directory_is_one_clear_line(tmp_path: Path) -> None:
    done = tandem(tmp_path / "nothing", "backup", "--out", str(tmp_path / "copy"))
    assert (done.returncode, len(done.stderr.strip().splitlines()), "no data in" in done.stderr) == (1, 1, True)
