"""`tandem serve` with two processes over Elasticsearch and Redis: they show what either took, and outlive a fault."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.faults import REFUSE, FaultProxy, faulty
from tests.gateway.test_workers import SOON, both_at, clients_of_both, within
from tests.processes import Server
from tests.production.stack import RECORD, SERVICE_TOKEN, UPSERT_JOBS, Stack, running_stack

LIST = """query ($id: ID!) {
  talent(talentId: $id) { recommendedJobs(first: 40) { degradedReasons totalCount nodes { jobId } } }
}"""
HEADERS = {"Authorization": f"Bearer {SERVICE_TOKEN}"}
NO_J9 = """[[rule]]
name = "Not this one"
kind = "exclude"
match = { ids = ["j9"] }
"""


@dataclass
class World:
    """The gateway, what stands before its Elasticsearch, and its rules."""

    server: Server
    catalogue: FaultProxy
    rules: Path


@pytest.fixture(scope="module")
def world(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("two")
    rules = directory / "rules.toml"
    rules.write_text("")
    stack: Stack
    with running_stack(directory, elasticsearch_url) as stack, faulty(urlsplit(elasticsearch_url).port or 0) as proxy:
        more = {
            "TANDEM_CATALOGUE_URL": f"elasticsearch://127.0.0.1:{proxy.port}",
            "TANDEM_START_WAIT_SECONDS": "120",
            "TANDEM_WORKERS": "2",
            "TANDEM_RULES": str(rules),
        }
        server = Server(directory / "data", **stack.settings | more)
        yield World(server, proxy, rules)
        server.stop()


def asked(client: httpx.Client, url: str, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    answer = client.post(f"{url}/graphql", json=body, headers=HEADERS).json()
    assert "errors" not in answer, answer
    return answer["data"]


def jobs(client: httpx.Client, url: str, talent: str = "t1") -> list[str]:
    page = asked(client, url, LIST, id=talent)["talent"]["recommendedJobs"]
    found = [node["jobId"] for node in page["nodes"]]
    assert len(found) == page["totalCount"]
    return found


def ready_at(url: str) -> set[int]:
    """The processes that are ready, of those that take connections now."""
    answers = [httpx.get(f"{url}/readyz", timeout=SOON).json() for _ in range(12)]
    return {answer["worker"] for answer in answers if answer["status"] == "ready"}


def test_what_one_process_acknowledges_the_other_shows(world: World) -> None:
    url = world.server.url
    with clients_of_both(url) as (one, other):
        for turn in range(10):
            writer, reader = (one, other) if turn % 2 else (other, one)
            before = jobs(reader, url, "t3")
            event = {
                "eventId": f"two{turn}",
                "actor": "TALENT",
                "type": "DISMISS",
                "talentId": "t3",
                "jobId": before[0],
            }
            recorded = asked(writer, url, RECORD, events=[event])["recordEvents"]
            assert (recorded["acceptedCount"], set(jobs(reader, url, "t3"))) == (1, set(before[1:]))
            status = "CLOSED" if turn % 2 else "OPEN"
            closed = asked(writer, url, UPSERT_JOBS, jobs=[{"jobId": "j40", "status": status}])["upsertJobs"]
            assert (closed["acceptedCount"], "j40" in jobs(reader, url, "t5")) == (1, status == "OPEN")


def test_a_changed_rules_file_reaches_every_process(world: World) -> None:
    url = world.server.url
    with clients_of_both(url) as clients:
        for text, is_there in ((NO_J9, False), ("", True)):
            world.rules.write_text(text)
            for client in clients:
                within(SOON, lambda client=client, wanted=is_there: ("j9" in jobs(client, url)) is wanted)


def test_processes_that_are_killed_while_elasticsearch_is_away_are_replaced(world: World) -> None:
    url = world.server.url

    def status() -> int:
        """Of a list that is asked for; 0 when nobody answers."""
        try:
            body = {"query": LIST, "variables": {"id": "t1"}}
            return httpx.post(f"{url}/graphql", json=body, headers=HEADERS, timeout=SOON).status_code
        except httpx.HTTPError:
            return 0

    one, other = both_at(url)
    world.catalogue.fail(REFUSE)
    os.kill(one, signal.SIGKILL)
    with httpx.Client(timeout=SOON) as left:  # who is left answers from what it knows
        page = asked(left, url, LIST, id="t1")["talent"]["recommendedJobs"]
        assert page["degradedReasons"] == ["CATALOGUE"]
        assert page["nodes"]
    os.kill(other, signal.SIGKILL)
    within(SOON, lambda: status() == 503)
    assert world.server.process.poll() is None
    world.catalogue.heal()
    within(SOON, lambda: status() == 200)
    assert not within(SOON, lambda: len(now := ready_at(url)) == 2 and now) & {one, other}
