"""Opening the stores: which file stands behind which port, and what happens when one cannot be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import load_settings
from gateway.wiring import NoDataError, open_stores, stores
from recommender.documents import Kind
from recommender.errors import UnavailableError
from tests.factories import event


async def test_the_stores_are_made_under_the_data_directory(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "deep" / "data")
    async with stores(settings) as opened:
        assert opened.settings.data_dir == settings.data_dir
        await opened.events.append([event()])
        assert await opened.catalogue.ensure(Kind.JOB, ["j1"]) == [1]
        assert opened.models.current() is None
    assert sorted(path.name for path in settings.data_dir.iterdir()) == ["catalogue.db", "events.db", "serving.db"]


async def test_what_was_written_is_there_when_they_are_opened_again(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    async with stores(settings) as opened:
        await opened.events.append([event()])
    async with stores(settings, must_exist=True) as opened:
        assert (await opened.events.state()).last_seq == 1


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    opened = open_stores(load_settings(data_dir=tmp_path))
    opened.close()
    opened.close()


def test_a_url_puts_a_store_elsewhere(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data", events_url=f"sqlite:///{tmp_path}/elsewhere.db")
    open_stores(settings).close()
    assert (tmp_path / "elsewhere.db").is_file()
    assert not (tmp_path / "data" / "events.db").exists()


def test_no_data_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    with pytest.raises(NoDataError) as caught:
        open_stores(settings, must_exist=True)
    assert str(caught.value) == f"no data in {tmp_path}/data: run `tandem import …` or `tandem demo` first"
    assert not (tmp_path / "data").exists()


def test_no_data_names_the_file_of_a_url(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, catalogue_url=f"sqlite:///{tmp_path}/there.db")
    with pytest.raises(NoDataError, match=r"^no data in .*/there\.db: run"):
        open_stores(settings, must_exist=True)


def test_a_lost_event_log_is_said_and_no_empty_one_takes_its_place(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    open_stores(settings).close()
    settings.events_path.unlink()
    with pytest.raises(
        NoDataError, match=r"^no event log at .*/events\.db: bring it back or correct TANDEM_EVENTS_URL"
    ):
        open_stores(settings, must_exist=True)
    assert not settings.events_path.exists()


def test_a_store_that_cannot_be_opened_closes_the_others(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    open_stores(settings).close()
    (tmp_path / "serving.db").write_bytes(b"no database" * 100)
    with pytest.raises(UnavailableError, match=r"serving log is unavailable: .*it is not a SQLite database"):
        open_stores(settings)
    # The last connection to leave removes the write-ahead log: what was opened before is closed.
    assert not list(tmp_path.glob("*-wal"))


def test_a_data_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"data directory is unavailable: .*/file/data cannot be made \(Not"):
        open_stores(load_settings(data_dir=tmp_path / "file" / "data"))


def test_two_stores_swapped_are_noticed(tmp_path: Path) -> None:
    open_stores(load_settings(data_dir=tmp_path)).close()
    swapped = load_settings(data_dir=tmp_path, events_url=f"sqlite:///{tmp_path}/catalogue.db")
    with pytest.raises(UnavailableError, match=r"event log is unavailable: .*catalogue\.db holds something else"):
        open_stores(swapped)
