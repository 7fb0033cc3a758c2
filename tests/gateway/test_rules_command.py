"""`tandem rules`: what check and diff print, their exit codes, and that they change nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import main
from recommender.list_changes import Change, changes_between
from tests.gateway.served_market import close_market, open_market

Run = Callable[..., tuple[int, str, str]]
AT = ("--at", "2025-10-09T08:53:20Z")

RULES = """
[[rule]]
name = "No design in Germany"
kind = "exclude"
match = { categories = ["Design"], countries = ["DE"] }

[[rule]]
name = "Spring campaign"
kind = "pin"
position = 2
placements = ["home"]
match = { ids = ["j2"] }

[[rule]]
name = "Juniors"
kind = "boost"
list = "talents"
factor = 2
add = 0.1
until = 2025-10-08
match = { levels = ["ENTRY"] }
for = { clientIds = ["c1"] }
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "data"
    path.mkdir()

    async def fill() -> None:
        await close_market(await open_market(path))

    asyncio.run(fill())
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, data_dir: Path) -> Run:
    """Runs `tandem rules …` in a directory with rules.toml; gives its exit code and what it printed."""
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TANDEM_DATA_DIR", str(data_dir))
    monkeypatch.chdir(tmp_path)
    Path("rules.toml").write_text(RULES, encoding="utf-8")

    def run_command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["rules", *arguments])
        captured = capsys.readouterr()
        return (left.value.code if isinstance(left.value.code, int) else 0), captured.out, captured.err

    return run_command


def rows(out: str) -> list[list[str]]:
    """The cells of a table's rows."""
    cells = [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.splitlines() if line[:2] == "  "
    ]
    return [row for row in cells if row][1:]


def test_check_shows_what_each_rule_matches(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("check", "rules.toml", *AT)
    assert (code, err) == (0, "")
    assert rows(out) == [
        ["No design in Germany", "exclude", "jobs", "always", "yes", "7 of 40", "25 of 25 talents"],
        ["Spring campaign", "pin to 2", "jobs", "always", "yes", "1 of 40", "25 of 25 talents, at home"],
        ["Juniors", "boost ×2 +0.1", "talents", "until 2025-10-08", "no", "8 of 25", "10 of 40 jobs"],
    ]
    monkeypatch.setenv("TANDEM_RULES", "rules.toml")
    assert run("check", *AT) == (0, out, "")


def test_check_fails_for_a_rule_that_cannot_do_what_it_says(run: Run) -> None:
    with Path("rules.toml").open("a", encoding="utf-8") as file:
        for name, kind, match, rest in (
            ("Typo", "exclude", '{ categories = ["Desing"] }', ""),
            ("Nobody", "exclude", '{ ids = ["j1"] }', '\nfor = { countries = ["XX"] }'),
            ("Hidden", "pin", '{ ids = ["j3", "j9", "j15"] }', "\nposition = 1"),
        ):
            file.write(f'[[rule]]\nname = "{name}"\nkind = "{kind}"\nmatch = {match}{rest}\n')
    code, out, _ = run("check", "rules.toml", *AT)
    assert code == 1
    assert out.splitlines()[-3:] == [
        "rule “Typo”: matches no job that can be listed; correct `match`, or drop it",
        "rule “Nobody”: is for no talent that there is; correct `for`, or drop it",
        "rule “Hidden”: all that it pins is excluded by other rules; drop one of them",
    ]


def test_diff_shows_what_enters_leaves_and_moves_and_because_of_what(run: Run, data_dir: Path) -> None:
    before = {path.name: path.read_bytes() for path in data_dir.glob("*.db")}
    code, out, err = run("diff", "rules.toml", "--talent", "t1", "--talent", "t2", "--placement", "home", *AT)
    assert (code, err) == (0, "")
    found = rows(out)
    assert found[0][:3] == ["talent t1", "j2", "Kubernetes project 2"]
    assert found[0][-2:] == ["2", "Spring campaign"]
    left = [row for row in found if "No design in Germany" in row]
    assert {row[1] for row in left} <= {"j3", "j9", "j15", "j21", "j27", "j33", "j39"}
    assert all(row[-2] == "-" for row in left)
    assert out.splitlines()[-1].startswith("2 of 2 lists change in their first 20 rows: ")
    assert {path.name: path.read_bytes() for path in data_dir.glob("*.db")} == before


def test_diff_of_the_same_rules_is_empty(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_RULES", "rules.toml")
    code, out, _ = run("diff", "rules.toml", "--sample", "5", *AT)
    assert (code, out.splitlines()) == (
        0,
        ["no list changes", "0 of 10 lists change in their first 20 rows: 0 items enter, 0 leave, 0 move."],
    )


def test_diff_reads_the_lists_as_of_another_day(run: Run) -> None:
    soon = run("diff", "rules.toml", "--job", "j1", "--first", "5", "--at", "2025-10-08")[1]
    later = run("diff", "rules.toml", "--job", "j1", "--first", "5", "--at", "2025-10-09")[1]
    assert "Juniors" in soon
    assert later.splitlines()[0] == "no list changes"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["check"], "name a rules file, or set TANDEM_RULES to one"),
        (["check", "none.toml"], "none.toml: no such file or directory"),
        (["diff", "none.toml"], "none.toml: no such file or directory"),
        (["diff", "rules.toml", "--job", "none"], "there is no job 'none'"),
        (["diff", "rules.toml", "--first", "0"], "Invalid value for '--first'"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: list[str], line: str) -> None:
    code, out, err = run(*arguments)
    assert code != 0
    assert out == ""
    assert line in err
    assert err.count("\n") == 1


# --- what has become of a list ----------------------------------------------------------------------------------------


def test_an_item_that_others_push_along_has_not_moved() -> None:
    assert changes_between(list("abcdef"), list("xabdce"), 4) == [
        Change("x", None, 1),
        Change("d", 4, 4),
        Change("c", 3, 5),
    ]
    assert changes_between(list("abcd"), list("dabc"), 3) == [Change("d", 4, 1), Change("c", 3, 4)]
    assert changes_between(list("abc"), list("abc"), 2) == []


@given(st.permutations(list("abcdefgh")), st.permutations(list("abcdefgh")), st.integers(1, 8))
def test_what_is_not_named_keeps_its_order_and_its_side_of_the_last_row(
    before: list[str], after: list[str], rows: int
) -> None:
    named = {change.item_id for change in changes_between(before, after, rows)}
    quiet = [item for item in after[:rows] if item not in named]
    assert quiet == [item for item in before[:rows] if item not in named]
