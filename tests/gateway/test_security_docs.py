"""docs/security.md: every example runs as the role that it names, and answers as shown."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from gateway.graphql.viewer import PERMISSIONS, Viewer
from gateway.http.auth import Access
from tests.gateway.served_market import ServedMarket, close_market, open_market

TEXT = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"^```graphql as (\w+ \w+)\n(.*?)^```$(?:\n\n```json answer\n(.*?)^```$)?", TEXT, re.MULTILINE | re.DOTALL
)


def who(request: HTTPConnection) -> Viewer:
    role, _, subject = request.headers["x-viewer"].partition(" ")
    return Viewer((role,), subject)


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[ServedMarket]:
    opened = await open_market(tmp_path, access=Access(who, who))
    yield opened
    await close_market(opened)


@pytest.mark.parametrize(("viewer", "query", "answer"), EXAMPLES, ids=lambda text: text[:20])
async def test_the_example_answers_its_viewer_as_shown(
    market: ServedMarket, viewer: str, query: str, answer: str
) -> None:
    found = await market.ask(query, **{"X-Viewer": viewer})
    if answer:
        assert found == json.loads(answer)
    else:
        assert "errors" not in found


def test_every_role_is_in_the_table() -> None:
    assert len(EXAMPLES) == TEXT.count("```graphql") == 4
    assert all(f"| `{role}` |" in TEXT for role in PERMISSIONS)
