"""`tandem index`: what it prints, and what it says when documents cannot be indexed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.adapters.sqlite.catalogue import SqliteCatalogue
from gateway.cli import main
from gateway.settings import load_settings
from gateway.wiring import open_stores
from recommender.documents import Kind, Patch
from recommender.errors import RefusedDocumentsError
from recommender.ports import OnRebuild


@pytest.fixture(autouse=True)
def _filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path))
    stores = open_stores(load_settings())
    asyncio.run(stores.catalogue.upsert(Kind.JOB, [Patch(f"j{number}", {"title": "Go"}) for number in range(2_500)]))
    stores.close()


def test_it_says_what_it_does_on_stderr_and_what_it_did_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["index"])
    printed = capsys.readouterr()
    assert ended.value.code == 0
    assert printed.out.startswith("indexed 2,500 documents in ")
    assert "Indexing jobs" in printed.err
    assert "2500/2500" in printed.err


def test_documents_that_cannot_be_indexed_are_named_one_by_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_self: SqliteCatalogue, _on_progress: OnRebuild | None = None) -> int:
        raise RefusedDocumentsError(30, {f"j{number}": "too\nlong" for number in range(30)})

    monkeypatch.setattr(SqliteCatalogue, "rebuild", refuse)
    with pytest.raises(SystemExit) as ended:
        main(["index"])
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert printed.out == ""
    *named, last = printed.err.strip().splitlines()
    assert named == [f"j{number}: too long" for number in range(20)]
    assert last == "tandem: 30 documents cannot be indexed, such as 'j0': too long"
