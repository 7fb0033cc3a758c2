"""Elasticsearch is away while a gateway begins: it waits, and says so."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.cli.waiting_room import CLIENT_SECONDS, WaitingRoom
from tests.faults import REFUSE, FaultProxy, faulty
from tests.gateway.test_workers import SOON, within
from tests.processes import Server
from tests.production.stack import SERVICE_TOKEN, Stack, running_stack
from tests.servers import free_port

LIST = '{ talent(talentId: "t1") { recommendedJobs(first: 3) { degradedReasons nodes { jobId } } } }'
HEADERS = {"Authorization": f"Bearer {SERVICE_TOKEN}"}


@pytest.fixture(scope="module")
def stack(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("waiting"), elasticsearch_url) as running:
        yield running


@pytest.fixture
def catalogue(stack: Stack) -> Iterator[FaultProxy]:
    with faulty(urlsplit(stack.elasticsearch_url).port or 0) as proxy:
        yield proxy


def status(client: httpx.Client, url: str) -> int:
    """Of a list that is asked for; 0 when nobody answers."""
    try:
        return client.post(f"{url}/graphql", json={"query": LIST}, headers=HEADERS).status_code
    except httpx.HTTPError:
        return 0


def settings(stack: Stack, catalogue: FaultProxy, **more: str) -> dict[str, str]:
    place = f"elasticsearch://127.0.0.1:{catalogue.port}"
    return stack.settings | {"TANDEM_CATALOGUE_URL": place, "TANDEM_START_WAIT_SECONDS": "120"} | more


def test_a_client_that_sends_byte_by_byte_holds_up_nobody_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        room = WaitingRoom(listener, "waiting")
        with socket.create_connection(listener.getsockname()) as slow:
            began = time.monotonic()
            while time.monotonic() - began < 60:
                try:
                    slow.sendall(b"G")
                except OSError:  # it was given up
                    break
                time.sleep(CLIENT_SECONDS / 5)
            else:
                pytest.fail("it was listened to for a minute")
            url = "http://{}:{}/readyz".format(*listener.getsockname())
            assert httpx.get(url, timeout=SOON).status_code == 503
        room.close()


def test_a_gateway_that_begins_before_elasticsearch_waits_for_it_and_says_so(
    stack: Stack, catalogue: FaultProxy, tmp_path: Path
) -> None:
    catalogue.fail(REFUSE)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ThreadPoolExecutor(1) as apart, httpx.Client(timeout=SOON) as client:
        starting = apart.submit(lambda: Server(tmp_path, port=port, **settings(stack, catalogue)))
        within(SOON, lambda: status(client, url) == 503)
        ready, live = (client.get(f"{url}/{name}") for name in ("readyz", "livez"))
        refused = client.post(f"{url}/graphql", json={"query": LIST}, headers=HEADERS)
        assert (ready.status_code, ready.json()["reason"]) == (503, "the catalogue does not answer; waiting for it")
        assert (live.status_code, refused.headers["retry-after"]) == (200, "1")
        assert refused.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
        catalogue.heal()
        server = starting.result()
        assert client.get(f"{url}/readyz").status_code == 200
        assert status(client, url) == 200
    code, log = server.stop()
    assert (code, log.count("waiting to begin")) == (0, 1)
    assert "catalogue is unavailable: Elasticsearch at http://127.0.0.1:" in log
