"""docs/steering.md: every rules file is valid, every command prints what is shown, every answer is the answer."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.rules_file import read_rules, rules_from
from recommender.fatigue import Fatigue
from tests.gateway.served_market import ServedMarket, close_market, open_market

TEXT = (Path(__file__).parents[2] / "docs" / "steering.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([a-z ]+)\n(.*?)^```$", TEXT, re.M | re.S)
RULES = [text for kind, text in BLOCKS if kind == "toml"]
COMMANDS = [text for kind, text in BLOCKS if kind == "console"]


def words(text: str) -> list[list[str]]:
    """Lines without what only draws a table."""
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip(" ─")]
    return [[cell for cell in line if cell] for line in lines]


@pytest.mark.parametrize("text", RULES, ids=range(len(RULES)))
def test_every_rules_file_can_be_used(text: str) -> None:
    assert rules_from(tomllib.loads(text))


@pytest.mark.parametrize("text", COMMANDS, ids=lambda text: text.split()[3])
def test_the_command_prints_what_is_shown(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def fill() -> None:
        (tmp_path / "data").mkdir()
        await close_market(await open_market(tmp_path / "data"))

    asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_DATA_DIR", "data")
    Path("rules.toml").write_text(RULES[0], encoding="utf-8")
    Path("typo.toml").write_text(RULES[0].replace("budget", "budgets"), encoding="utf-8")
    capsys.readouterr()
    command, shown = text.removeprefix("$ tandem ").split("\n", 1)
    with pytest.raises(SystemExit):
        main(command.split())
    printed = capsys.readouterr()
    assert words(printed.out + printed.err) == words(shown)


async def test_the_queries_answer_as_shown(service_market: ServedMarket, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(RULES[0], encoding="utf-8")
    service_market.services.recommender.steer(read_rules(file))
    asked = [(kind, text) for kind, text in BLOCKS if kind in ("graphql", "json answer")]
    for number, (kind, text) in enumerate(asked):
        if kind == "graphql":
            answer = await service_market.ask(text)
            assert "errors" not in answer
            if number + 1 < len(asked) and asked[number + 1][0] == "json answer":
                assert answer == json.loads(asked[number + 1][1])


def test_the_table_of_fatigue_is_the_formula() -> None:
    rows = re.findall(r"^\| (\d+) \| (0\.\d\d) \|$", TEXT, re.M)
    assert len(rows) == 4
    for count, shown in rows:
        assert f"{Fatigue(0.8, 7).discounts(['a'], {'a': float(count)})[0]:.2f}" == shown


def test_every_key_of_a_rule_and_every_setting_is_on_the_page() -> None:
    keys = ("name", "kind", "match", "list", "for", "placements", "from", "until", "position", "factor", "add")
    assert [key for key in keys if f"`{key}`" not in TEXT] == []
    settings = re.findall(r"\| `(TANDEM_[A-Z_]+)`", (Path(__file__).parents[2] / "docs" / "settings.md").read_text())
    steering = [name for name in settings if re.search("RULES|PER_CLIENT|FATIGUE|NEW_JOBS", name)]
    assert [name for name in steering if name not in TEXT] == []
    assert len(steering) == 6
