"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.gateway.served_market import ServedMarket, close_market, open_market


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[ServedMarket]:
    """The tiny market, open to an engineer."""
    opened = await open_market(tmp_path)
    yield opened
    await close_market(opened)


@pytest.fixture
async def service_market(tmp_path: Path) -> AsyncIterator[ServedMarket]:
    """The tiny market with a token; the client is the service."""
    opened = await open_market(tmp_path, Settings(auth="token", service_token="sesame"))
    opened.client.headers["Authorization"] = "Bearer sesame"
    yield opened
    await close_market(opened)
