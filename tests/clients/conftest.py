"""One market and one gateway for all clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo_gateway import demo_gateway


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of its stores."""
    return tmp_path_factory.mktemp("market")


@pytest.fixture(scope="session")
def address(data: Path) -> Iterator[str]:
    """Its GraphQL address."""
    with demo_gateway(data, TANDEM_FEDERATION="Talent.id,Job.id") as address:
        yield address
