"""`tandem demo` builds, imports, trains and serves; it runs again without harm and touches nothing of others."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.cli import main
from gateway.cli.demo import sample_query
from gateway.market.built import (
    MARKER,
    STALE_AFTER_DAYS,
    Built,
    DemoDirectoryError,
    check_ours,
    read_marker,
    set_aside,
    use,
    write_marker,
)
from gateway.market.spec import DAY_MS, MarketSpec
from tests.factories import NOW_MS
from tests.processes import tandem

SMALL = ("--talents", "120", "--jobs", "80", "--events", "4000")
SPEC = MarketSpec(end_ms=NOW_MS, talents=120, jobs=80, events=4_000)

Demo = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a small demo in it, to be copied."""
    directory = tmp_path_factory.mktemp("ready") / "data"
    with pytest.raises(SystemExit) as exit_:
        main(["demo", "--data-dir", str(directory), *SMALL, "--no-serve"])
    assert exit_.value.code == 0
    return directory


@pytest.fixture
def data(ready: Path, tmp_path: Path) -> Path:
    """A data directory with a small demo in it; `demo` runs on it."""
    return shutil.copytree(ready, tmp_path / "data")


@pytest.fixture
def demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Demo:
    """Runs the command on tmp_path/data without serving; returns what it said."""

    def run(*arguments: str, fails: bool = False) -> str:
        with pytest.raises(SystemExit) as exit_:
            main(["demo", "--data-dir", str(tmp_path / "data"), *SMALL, "--no-serve", *arguments])
        said = capsys.readouterr()
        assert exit_.value.code == (1 if fails else 0), said
        return said.err if fails else said.out

    return run


def events_in(directory: Path) -> int:
    log = SqliteEventLog.open(directory / "events.db")
    try:
        return asyncio.run(log.state()).last_seq
    finally:
        log.close()


def age(directory: Path, days: int) -> None:
    """Make the market of a directory older than it is."""
    built = read_marker(directory)
    assert built is not None
    write_marker(directory, replace(built, spec=replace(built.spec, end_ms=built.spec.end_ms - days * DAY_MS)))


def test_the_demo_builds_imports_and_trains_and_says_so(demo: Demo, tmp_path: Path) -> None:
    said = demo()
    assert "Building a synthetic market" in said
    assert "events:  4,000 read, 4,000 accepted, 0 duplicates, 0 conflicts, 0 rejected" in said
    assert "popularity" in said
    assert "ALS" in said
    assert "Published" in said
    assert re.search(r"Ready\. .* is tal-\d{6}\.", said)
    assert events_in(tmp_path / "data") == 4_000
    assert not (tmp_path / "data" / "import-rejects.jsonl").exists()


def test_a_second_run_uses_what_is_there(demo: Demo, data: Path) -> None:
    again = demo()
    assert "Using the market" in again
    assert "Using model" in again
    assert "Building" not in again
    assert "Importing" not in again
    assert events_in(data) == 4_000
    assert len(list((data / "models").glob("2*"))) == 1


def test_an_interrupted_import_is_completed(demo: Demo, data: Path) -> None:
    built = read_marker(data)
    assert built is not None
    write_marker(data, replace(built, imported=False))
    assert "events:  4,000 read, 0 accepted, 4,000 duplicates" in demo()
    assert events_in(data) == 4_000


@pytest.mark.parametrize("why", ["age", "seed", "rebuild", "marker", "interrupted"])
def test_a_market_that_does_not_do_is_replaced_and_nothing_is_lost(demo: Demo, data: Path, why: str) -> None:
    if why == "age":
        age(data, STALE_AFTER_DAYS)
    if why == "marker":
        (data / MARKER).write_text("{}")
    if why == "interrupted":
        built = read_marker(data)
        assert built is not None
        write_marker(data, replace(built, sample_talent_id="", imported=False))
    said = demo(*{"seed": ("--seed", "8"), "rebuild": ("--rebuild",)}.get(why, ()))
    reason = {
        "age": "it is 7 days old, and its open jobs are expiring",
        "seed": "it has another size or seed",
        "rebuild": "a new one was asked for",
        "marker": "another version of Tandem built it",
        "interrupted": "building it was interrupted",
    }[why]
    assert f"Building the market anew: {reason}." in said
    (aside,) = data.glob("replaced-*")
    assert events_in(aside) == events_in(data) == 4_000
    assert (aside / "models").is_dir()


def test_a_market_of_some_days_is_used(demo: Demo, data: Path) -> None:
    age(data, STALE_AFTER_DAYS - 1)
    assert "built 6 days ago" in demo()


def test_data_that_the_demo_did_not_build_are_left_alone(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "catalogue.db").write_bytes(b"somebody's own")
    said = demo(fails=True)
    assert said.startswith("tandem: ")
    assert "holds data that the demo did not build" in said
    assert "--data-dir" in said
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["catalogue.db"]
    assert (tmp_path / "data" / "catalogue.db").read_bytes() == b"somebody's own"


def test_a_port_in_use_is_said_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as exit_:
            main(["demo", "--data-dir", str(tmp_path / "data"), "--port", str(port)])
    assert exit_.value.code == 1
    said = capsys.readouterr()
    assert said.err == (
        f"tandem: port {port} of 127.0.0.1 is in use: stop what listens on it, or choose another with --port "
        "(0 takes a free one)\n"
    )
    assert said.out == ""
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--talents", "5"), "tandem: talents must be at least 20; got 5\n"),
        (("--events", "-1"), "tandem: events must be at least 0; got -1\n"),
    ],
)
def test_a_size_that_cannot_be_built_is_one_clear_line(
    demo: Demo, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert demo(*arguments, fails=True) == says
    assert not (tmp_path / "data").exists()


def test_stores_elsewhere_are_ignored_and_named(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_EVENTS_URL", f"sqlite:///{tmp_path}/mine.db")
    assert "ignores TANDEM_EVENTS_URL" in demo()
    assert not (tmp_path / "mine.db").exists()
    assert (tmp_path / "data" / "events.db").is_file()


def test_an_open_server_for_other_machines_is_refused(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TANDEM_HOST", "0.0.0.0")  # noqa: S104 (it is refused)
    assert "loopback" in demo(fails=True)
    assert not (tmp_path / "data").exists()


def test_two_demos_share_a_directory_until_one_would_replace_it(tmp_path: Path) -> None:
    with use(tmp_path) as serving, use(tmp_path) as other:
        serving.shared()
        other.shared()
        with pytest.raises(DemoDirectoryError, match="another demo works with"):
            other.alone()
    with use(tmp_path) as later:
        later.alone()


def test_a_marker_survives_the_way_to_disk_and_a_foreign_one_does_not_count(tmp_path: Path) -> None:
    assert read_marker(tmp_path) is None
    built = Built(SPEC, "tal-000001", imported=True)
    write_marker(tmp_path, built)
    assert read_marker(tmp_path) == built
    for content in ("", "[]", "{}", '{"schema": 99}', json.dumps({"schema": 1, "spec": {"talents": 1}})):
        (tmp_path / MARKER).write_text(content)
        assert read_marker(tmp_path) is None


def test_setting_aside_moves_everything_but_what_was_set_aside_before(tmp_path: Path) -> None:
    assert set_aside(tmp_path, NOW_MS) is None
    write_marker(tmp_path, Built(SPEC))
    (tmp_path / "events.db").write_text("1")
    first = set_aside(tmp_path, NOW_MS)
    assert first == tmp_path / "replaced-20251009T085320"
    assert sorted(path.name for path in first.iterdir()) == [MARKER, "events.db"]
    check_ours(tmp_path)
    assert set_aside(tmp_path, NOW_MS + 1_000) is None


def test_the_demo_serves_what_its_banner_promises(tmp_path: Path) -> None:
    """As a newcomer would: start it, read the banner, send the sample query, stop it."""
    command = [sys.executable, "-m", "gateway", "demo", "--data-dir", str(tmp_path / "data"), "--port", "0", *SMALL]
    root = Path(__file__).parent.parent.parent
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=quiet, text=True) as process:
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if said.endswith("\n") and said.splitlines()[-2:-1] == ["admin:"]:  # the last of the tokens
                    break
            address = re.search(r"http://127\.0\.0\.1:\d+/graphql", said)
            talent = re.search(r"tal-\d{6}", said)
            assert address is not None, said
            assert talent is not None, said
            assert "without a token, everybody is an engineer who may read all and write events" in said
            query = said.partition("Try:")[2].partition("With a token")[0].strip()
            assert query == sample_query(talent[0])
            assert len(query.splitlines()) <= 8
            answer = httpx.post(address[0], json={"query": query}).json()
            assert "errors" not in answer
            edges = answer["data"]["talent"]["recommendedJobs"]["edges"]
            assert [edge["rank"] for edge in edges] == [1, 2, 3, 4, 5]
            assert all(edge["node"]["title"] for edge in edges)
            assert any(edge["reasons"] for edge in edges)
            tokens = dict(re.findall(r"^(talent|client|service|admin)\b.*:\n(\S+)$", said, re.MULTILINE))
            assert list(tokens) == ["talent", "client", "service", "admin"]
            who = {"query": "{ viewer { roles } }"}
            for role, token in tokens.items():
                answer = httpx.post(address[0], json=who, headers={"Authorization": f"Bearer {token}"}).json()
                assert answer == {"data": {"viewer": {"roles": [role]}}}
            more = re.search(r"`(TANDEM_DATA_DIR=\S+ tandem token --role ROLE --sub ID)`", said)
            assert more is not None, said
            directory, *words = shlex.split(more[1])
            for role, subject in {"client": "c-1", "service": None}.items():
                of_role = words[1:2] + ["--role", role] + (["--sub", subject] if subject else [])
                printed = tandem(Path(directory.partition("=")[2]), *of_role)
                headers = {"Authorization": f"Bearer {printed.stdout.strip()}"}
                answer = httpx.post(address[0], json=who, headers=headers).json()
                assert answer == {"data": {"viewer": {"roles": [role]}}}
            bad = httpx.post(address[0], json=who, headers={"Authorization": f"Bearer {tokens['admin']}x"})
            assert bad.status_code == 401
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)
    assert process.returncode in (0, 130, -signal.SIGINT)
