"""`tandem serve` with several processes at one port: what one takes all show, and none is missed when they change."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.gateway.hostile_bodies import BODIES, answers, ask_once_each, resident_bytes
from tests.gateway.test_serve import QUERY, one_line, trained_market, write_market
from tests.processes import Server, tandem

SOON = 40.0  # seconds; a process begins within two on a machine that is idle
RECORD = "mutation($e: [EventInput!]!) { recordEvents(input: { events: $e }) { acceptedCount } }"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_market(tmp_path_factory.mktemp("workers"), "--no-evaluate")


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Server]:
    started = Server(data, TANDEM_AUTH="open", TANDEM_WORKERS="2", TANDEM_DRAIN_SECONDS="3")
    yield started
    if started.process.poll() is None:  # the last test stops it
        started.stop()


def worker_of(client: httpx.Client, url: str) -> int:
    return client.get(f"{url}/readyz", timeout=SOON).json()["worker"]  # type: ignore[no-any-return]


def workers_at(url: str) -> set[int]:
    """Those who take connections now, seen by asking anew for a while.

    Processes share one socket and the first to wake takes the connection: a busy one may not be
    among them, so who needs both asks for `both_at`."""
    seen = set()
    for _ in range(12):
        with httpx.Client() as client:
            seen.add(worker_of(client, url))
    return seen


def both_at(url: str) -> set[int]:
    """The two that take connections."""
    return within(SOON, lambda: len(now := workers_at(url)) == 2 and now)  # type: ignore[no-any-return]


def within(seconds: float, found: Callable[[], Any]) -> Any:
    """What is found, as soon as it is."""
    until = time.monotonic() + seconds
    while not (what := found()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return what


@contextmanager
def clients_of_both(url: str) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """One kept connection to each of two processes."""
    with ExitStack() as opened:
        by_worker: dict[int, httpx.Client] = {}
        while len(by_worker) < 2:
            client = opened.enter_context(httpx.Client(timeout=SOON))
            by_worker.setdefault(worker_of(client, url), client)
        yield tuple(by_worker.values())  # type: ignore[misc]


def asked(client: httpx.Client, url: str, query: str, variables: dict[str, object]) -> Any:
    answer = client.post(f"{url}/graphql", json={"query": query, "variables": variables}).json()
    assert "errors" not in answer, answer
    return answer["data"]


def test_what_one_process_acknowledges_the_next_request_to_another_shows(server: Server) -> None:
    with clients_of_both(server.url) as (one, other):
        for turn in range(6):
            writer, reader = (one, other) if turn % 2 else (other, one)
            page = asked(reader, server.url, QUERY, {"id": "t3"})["talent"]["recommendedJobs"]
            first = page["edges"][0]["node"]["jobId"]
            dismissal = {"eventId": f"w{turn}", "actor": "TALENT", "type": "DISMISS", "talentId": "t3", "jobId": first}
            assert asked(writer, server.url, RECORD, {"e": [dismissal]})["recordEvents"]["acceptedCount"] == 1
            again = asked(reader, server.url, QUERY, {"id": "t3"})["talent"]["recommendedJobs"]
            assert (again["totalCount"], page["totalCount"]) == (page["totalCount"] - 1, page["totalCount"])
            assert first not in [edge["node"]["jobId"] for edge in again["edges"]]


def test_a_document_changed_by_one_process_is_changed_for_the_other(server: Server, data: Path) -> None:
    count = "{ jobs { totalCount } }"
    with clients_of_both(server.url) as (one, other):
        before = asked(one, server.url, count, {})["jobs"]["totalCount"]
        more = data.parent / "more.csv"
        more.write_text("job_id,title,skills,status\nnew,Brand new,Go,open\n")
        assert tandem(data, "import", f"--jobs={more}").returncode == 0
        assert [asked(client, server.url, count, {})["jobs"]["totalCount"] for client in (one, other)] == [
            before + 1,
            before + 1,
        ]


def test_who_watches_one_process_is_told_of_what_another_took(server: Server) -> None:
    watched = 'subscription { recommendationsChanged(subject: { talentId: "t5" }) { cause } }'
    address = server.url.replace("http", "ws") + "/graphql"
    with clients_of_both(server.url) as clients, ExitStack() as opened:
        sockets = [
            opened.enter_context(connect(address, subprotocols=[Subprotocol("graphql-transport-ws")]))
            for _ in range(4)  # connections are spread, so that both processes have some
        ]
        for watching in sockets:
            watching.send(orjson.dumps({"type": "connection_init"}).decode())
            assert orjson.loads(watching.recv(SOON))["type"] == "connection_ack"
            watching.send(orjson.dumps({"id": "1", "type": "subscribe", "payload": {"query": watched}}).decode())
        time.sleep(0.5)  # a subscription is not acknowledged
        view = {"eventId": "watched", "actor": "TALENT", "type": "VIEW", "talentId": "t5", "jobId": "j1"}
        asked(clients[0], server.url, RECORD, {"e": [view]})
        for watching in sockets:
            told = orjson.loads(watching.recv(SOON))
            assert told["payload"]["data"] == {"recommendationsChanged": {"cause": "EVENTS"}}


class Load:
    """Asks without pause over kept and fresh connections, and counts what was no list."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (True, True, False)]
        self.answered = 0
        self.failed: list[str] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, kept: bool) -> None:
        client = httpx.Client(timeout=SOON)
        while not self._ends.is_set():
            if not kept:
                client.close()
                client = httpx.Client(timeout=SOON)
            try:
                page = asked(client, self._url, QUERY, {"id": "t1"})["talent"]["recommendedJobs"]
                assert len(page["edges"]) == 5
                self.answered += 1
            except (httpx.HTTPError, AssertionError, TypeError) as error:
                self.failed.append(repr(error))
        client.close()


def test_new_processes_and_a_new_model_cost_no_request(server: Server, data: Path) -> None:
    before = both_at(server.url)
    with Load(server.url) as load:
        server.process.send_signal(signal.SIGHUP)
        within(SOON, lambda: len(now := workers_at(server.url)) == 2 and not now & before)
        assert tandem(data, "train", "--no-evaluate").returncode == 0
        time.sleep(2)  # the pointer is followed every second
    assert load.failed == []
    assert load.answered > 50


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_process_that_is_killed_is_replaced_by_one_that_has_been_waiting(server: Server) -> None:
    before = both_at(server.url)
    killed = min(before)
    # The third beside the two; another is Python's own, which looks after what processes share.
    waiting = within(SOON, lambda: len(found := children_of(server.process.pid) - before) == 2 and found)
    os.kill(killed, signal.SIGKILL)
    with httpx.Client(timeout=SOON) as client:  # the other one goes on
        assert asked(client, server.url, QUERY, {"id": "t1"})["talent"]
    after = both_at(server.url)
    assert len(after & before) == 1
    assert killed not in after
    assert after - before < waiting


def test_a_process_that_is_left_by_its_supervisor_ends(data: Path) -> None:
    started = Server(data, TANDEM_AUTH="open", TANDEM_WORKERS="2")
    workers = both_at(started.url) | children_of(started.process.pid)
    started.kill()
    within(SOON, lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_several_processes_that_cannot_begin_are_one_clear_line(tmp_path: Path) -> None:
    write_market(tmp_path)
    assert tandem(tmp_path / "data", "import", f"--talents={tmp_path / 'talents.csv'}").returncode == 0
    done = tandem(tmp_path / "data", "serve", "--port", "0", "--workers", "2", TANDEM_AUTH="open")
    assert "tandem train" in one_line(done)


def test_bodies_that_are_no_request_are_answered_as_such_and_leave_nothing_in_memory(server: Server) -> None:
    workers = list(workers_at(server.url))
    with httpx.Client(timeout=SOON) as client:
        ask_once_each(client, server.url, 0, 100)
        list(answers(client, server.url))  # once they have grown the heap, which is kept
        begun = resident_bytes(workers)
        found = {name: (status, text) for name, status, text in answers(client, server.url)}
        grown = resident_bytes(workers) - begun
        statuses = ask_once_each(client, server.url, 100, 200)
    assert len(found) == len(BODIES)
    for name, (status, text) in found.items():
        assert status in (200, 400, 413, 415), name
        assert status == 200 or b'"code"' in text, name
    answered = {name for name, (status, text) in found.items() if status == 200 and b'"errors"' not in text}
    assert answered <= {"a key twice", "half a surrogate pair", "a NUL"}
    assert set(statuses) <= {200, 400, 404}
    assert grown < 10_000_000


def test_who_leaves_in_the_middle_of_a_body_is_not_a_failure_of_ours(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with httpx.Client(timeout=SOON) as client:
        for length in (1_000, 50_000_000):
            with socket.create_connection(("127.0.0.1", port)) as sending:
                head = (
                    f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}"
                )
                sending.sendall(f"{head}\r\n\r\n{{".encode())
                time.sleep(0.1)
        metrics = client.get(f"{server.url}/metrics").text
    failed = [line for line in metrics.splitlines() if 'status="500"' in line or 'outcome="error"' in line]
    assert [line for line in failed if not line.endswith(" 0.0")] == []


def test_what_is_about_to_end_says_so_and_answers_meanwhile(server: Server) -> None:
    with clients_of_both(server.url) as clients:
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            within(2.0, lambda client=client: client.get(f"{server.url}/readyz").status_code == 503)
            assert client.get(f"{server.url}/readyz").json()["reason"] == "it is about to stop"
            assert asked(client, server.url, QUERY, {"id": "t1"})["talent"]
            assert client.get(f"{server.url}/livez").status_code == 200
        with httpx.Client() as another:
            assert asked(another, server.url, QUERY, {"id": "t2"})["talent"]
    assert server.process.wait(SOON) == 0
    server.stop()
