"""`tandem models`: what it lists, and what moves the pointer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.adapters.directory.models import MANIFEST, DirectoryModelStore
from gateway.cli import main
from tests.contracts.test_model_store import model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryModelStore:
    return DirectoryModelStore(tmp_path / "data" / "models")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `tandem models …`; gives its exit code and what it printed."""
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))

    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["models", *arguments])
        captured = capsys.readouterr()
        return (left.value.code if isinstance(left.value.code, int) else 0), captured.out, captured.err

    return run_command


def _publish(store: DirectoryModelStore, count: int) -> None:
    for number in range(1, count + 1):
        store.publish(model(f"v{number}", number * 1000))


@pytest.mark.parametrize("arguments", [["list"], ["rollback"]], ids=" ".join)
def test_without_a_model_it_says_what_to_do(run: Run, arguments: list[str]) -> None:
    assert run(*arguments) == (1, "", "tandem: no model yet: run `tandem train` first\n")


def test_the_list_marks_the_current_and_the_pinned(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 2)
    store.publish(model("v3", 3000, metrics={}))
    store.promote("v2", pin=True)
    code, out, _ = run("list")
    assert code == 0
    assert out.splitlines() == [
        "  Version  Trained at                  Events  Recall@20",
        "  v1       2025-10-09T08:53:21Z           240      0.250",
        "* v2       2025-10-09T08:53:22Z           240      0.250  current, pinned",
        "  v3       2025-10-09T08:53:23Z           240          -",
    ]


def test_the_list_is_json_when_asked_for(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 1)
    assert json.loads(run("list", "--json")[1]) == [
        {
            "version": "v1",
            "is_current": True,
            "is_pinned": False,
            "trained_at": "2025-10-09T08:53:21Z",
            "events": 240,
            "recall_at_20": 0.25,
            "refused": None,
            "kept_from_serving": False,
        }
    ]


def test_an_empty_list_is_json_too(run: Run) -> None:
    assert run("list", "--json")[:2] == (0, "[]\n")


def test_a_damaged_version_is_listed_with_the_reason(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 2)
    (store.path / "v1" / MANIFEST).write_text("{")
    code, out, _ = run("list")
    assert code == 0
    assert out.splitlines()[1].startswith("  v1       model v1 is refused: its manifest.json is torn or altered; ")
    assert out.splitlines()[2].startswith("* v2 ")


def test_a_promotion_moves_the_pointer_and_the_next_training_takes_over(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 2)
    assert run("promote", "v1") == (0, "model v1 serves\n", "")
    assert store.current() == "v1"
    store.publish(model("v3", 3000))
    assert store.current() == "v3"


def test_a_pinned_promotion_stays(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 2)
    assert run("promote", "v1", "--pin") == (0, "model v1 serves and is pinned\n", "")
    store.publish(model("v3", 3000))
    assert store.current() == "v1"


def test_an_unknown_version_names_those_there_are(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 2)
    assert run("promote", "v9") == (1, "", "tandem: there is no model 'v9'; there are: v1, v2\n")


def test_a_rollback_goes_one_back_and_pins(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 3)
    code, out, _ = run("rollback")
    assert code == 0
    assert out == "model v2 serves instead of v3 and is pinned; `tandem models promote v3` takes it back\n"
    assert (store.current(), store.is_pinned()) == ("v2", True)
    assert run("rollback")[0] == 0
    assert store.current() == "v1"
    assert run("rollback") == (1, "", "tandem: there is no version before v1 to go back to\n")


def test_a_rollback_skips_a_damaged_version(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 3)
    (store.path / "v2" / MANIFEST).write_text("{")
    # A version whose age cannot be read counts as the oldest, so it is not even met on the way.
    assert run("rollback")[0] == 0
    assert store.current() == "v1"


def test_a_rollback_skips_arrays_that_are_torn_and_says_so(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 3)
    (store.path / "v2" / "arrays.safetensors").write_bytes(b"")
    code, _, err = run("rollback")
    assert (code, store.current()) == (0, "v1")
    assert err.startswith("tandem: skipped: model v2 is refused: its arrays.safetensors is torn: 0 bytes of ")


def test_a_promotion_of_a_damaged_version_is_refused(run: Run, store: DirectoryModelStore) -> None:
    _publish(store, 2)
    (store.path / "v1" / "arrays.safetensors").write_bytes(b"")
    code, _, err = run("promote", "v1")
    assert code == 1
    assert err.startswith("tandem: model v1 is refused: its arrays.safetensors is torn")
    assert store.current() == "v2"
