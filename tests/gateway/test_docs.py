"""README.md and docs/: links lead somewhere, commands and settings exist, the README's query answers as shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import COMMANDS
from gateway.settings import Settings
from tests.gateway.served_market import ServedMarket

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SETTINGS = {f"TANDEM_{name.upper()}" for name in Settings.model_fields}


def _relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_relative)
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_relative)
def test_every_command_and_setting_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    commands = set(
        re.findall(r"(?:^|[`/ ])tandem ([a-z]+)\b", "\n".join(re.findall(r"`[^`\n]+`|^\S*tandem .*$", text, re.M)))
    )
    assert commands - set(COMMANDS) == set()
    assert set(re.findall(r"\bTANDEM_[A-Z_]+\b", text)) - SETTINGS == set()


def _shape(value: Any) -> Any:
    """Keys and nesting of an answer, without its values; a list has the shape of its first item."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    return [_shape(value[0])] if isinstance(value, list) and value else type(value).__name__


async def test_the_query_of_the_readme_answers_in_the_shape_shown(service_market: ServedMarket) -> None:
    blocks = dict(re.findall(r"^```(graphql|json)\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.M | re.S))
    shown = json.loads(blocks["json"])
    query, replaced = re.subn(r'talentId: "tal-\d+"', 'talentId: "t1"', blocks["graphql"])
    assert replaced == 1  # the demo's talent; the seeded market of the tests calls its own t1
    answer = await service_market.ask(query)
    assert _shape(answer) == _shape(shown)
    edges = answer["data"]["talent"]["recommendedJobs"]["edges"]
    assert len(edges) == len(shown["data"]["talent"]["recommendedJobs"]["edges"]) == 2
