"""`tandem doctor`: what it finds of each part, and that it touches nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.adapters.directory.models import ARRAYS, DirectoryModelStore
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from gateway.cli import main
from gateway.cli.doctor import Finding, Status, findings
from gateway.settings import load_settings
from gateway.wiring import stores
from recommender.documents import JobStatus, Kind, Patch
from tests.contracts.test_model_store import model
from tests.contracts.test_serving_log import served
from tests.factories import DAY_MS, NOW_MS, event


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TANDEM_AUTH", "open")
    return tmp_path / "data"


def _found() -> dict[str, Finding]:
    return {finding.part: finding for finding in findings()}


def _fill() -> None:
    """A healthy set-up: two talents, two jobs of which one is open, an event, a model."""

    async def write() -> None:
        async with stores(load_settings()) as opened:
            await opened.catalogue.ensure(Kind.TALENT, ["t1", "t2"])
            closed = Patch("j2", {"status": JobStatus.CLOSED})
            await opened.catalogue.upsert(Kind.JOB, [Patch("j1"), closed])
            await opened.events.append([event()])
            opened.models.publish(model())

    asyncio.run(write())


def test_a_healthy_set_up_is_all_ok(data_dir: Path) -> None:
    _fill()
    found = _found()
    assert {part: finding.status for part, finding in found.items()} == dict.fromkeys(
        (
            "python",
            "settings",
            "data directory",
            "disk",
            "open files",
            "catalogue",
            "event log",
            "cache",
            "serving log",
            "model",
            "access",
        ),
        Status.OK,
    )
    assert found["catalogue"].text == f"{data_dir}/catalogue.db: 2 talents, 2 jobs, 1 of them open"
    assert found["event log"].text == f"{data_dir}/events.db: 1 events, the newest of 2025-10-09"
    assert found["model"].text == "v1: 240 events, trained on 2025-10-09"


def test_a_healthy_set_up_leaves_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    _fill()
    with pytest.raises(SystemExit) as left:
        main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert left.value.code in (0, None)
    assert len(lines) == 11
    assert all(line.startswith("OK    ") for line in lines)


def test_it_moves_no_list_into_the_serving_log_and_removes_none(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_SERVING_LOG_DAYS", "365")
    _fill()
    log = SqliteServingLog.open(data_dir / "serving.db", days=365)
    page = served("old", served_at_ms=NOW_MS - 100 * DAY_MS)
    asyncio.run(log.append([page, served("new")]))
    before = (data_dir / "serving.db.pending").read_bytes()
    assert _found()["serving log"].status is Status.OK
    assert (data_dir / "serving.db.pending").read_bytes() == before != b""
    asyncio.run(log.append([page]))
    assert asyncio.run(log.get_many(["old"])) == [page]
    log.close()


def test_before_anything_is_imported_it_says_what_to_do_and_makes_nothing(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _found()
    assert [part for part, finding in found.items() if finding.status is Status.FAIL] == [
        "catalogue",
        "event log",
        "model",
    ]
    assert found["data directory"].status is Status.WARN
    assert "run `tandem import …` or `tandem demo`" in found["catalogue"].text
    assert "run `tandem train`" in found["model"].text
    assert not data_dir.exists()
    with pytest.raises(SystemExit) as left:
        main(["doctor"])
    assert left.value.code == 1
    assert "\nFAIL  catalogue " in capsys.readouterr().out


def test_a_wrong_setting_is_the_last_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_PORT", "abc")
    found = list(findings())
    assert [finding.part for finding in found] == ["python", "settings"]
    assert found[-1].status is Status.FAIL
    assert found[-1].text.startswith("TANDEM_PORT: allowed is")


def test_a_misspelt_setting_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_PROT", "1")
    assert _found()["settings"].status is Status.WARN
    assert "TANDEM_PROT: no such setting" in _found()["settings"].text


def test_each_damaged_part_fails_alone(data_dir: Path) -> None:
    _fill()
    for name, part in (("catalogue.db", "catalogue"), ("events.db", "event log")):
        kept = (data_dir / name).read_bytes()
        (data_dir / name).write_bytes(b"no database" * 100)
        found = _found()
        assert [finding.part for finding in found.values() if finding.status is not Status.OK] == [part]
        assert "it is not a SQLite database" in found[part].text
        (data_dir / name).write_bytes(kept)


def test_a_damaged_model_fails_with_what_to_do(data_dir: Path) -> None:
    _fill()
    (data_dir / "models" / "v1" / ARRAYS).write_bytes(b"")
    assert _found()["model"].status is Status.FAIL
    assert "model v1 is refused" in _found()["model"].text
    assert "train again with `tandem train`" in _found()["model"].text


def test_a_current_model_that_is_gone_fails(data_dir: Path) -> None:
    _fill()
    shutil.rmtree(data_dir / "models" / "v1")
    assert _found()["model"].text.startswith("the current one, v1, is gone; promote another")


def test_a_pinned_model_is_said_to_be(data_dir: Path) -> None:
    _fill()
    DirectoryModelStore(data_dir / "models").promote("v1", pin=True)
    assert _found()["model"].text.startswith("v1, pinned: ")


def test_little_room_is_a_warning_and_too_little_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, status in ((10 << 30, Status.OK), (500 << 20, Status.WARN), (50 << 20, Status.FAIL)):
        monkeypatch.setattr("shutil.disk_usage", lambda _path, free=free: SimpleNamespace(free=free))
        assert _found()["disk"].status is status


@pytest.mark.parametrize(
    ("settings", "status", "text"),
    [
        ({}, Status.WARN, "TANDEM_AUTH is not set, so that every request is refused"),
        ({"AUTH": "open"}, Status.OK, "open to everybody on this machine"),
        ({"AUTH": "token"}, Status.FAIL, "needs TANDEM_SERVICE_TOKEN"),
        ({"AUTH": "token", "SERVICE_TOKEN": "short"}, Status.WARN, "short enough to be guessed"),
        ({"AUTH": "token", "SERVICE_TOKEN": "x" * 43}, Status.OK, "with the service token"),
        ({"AUTH": "jwt"}, Status.FAIL, "TANDEM_AUTH=jwt needs TANDEM_JWKS_URL"),
        (
            {"AUTH": "jwt", "ISSUER": "i", "AUDIENCE": "a", "JWKS_URL": "http://127.0.0.1:1/keys"},
            Status.FAIL,
            "no key from TANDEM_JWKS_URL=http://127.0.0.1:1/keys",
        ),
    ],
)
def test_access_is_judged(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], status: Status, text: str) -> None:
    monkeypatch.delenv("TANDEM_AUTH")
    for name, value in settings.items():
        monkeypatch.setenv(f"TANDEM_{name}", value)
    assert _found()["access"].status is status
    assert text in _found()["access"].text
    assert "x" * 43 not in _found()["access"].text


def test_rules_are_looked_at_where_there_is_a_file(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    _fill()
    assert "rules" not in _found()
    file = data_dir.parent / "rules.toml"
    monkeypatch.setenv("TANDEM_RULES", str(file))
    rule = '[[rule]]\nname = "A"\nkind = "exclude"\nmatch = { ids = ["j1"] }\n'
    file.write_text(rule + rule.replace('"A"', '"B"') + "until = 2020-01-01\n", encoding="utf-8")
    assert _found()["rules"].text == f"{file}: 2 rules, 1 of them hold now"
    file.write_text(rule + "untill = 2020-01-01\n", encoding="utf-8")
    assert _found()["rules"].status is Status.FAIL
    assert "untill: no such key; did you mean until?" in _found()["rules"].text
