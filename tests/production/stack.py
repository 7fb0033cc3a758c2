"""Elasticsearch, two Redis and gateway replicas around a small market, every replica a process of its own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx
import numpy as np

from gateway.adapters.directory.models import DirectoryModelStore
from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
from gateway.adapters.redis.events import RedisEventLog
from gateway.adapters.redis.server import Timeouts
from recommender.documents import Kind, Patch
from recommender.events import EventType
from recommender.interactions import hidden_pairs, table_from_events
from tests.elasticsearch_server import new_namespace, remove
from tests.factories import DAY_MS, NOW_MS, event
from tests.gateway.served_market import job_patch, small_model, talent_patch
from tests.processes import Server, tandem
from tests.servers import RedisServer, free_port, running_redis

TALENTS, JOBS = 60, 40
SERVICE_TOKEN = "sesame"


class Replica:
    """One `tandem serve`. It keeps its port and its data directory when it is killed and started again."""

    def __init__(self, data: Path, settings: Mapping[str, str], *, stderr: int | None = None) -> None:
        self.data = data
        self._stderr = stderr
        self._settings = settings
        self._port = free_port()
        self._server: Server | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._server is not None
        return self._server.process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._server = Server(self.data, port=self._port, stderr=self._stderr, **self._settings)

    def restart_with_nothing(self) -> None:
        """Stop it, delete its data directory and start it again."""
        self.stop()
        shutil.rmtree(self.data)
        self.start()

    def stop(self) -> None:
        """Ask it to stop, when it runs."""
        if self._server is not None:
            code, log = self.end()
            assert (code, "Traceback" in log) == (0, False), log[-2_000:]

    def end(self) -> tuple[int, str]:
        """Ask it to stop; its exit code and what it wrote to stderr."""
        assert self._server is not None
        server, self._server = self._server, None
        return server.stop()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self._server is not None
        self._server.kill()
        self._server = None


@dataclass
class Stack:
    """The servers and what the processes over them share."""

    directory: Path
    elasticsearch_url: str
    redis: RedisServer
    cache: RedisServer
    namespace: str = field(default_factory=new_namespace)
    replicas: list[Replica] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """What every process is told: everything is in the servers, but the models, which are in a shared directory."""
        return {
            "TANDEM_CATALOGUE_URL": self.elasticsearch_url,
            "TANDEM_EVENTS_URL": self.redis.url,
            "TANDEM_CACHE_URL": self.cache.url,
            "TANDEM_MODELS_URL": f"file://{self.directory / 'models'}",
            "TANDEM_NAMESPACE": self.namespace,
            "TANDEM_AUTH": "token",
            "TANDEM_SERVICE_TOKEN": SERVICE_TOKEN,
            # A loaded machine is slow, and that is not what these tests are about.
            "TANDEM_CATALOGUE_TIMEOUT_MS": "10000",
            "TANDEM_EVENTS_TIMEOUT_MS": "10000",
            "TANDEM_DEADLINE_MS": "20000",
        }

    def replica(self, **settings: str) -> Replica:
        """A gateway that has just been started, with an empty data directory. settings: besides the stack's."""
        # By a name of its own: two may be started at once.
        started = Replica(Path(mkdtemp(prefix="replica-", dir=self.directory)), self.settings | settings)
        self.replicas.append(started)
        started.start()
        return started

    def tandem(self, *arguments: str, data: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own, which must end well. data: its data directory, by default no gateway's."""
        done = tandem(data or self.directory / "commands", *arguments, **self.settings)
        assert done.returncode == 0, done.stderr
        return done

    @contextmanager
    def catalogue(self) -> Iterator[ElasticsearchCatalogue]:
        """The catalogue, opened by this process as by one more."""
        opened = ElasticsearchCatalogue.open(self.elasticsearch_url, namespace=self.namespace, timeout_ms=10_000)
        try:
            yield opened
        finally:
            opened.close()

    @contextmanager
    def events(self) -> Iterator[RedisEventLog]:
        """The event log, opened by this process as by one more."""
        patient = Timeouts(connect_ms=10_000, read_ms=10_000)
        opened = RedisEventLog.open(self.redis.url, namespace=self.namespace, timeouts=patient)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def running_stack(
    directory: Path, elasticsearch_url: str, *, talents: int = TALENTS, jobs: int = JOBS
) -> Iterator[Stack]:
    """A stack with a market of that size and no replica yet. Ends what it started, and leaves no index behind."""
    without_file = ("--appendonly", "no")
    with running_redis(directory / "redis") as redis, running_redis(directory / "cache", *without_file) as cache:
        stack = Stack(directory, elasticsearch_url, redis, cache)
        try:
            asyncio.run(_fill(stack, talents, jobs))
            yield stack
        finally:
            for replica in stack.replicas:
                replica.stop()
            remove(elasticsearch_url, stack.namespace)


async def _fill(stack: Stack, talents: int, jobs: int) -> None:
    """Documents, a model of them, and for each talent a view, a save and an application."""
    with stack.catalogue() as catalogue:
        await catalogue.upsert(Kind.TALENT, [talent_patch(number) for number in range(1, talents + 1)])
        await catalogue.upsert(Kind.JOB, [open_job(number) for number in range(1, jobs + 1)])
    with stack.events() as log:
        happened = [
            event(kind, f"t{number}", f"j{(number * step) % jobs + 1}", occurred_at_ms=NOW_MS - number % 90 * DAY_MS)
            for number in range(1, talents + 1)
            for step, kind in ((1, EventType.VIEW), (3, EventType.SAVE), (7, EventType.APPLY))
        ]
        await log.append(happened)
    model, table = small_model(talents=talents, jobs=jobs), table_from_events(happened)
    ordinals = [np.array([int(own[1:]) for own in ids], np.uint32) for ids in (table.talent_ids, table.job_ids)]
    manifest = replace(model.manifest, watermark=len(happened))
    models = DirectoryModelStore(stack.directory / "models")
    models.publish(replace(model, manifest=manifest, hidden=hidden_pairs(table, *ordinals)))
    models.close()


def open_job(number: int) -> Patch:
    """Job `j<number>`, which does not expire: replicas have the real clock."""
    patch = job_patch(number)
    return Patch(patch.id, {**patch.fields, "expires_at_ms": None})


class Client:
    """Asks replicas over HTTP."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def answer(
        self, replica: Replica, query: str, variables: Mapping[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """The whole JSON of an answer."""
        headers = {"Authorization": f"Bearer {SERVICE_TOKEN}"}
        if token is not None:
            headers["Tandem-Consistency-Token"] = token
        body = {"query": query, "variables": variables or {}}
        response = await self._http.post(f"{replica.url}/graphql", json=body, headers=headers)
        answer: dict[str, Any] = response.json()
        return answer

    async def data(
        self, replica: Replica, query: str, variables: Mapping[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """The data of an answer that must not have errors."""
        answer = await self.answer(replica, query, variables, token)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    async def record(self, replica: Replica, *events: Mapping[str, Any]) -> str:
        """Record events that must be accepted, each new; the token."""
        found = (await self.data(replica, RECORD, {"events": events}))["recordEvents"]
        assert (found["acceptedCount"], found["userErrors"]) == (len(events), []), found
        return str(found["token"])

    async def upsert_jobs(self, replica: Replica, jobs: Sequence[Mapping[str, Any]]) -> str:
        """Upsert jobs that must be accepted; the token."""
        found = (await self.data(replica, UPSERT_JOBS, {"jobs": jobs}))["upsertJobs"]
        assert (found["acceptedCount"], found["userErrors"]) == (len(jobs), []), found
        return str(found["token"])

    async def upsert_talents(self, replica: Replica, talents: Sequence[Mapping[str, Any]]) -> str:
        """Upsert talents that must be accepted; the token."""
        found = (await self.data(replica, UPSERT_TALENTS, {"talents": talents}))["upsertTalents"]
        assert (found["acceptedCount"], found["userErrors"]) == (len(talents), []), found
        return str(found["token"])


RECORD = """mutation($events: [EventInput!]!) {
  recordEvents(input: { events: $events }) { acceptedCount token userErrors { code message } } }"""
UPSERT_JOBS = """mutation($jobs: [JobInput!]!) {
  upsertJobs(input: { jobs: $jobs }) { acceptedCount token userErrors { code message } } }"""
UPSERT_TALENTS = """mutation($talents: [TalentInput!]!) {
  upsertTalents(input: { talents: $talents }) { acceptedCount token userErrors { code message } } }"""


@asynccontextmanager
async def http_client() -> AsyncIterator[Client]:
    """A client with connections enough for every test."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx.AsyncClient(timeout=20, limits=limits, trust_env=False) as http:
        yield Client(http)
