"""A disk that takes nothing more: lists are served, writes refused in a typed way, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.resilience.serving_log import UnfailingServingLog
from recommender.errors import UnavailableError
from recommender.ports import ServedList
from tests.gateway.test_serve import QUERY, trained_market
from tests.gateway.test_workers import RECORD
from tests.processes import Server

TOKEN = "0123456789abcdef0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
UPSERT = "mutation($jobs: [JobInput!]!) { upsertJobs(input: { jobs: $jobs }) { userErrors { code } } }"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_market(tmp_path_factory.mktemp("full"), "--no-evaluate")


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of a process takes a byte, which is to it what a full disk is."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    started = Server(data, TANDEM_AUTH="token", TANDEM_SERVICE_TOKEN=TOKEN)
    yield started
    started.kill()


def test_lists_are_served_from_a_full_disk_and_what_was_acknowledged_is_there_when_it_is_not(
    server: Server, data: Path
) -> None:
    acknowledged, refused = [], []

    def ask(query: str, variables: dict[str, Any]) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{server.url}/graphql", json=body, headers=HEADERS, timeout=20)
        return answer.json()  # type: ignore[no-any-return]

    def record(number: int) -> None:
        event = {"eventId": f"full{number}", "actor": "TALENT", "type": "VIEW", "talentId": "t4", "jobId": "j2"}
        answer = ask(RECORD, {"e": [event]})
        if "errors" not in answer:
            acknowledged.append(event["eventId"])
        else:
            refused.append(answer["errors"][0]["extensions"]["code"])

    record(0)
    with full_disk(server.process.pid):
        for number in range(1, 4):
            answer = ask(QUERY, {"id": f"t{number}"})
            assert "errors" not in answer
            assert len(answer["data"]["talent"]["recommendedJobs"]["edges"]) == 5
            record(number)
        answer = ask(UPSERT, {"jobs": [{"jobId": "j1", "title": "Not to be kept"}]})
        assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        metrics = httpx.get(f"{server.url}/metrics", headers=HEADERS).text
    assert refused == ["UNAVAILABLE"] * 3
    unkept = re.search(r"^tandem_served_unkept_total (\S+)", metrics, re.MULTILINE)
    assert unkept is not None
    assert float(unkept[1]) == 3

    record(4)
    assert acknowledged == ["full0", "full4"]
    answer = ask(UPSERT, {"jobs": [{"jobId": "j1", "title": "To be kept"}]})
    assert answer["data"]["upsertJobs"]["userErrors"] == []
    assert ask('{ job(jobId: "j1") { title } }', {})["data"]["job"]["title"] == "To be kept"
    assert [found for found in _event_ids(data) if found.startswith("full")] == acknowledged


def _event_ids(data: Path) -> list[str]:
    log = SqliteEventLog.open(data / "events.db")
    try:
        return asyncio.run(_all_ids(log))
    finally:
        log.close()


async def _all_ids(log: SqliteEventLog) -> list[str]:
    return [event.event_id async for batch in log.scan() for event in batch]


class _Full:
    """A serving log on a full disk."""

    async def append(self, served: object) -> None:
        raise UnavailableError("serving log", "the disk is full")


async def test_a_record_that_cannot_be_written_fails_no_list() -> None:
    served: list[ServedList] = []
    await UnfailingServingLog(_Full()).append(served)  # type: ignore[arg-type]
