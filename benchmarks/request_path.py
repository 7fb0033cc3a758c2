"""What a warm list of 20 jobs with 12 fields each costs over HTTP: CPU of the server for each request, by way.

    .venv/bin/python -m benchmarks.request_path DATA [TALENT] [--requests 300] [--rounds 7] [--connections 1]

DATA: a directory that `tandem demo --no-serve` has built. Every way is a server of its own on loopback, asked over
connections that stay open; rounds of all ways are interleaved, and the medians over rounds are shown. Servers: REST by
Starlette of objects at hand, REST of the recommender's own list, Strawberry as it comes; and `tandem serve`: with
documents cached alone, with open access and without a limit of requests at once, and with all checks on (a token,
its rate, load shedding), the last two by text and by hash (APQ). At the end, which callbacks of a compiled one took the
loop longest, by warm requests and by such that nothing is kept for.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.schema.config import StrawberryConfig

from gateway.cli.serve import build_services, spare_from_collection
from gateway.cli.server import KEEP_ALIVE_SECONDS
from gateway.graphql.context import Context
from gateway.graphql.cursors import encode_position
from gateway.graphql.job import Job, job_from
from gateway.graphql.mutation import Mutation
from gateway.graphql.query import Query
from gateway.graphql.scalars import SCALARS, serialize_datetime, serialize_decimal
from gateway.graphql.services import Services
from gateway.graphql.viewer import ENGINEER
from gateway.http.app import build_app
from gateway.http.auth import build_access
from gateway.http.warming import load_mirrors
from gateway.logs import set_up_logs
from gateway.settings import Settings
from gateway.wiring import open_stores
from recommender.documents import Kind
from recommender.filters import JobFilter
from recommender.query import ListQuery, Mode, RankedPage

TEXT = """query List($id: ID!) { recommendedJobs(subject: { talentId: $id }, first: 20) {
  requestId totalCount pageInfo { hasNextPage endCursor }
  nodes { id jobId title skills category country isRemote level status postedAt budget { min max } client { clientId } }
} }"""
# `tandem serve` with these settings, beside its defaults and open access.
_OPEN, _CHECKED = {"TANDEM_MAX_IN_FLIGHT": "0"}, {"TANDEM_RATE_LIMITS": "service=1000000000"}
SERVED = {
    "cached": {"TANDEM_COMPILED": "false", **_OPEN},
    "open": _OPEN,
    "open, by hash": _OPEN,
    "checked": _CHECKED,
    "checked, by hash": _CHECKED,
}
WAYS = ("REST, at hand", "REST, a list", "stock", *SERVED)
# Milliseconds, of issue 7; they were set on a machine where REST at hand takes 0.10.
GOALS = {"open": 0.40, "open, by hash": 0.25, "checked": 0.60, "checked, by hash": 0.45}
BUSY_MS = 5.0


def rest_row(job: Job) -> dict[str, Any]:
    """One job, as somebody would write it by hand."""
    budget, client = job.budget, job.client
    return {
        "id": job.id,
        "jobId": job.job_id,
        "title": job.title,
        "skills": job.skills,
        "category": job.category,
        "country": job.country,
        "isRemote": job.is_remote,
        "level": None if job.level is None else job.level.name,
        "status": job.status.name,
        "postedAt": None if job.posted_at is None else serialize_datetime(job.posted_at),
        "budget": None
        if budget is None
        else {
            "min": None if budget.min is None else serialize_decimal(budget.min),
            "max": None if budget.max is None else serialize_decimal(budget.max),
        },
        "client": None if client is None else {"clientId": client.client_id},
    }


async def rest_page(services: Services, talent_id: str) -> tuple[RankedPage, list[Job]]:
    query = ListQuery(
        mode=Mode.RECOMMENDED, subject_kind=Kind.TALENT, subject_id=talent_id, filter=JobFilter(), first=20
    )
    (page,) = await services.recommender.lists([query])
    assert isinstance(page, RankedPage)
    found = await services.recommender.documents(Kind.JOB, [item.ordinal for item in page.items])
    return page, [job_from(document) for document in found if document is not None]  # type: ignore[arg-type]


def rest_answer(services: Services, page: RankedPage, jobs: list[Job]) -> Response:
    end = encode_position(page.items[-1].position, services.clock_ms())
    body = {
        "requestId": page.request_id,
        "totalCount": page.total,
        "pageInfo": {"hasNextPage": page.has_next, "endCursor": end},
        "nodes": [rest_row(job) for job in jobs],
    }
    return Response(orjson.dumps(body), media_type="application/json")


class Stock(GraphQL[Context, None]):
    """Strawberry's own view over the same resolvers."""

    services: Services

    async def get_context(self, request: Any, response: Any) -> Context:
        return Context(self.services, ENGINEER, self.services.new_id())


def app_of(way: str, services: Services, settings: Settings) -> Any:
    if way.startswith("REST"):
        kept: dict[str, tuple[RankedPage, list[Job]]] = {}

        async def jobs(request: Request) -> Response:
            talent_id = (await request.json())["variables"]["id"]
            if way == "REST, a list" or talent_id not in kept:
                kept[talent_id] = await rest_page(services, talent_id)
            return rest_answer(services, *kept[talent_id])

        return Starlette(routes=[Route("/graphql", jobs, methods=["POST"])])
    if way == "stock":
        schema = strawberry.Schema(query=Query, mutation=Mutation, config=StrawberryConfig(scalar_map=SCALARS))
        view = Stock(schema)
        view.services = services
        return Starlette(routes=[Route("/graphql", view)])
    return build_app(services, build_access(settings))


def serve(way: str, data: Path, port: int) -> None:
    """One server, set up as `tandem serve` does it, until it is told to end."""
    settings = Settings(auth="open", data_dir=data)
    set_up_logs(settings)
    stores = open_stores(settings, must_exist=True)
    services = build_services(stores)
    services.recommender.refresh_model()
    asyncio.run(load_mirrors(services.catalogue))
    spare_from_collection()
    busy = watched() if way == "watched" else None
    config = uvicorn.Config(
        app_of(way, services, settings),
        port=port,
        loop="asyncio" if busy is not None else "uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has ended
        uvicorn.Server(config).run()
    stores.close()
    if busy is not None:
        worst = sorted(busy, reverse=True)[:5]
        over = sum(ms > BUSY_MS for ms, _ in busy)
        print(f"\n{len(busy)} callbacks, {over} of more than {BUSY_MS:g} ms of CPU; the longest:")
        for ms, name in worst:
            print(f"  {ms:6.2f} ms  {name}")


def watched() -> list[tuple[float, str]]:
    """CPU time that each callback of the event loop takes from now on, and what it is.

    CPU, not wall time: on a busy machine a callback waits for its core in the middle.
    """
    busy: list[tuple[float, str]] = []
    signal.signal(signal.SIGUSR1, lambda *_: busy.clear())  # from now on it is warm
    asyncio.tasks.Task = asyncio.tasks._PyTask  # type: ignore[attr-defined, misc] # one that says what it runs
    run: Callable[[asyncio.Handle], None] = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        run(handle)
        busy.append(((time.thread_time() - start) * 1_000, repr(handle)[:150]))

    asyncio.Handle._run = measured  # type: ignore[method-assign]
    return busy


def request_of(
    way: str, talent_id: str, *, with_text: bool = False, chosen: object = None, token: str | None = None
) -> bytes:
    """One over HTTP. chosen: a JobFilter."""
    body: dict[str, Any] = {"variables": {"id": talent_id}}
    by_hash = way.endswith("by hash")
    if not by_hash or with_text:
        body["query"] = TEXT
    if chosen is not None:
        body["query"] = TEXT.replace("($id: ID!)", "($id: ID!, $filter: JobFilter)").replace(
            ", first: 20", ", filter: $filter, first: 20"
        )
        body["variables"]["filter"] = chosen
    if by_hash:
        digest = hashlib.sha256(TEXT.encode()).hexdigest()
        body["extensions"] = {"persistedQuery": {"version": 1, "sha256Hash": digest}}
    encoded = orjson.dumps(body)
    head = "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
    head += "" if token is None else f"Authorization: Bearer {token}\r\n"
    return f"{head}Content-Length: {len(encoded)}\r\n\r\n".encode() + encoded


def answer_of(connection: socket.socket) -> bytes:
    """The body of one answer."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += received(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < size:
        body += received(connection)
    assert b" 200 " in head.splitlines()[0], (head, body)
    return body


def received(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise ConnectionError("the server ended the connection")
    return part


def cpu_ms(pid: int) -> float:
    """CPU time of a process so far, of all its threads."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def token_of(data: Path) -> str:
    """Of a service."""
    command = [sys.executable, "-m", "gateway", "token", "--role", "service"]
    environment = {**os.environ, "TANDEM_AUTH": "open", "TANDEM_DATA_DIR": str(data)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 - of ours
    return done.stdout.strip()


class Server:
    """One way, running."""

    def __init__(self, way: str, data: Path, talent_id: str, connections: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "benchmarks.request_path", str(data), "--serve", way, "--port", str(port)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        token, printed = None, None
        if way in SERVED:
            command = [sys.executable, "-m", "gateway", "serve", "--port", str(port)]
            environment |= {"TANDEM_AUTH": "open", "TANDEM_DATA_DIR": str(data), **SERVED[way]}
            printed = subprocess.DEVNULL
            token = token_of(data) if SERVED[way] is _CHECKED else None
        self.process = subprocess.Popen(command, env=environment, stdout=printed)  # noqa: S603 - of ours
        self.port = port
        self.connections = [self._connected(port) for _ in range(connections)]
        self.request = request_of(way, talent_id, token=token)
        self.costs: list[float] = []
        self.connections[0].sendall(request_of(way, talent_id, with_text=True, token=token))
        self.answer = orjson.loads(answer_of(self.connections[0]))
        assert "errors" not in self.answer, self.answer
        self.ask(50)

    @staticmethod
    def _connected(port: int) -> socket.socket:
        for _ in range(600):
            try:
                connection = socket.create_connection(("127.0.0.1", port))
            except ConnectionRefusedError:
                time.sleep(0.1)
            else:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
        raise TimeoutError("the server does not answer")

    def ask(self, requests: int) -> None:
        for _ in range(requests // len(self.connections)):
            for connection in self.connections:
                connection.sendall(self.request)
            for connection in self.connections:
                answer_of(connection)

    def ask_each(self, requests: list[bytes]) -> None:
        for request in requests:
            self.connections[0].sendall(request)
            assert b'"errors"' not in answer_of(self.connections[0])[:100]

    def measure(self, requests: int) -> None:
        for place, connection in enumerate(self.connections):  # the server ends them while others are measured
            connection.close()
            self.connections[place] = self._connected(self.port)
        self.ask(len(self.connections))
        before = cpu_ms(self.process.pid)
        self.ask(requests)
        asked = requests // len(self.connections) * len(self.connections)
        self.costs.append((cpu_ms(self.process.pid) - before) / asked)

    def end(self) -> None:
        for connection in self.connections:
            connection.close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("talent", nargs="?", default="tal-000043")
    for name, default in (("requests", 300), ("rounds", 7), ("connections", 1), ("port", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.data, given.port)
        return
    servers: dict[str, Server] = {}
    try:
        for way in WAYS:
            servers[way] = Server(way, given.data, given.talent, given.connections)
        for _ in range(given.rounds):
            for server in servers.values():
                server.measure(given.requests)
    finally:
        for server in servers.values():
            server.end()
    least = median(servers[WAYS[0]].costs)
    print(f"{given.connections} connections, {given.rounds} rounds of {given.requests} requests; CPU ms for each\n")
    for way, server in servers.items():
        cost = median(server.costs)
        low, high = min(server.costs), max(server.costs)
        goal = f"; the goal {GOALS[way] / 0.1:.1f}" if way in GOALS else ""
        print(f"  {way:<16} {cost:6.3f}  ({low:.3f} to {high:.3f})  {cost / least:5.1f} of {WAYS[0]}{goal}")
    for what in ("warm requests", "misses with random filters"):
        watch = Server("watched", given.data, given.talent, given.connections)
        requests = [watch.request] * given.requests if what.startswith("warm") else misses(watch, given.requests)
        watch.process.send_signal(signal.SIGUSR1)
        print(f"\n{what}:", flush=True)
        watch.ask_each(requests)
        watch.end()


def misses(server: Server, count: int) -> list[bytes]:
    """Requests for other talents, each with a filter of its own: nothing of the answer is kept."""
    nodes = server.answer["data"]["recommendedJobs"]["nodes"]
    skills = sorted({skill for node in nodes for skill in node["skills"]})
    countries = sorted({node["country"] for node in nodes if node["country"]})
    chance = random.Random(1)  # noqa: S311
    made = []
    for number in range(1, count + 1):
        wanted = {"skills": {"any": chance.sample(skills, 3)}, "countries": chance.sample(countries, 1)}
        chosen = {name: wanted[name] for name in chance.sample(list(wanted), chance.randint(0, 2))}
        chosen["postedWithinDays"] = chance.randint(5, 90)
        made.append(request_of("watched", f"tal-{number:06d}", chosen=chosen))
    return made


if __name__ == "__main__":
    main()
