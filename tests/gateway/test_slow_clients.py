"""Clients that keep a server waiting: they are closed, others are answered meanwhile, no memory is spent on them."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.gateway.test_serve import QUERY, ask, trained_market
from tests.processes import Server

CLIENTS = 100  # of each kind
CLOSED_WITHIN = 10.0  # seconds, of which eight are granted
HEAD = b"POST /graphql HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_market(tmp_path_factory.mktemp("slow"), "--no-evaluate")


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Server]:
    """One that may have 200 files open, as its connections are."""
    started = Server(data, files=200, TANDEM_AUTH="open")
    yield started
    started.stop()


def opened(url: str, first: bytes, *, small: bool = False) -> socket.socket:
    """A connection on which something was sent. small: it has next to no room for an answer."""
    place = urlsplit(url)
    client = socket.socket()
    if small:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    client.connect((place.hostname, place.port))
    client.sendall(first)
    return client


def still_open(clients: list[socket.socket]) -> int:
    """How many the server has not ended."""
    count = 0
    for client in clients:
        ended = False
        while not ended and select.select([client], [], [], 0)[0]:
            try:
                ended = not client.recv(65_536)
            except OSError:
                ended = True
        count += not ended
    return count


def test_three_hundred_slow_clients_are_closed_while_others_are_answered(server: Server) -> None:
    body = HEAD + b"Content-Length: 1000\r\n\r\n{"
    with ExitStack() as all_of_them:
        clients = [
            all_of_them.enter_context(opened(server.url, first))
            for _ in range(CLIENTS)
            for first in (b"", HEAD + b"X-A: ", body)
        ]
        begun = time.monotonic()
        while time.monotonic() - begun < CLOSED_WITHIN:
            for client in clients[1::30]:
                try:
                    client.send(b"x")  # a byte now and then buys no time
                except OSError:
                    continue
            asked = time.monotonic()
            assert httpx.get(f"{server.url}/livez", timeout=5).status_code == 200
            assert ask(server.url, QUERY, {"id": "t1"})["talent"]
            assert time.monotonic() - asked < 3
            time.sleep(0.5)
        assert still_open(clients) == 0


def test_who_never_reads_is_closed_and_spends_no_memory(server: Server) -> None:
    query = b'{"query":"{ jobs(first: 30) { nodes { title skills client { clientId } } } }"}'
    asked = HEAD + b"Content-Length: %d\r\n\r\n" % len(query) + query
    with ExitStack() as all_of_them:
        clients = [all_of_them.enter_context(opened(server.url, b"", small=True)) for _ in range(20)]
        begun = time.monotonic()
        sent = 0
        for client in clients:
            client.settimeout(0.2)
        for client in clients:  # one request behind the other, until the server takes no more
            try:
                for _ in range(400):
                    client.sendall(asked)
                    sent += 1
            except OSError:
                continue
        assert sent > 200
        while time.monotonic() - begun < 30 and still_held(server) > 5:
            assert ask(server.url, QUERY, {"id": "t1"})["talent"]
            time.sleep(0.5)
        assert still_held(server) <= 5


def still_held(server: Server) -> int:
    """How many TCP connections the server process has open beside the listening socket."""
    files = Path(f"/proc/{server.process.pid}/fd")
    names = []
    for file in files.iterdir():
        try:
            names.append(str(file.readlink()))
        except OSError:
            continue
    inodes = {name[8:-1] for name in names if name.startswith("socket:[")}
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(1 for row in rows if (parts := row.split())[9] in inodes and parts[3] != "0A")


def test_a_head_that_does_not_end_is_refused(server: Server) -> None:
    with opened(server.url, HEAD) as client:
        client.settimeout(10)
        try:
            for _ in range(200):
                client.sendall(b"X-Filler: " + b"y" * 2_000 + b"\r\n")
        except OSError:
            pass  # it was closed meanwhile
        try:
            answer = client.recv(100)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


def test_who_is_too_slow_reads_why(server: Server) -> None:
    with opened(server.url, HEAD) as client:
        client.settimeout(20)
        assert client.recv(100).startswith(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n")
