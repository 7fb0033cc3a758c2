"""Fixtures of the tests on the production stack."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.production.stack import Client, Replica, Stack, http_client, running_stack


@pytest.fixture(scope="package")
def stack(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The servers with the small market; every test of the package uses them, and leaves it as it was or says so."""
    with running_stack(tmp_path_factory.mktemp("production"), elasticsearch_url) as started:
        yield started


@pytest.fixture(scope="package")
def replicas(stack: Stack) -> tuple[Replica, Replica]:
    """Two gateways over the same servers."""
    with ThreadPoolExecutor() as threads:
        one, two = threads.map(lambda _: stack.replica(), range(2))
    return one, two


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of any replica."""
    async with http_client() as opened:
        yield opened
