"""What faults are made in: gateways of two processes over real servers, each server behind a proxy that can fail."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from benchmarks.chaos.load import DEGRADED, OK, Judge, Load, headers_of
from benchmarks.chaos.proxies import Proxy, proxies
from benchmarks.processes import family
from benchmarks.vegeta import Request
from tests.gateway.served_market import COUNTRIES
from tests.production.stack import SERVICE_TOKEN, Replica, Stack, running_stack

TALENTS, JOBS = 300, 240
FIRST = 10
DEADLINE_MS = 300.0
WORKERS = 2
LIST = """query List($id: ID!, $filter: JobFilter, $first: Int!) { talent(talentId: $id) { talentId
  recommendedJobs(first: $first, filter: $filter) { totalCount degradedReasons nodes { jobId country status } } } }"""
# Of a viewer that need not be known.
LIST_OF_ANYBODY = """query Anybody($id: ID!, $filter: JobFilter, $first: Int!) {
  recommendedJobs(subject: { talentId: $id }, first: $first, filter: $filter) {
    totalCount degradedReasons nodes { jobId country status } } }"""
TRIES = 300


@dataclass
class Arena:
    """The stack of all rows. gateway: what is asked unless a row starts one of its own; rate: half of its capacity."""

    directory: Path
    stack: Stack
    catalogue: Proxy
    events: Proxy
    cache: Proxy
    made_of: str  # the proxies
    seed: int
    is_fast: bool
    minutes: float
    patience: float
    ends: list[tuple[int, str]] = field(default_factory=list)  # of gateways: exit code, and a traceback they logged
    gateway: Replica = field(init=False)
    rate: float = field(init=False, default=10.0)
    capacity: float = field(init=False, default=0.0)

    @property
    def behind_proxies(self) -> dict[str, str]:
        """Settings of a gateway that meets the faults, with the time-outs of an operator, times the patience."""
        return {
            **self.stack.settings,
            "TANDEM_CATALOGUE_URL": f"elasticsearch://127.0.0.1:{self.catalogue.port}",
            "TANDEM_EVENTS_URL": f"redis://127.0.0.1:{self.events.port}/0",
            "TANDEM_CACHE_URL": f"redis://127.0.0.1:{self.cache.port}/0",
            "TANDEM_CATALOGUE_TIMEOUT_MS": str(round(120 * self.patience)),
            "TANDEM_EVENTS_TIMEOUT_MS": str(round(100 * self.patience)),
            "TANDEM_CACHE_TIMEOUT_MS": str(round(100 * self.patience)),
            "TANDEM_DEADLINE_MS": str(round(DEADLINE_MS * self.patience)),
            "TANDEM_WORKERS": str(WORKERS),
        }

    @property
    def workers_beside(self) -> int:
        """How many processes a row's own gateway has where it does not matter: one begins sooner than two."""
        return 1 if self.is_fast else WORKERS

    @property
    def late_ms(self) -> float:
        """What no answer may take: three deadlines, for the machine has other work."""
        return DEADLINE_MS * max(3.0, 1.5 * self.patience)

    def heal(self) -> None:
        """End every fault of a proxy."""
        for proxy in (self.catalogue, self.events, self.cache):
            proxy.heal()

    def make_sound(self) -> None:
        """As every row finds it, whatever the one before has left. Raises what keeps it from being so."""
        for server in (self.stack.redis, self.stack.cache):
            if server.has_ended():
                server.start()
            server.resume()
            server.limit_files(None)
            server.command("CONFIG", "SET", "maxmemory", "0")
        self.heal()
        self.until_well()

    def dice(self, row: int) -> Random:
        """Chance of a row, the same for the same seed."""
        return Random(f"{self.seed}.{row}")  # noqa: S311

    @contextmanager
    def another(self, *, workers: int = WORKERS, stderr: int | None = None, **settings: str) -> Iterator[Replica]:
        """A gateway of a row's own, warm. stderr: where it logs to."""
        data = self.directory / f"gateway-{time.monotonic_ns()}"
        started = Replica(data, {**self.behind_proxies, "TANDEM_WORKERS": str(workers), **settings}, stderr=stderr)
        started.start()
        try:
            self.until_well(started)
            yield started
        finally:
            self.end(started)

    def end(self, gateway: Replica) -> None:
        """Ask a gateway to stop; kill one that does not."""
        pids = self.pids(gateway)
        try:
            code, log = gateway.end()
            self.ends.append((code, traceback_in(log)))
        except subprocess.TimeoutExpired:
            self.ends.append((-signal.SIGKILL, "it did not end when it was asked to"))
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def requests(self, gateway: Replica | None = None, *, count: int = 400, seed: int = 0) -> list[Request]:
        """Lists, half of them asked before and half never: each of a talent, by the filter that goes with it."""
        dice = Random(f"{self.seed}.requests.{seed}")  # noqa: S311
        made = []
        for number in range(count):
            talent = dice.randint(1, TALENTS)
            wanted: dict[str, Any] = {"countries": [country_of(talent)]}
            if number % 2:
                wanted["postedWithinDays"] = dice.randint(2_000, 3_600)
            variables = {"id": f"t{talent}", "filter": wanted, "first": FIRST}
            made.append(self.request(LIST, variables, gateway))
        return made

    def request(
        self, query: str, variables: Mapping[str, Any], gateway: Replica | None = None, **headers: str
    ) -> Request:
        """One request of the service."""
        url = f"{(gateway or self.gateway).url}/graphql"
        return Request(url, {"query": query, "variables": variables}, headers_of(SERVICE_TOKEN, **headers))

    def load(
        self,
        gateway: Replica | None = None,
        *,
        rate: float | None = None,
        seconds: float = 600.0,
        requests: Sequence[Request] | None = None,
        judge: Judge | None = None,
    ) -> Load:
        """Load for the length of a block."""
        return Load(requests or self.requests(gateway), rate or self.rate, seconds, judge or judged)

    def ask(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        gateway: Replica | None = None,
        token: str = SERVICE_TOKEN,
    ) -> httpx.Response:
        """One operation, now."""
        url = f"{(gateway or self.gateway).url}/graphql"
        body = {"query": query, "variables": dict(variables or {})}
        return httpx.post(url, json=body, headers=dict(headers_of(token)), timeout=30, trust_env=False)

    def metric(self, name: str, gateway: Replica | None = None, **labels: str) -> float:
        """The sum of a metric's values with these labels."""
        total = 0.0
        for line in self.metrics(gateway).splitlines():
            found = re.match(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found and all(f'{label}="{value}"' in (found[1] or "") for label, value in labels.items()):
                total += float(found[2])
        return total

    def metrics(self, gateway: Replica | None = None) -> str:
        """All metrics, a sample a line."""
        url = f"{(gateway or self.gateway).url}/metrics"
        return httpx.get(url, headers=dict(headers_of(SERVICE_TOKEN)), timeout=30, trust_env=False).text

    def pids(self, gateway: Replica | None = None) -> list[int]:
        """The processes of a gateway: first who owns the socket, then who it has begun."""
        return family((gateway or self.gateway).pid)

    def workers(self, gateway: Replica | None = None) -> list[int]:
        """Those processes of a gateway that answer."""
        chosen, seen = gateway or self.gateway, set()
        for _ in range(16):
            # httpx would read every certificate of the system for each new connection.
            connection = HTTPConnection(urlsplit(chosen.url).netloc, timeout=30)
            try:
                connection.request("GET", "/readyz")
                seen.add(int(orjson.loads(connection.getresponse().read())["worker"]))
            except (OSError, HTTPException):
                continue
            finally:
                connection.close()
        return sorted(seen)

    def until_well(self, gateway: Replica | None = None) -> None:
        """Ask until answers are right and not degraded, a dozen in a row. Raises TimeoutError."""
        in_a_row = 0
        for turn in range(TRIES):
            talent = turn % TALENTS + 1
            variables = {"id": f"t{talent}", "filter": {"countries": [country_of(talent)]}, "first": FIRST}
            try:
                answer = self.ask(LIST, variables, gateway)
                is_well = answer.status_code == httpx.codes.OK and judged(answer.content) == OK
            except httpx.HTTPError:
                is_well = False
            in_a_row = in_a_row + 1 if is_well else 0
            if in_a_row == 12:
                return
            time.sleep(0.0 if is_well else 0.1)
        raise TimeoutError("the gateway does not come to rest: its answers stay degraded")


def country_of(talent: int) -> str:
    """The country that is asked for with a talent, so that the answer alone says whether its filter is obeyed."""
    return COUNTRIES[talent % len(COUNTRIES)]


def judged(body: bytes) -> str:
    """What an answer to LIST is: right (all rows that there are, of its filter), degraded, or what is wrong."""
    answer = orjson.loads(body)
    if "errors" in answer:
        return error_of(answer)
    talent = (answer["data"] or {}).get("talent")
    if talent is None:
        return "no talent"
    return judged_page(answer, talent["recommendedJobs"], country_of(int(talent["talentId"][1:])))


def judged_of_anybody(body: bytes) -> str:
    """The same of an answer to LIST_OF_ANYBODY, of whose rows all must be of one country."""
    answer = orjson.loads(body)
    if "errors" in answer:
        return error_of(answer)
    page = answer["data"]["recommendedJobs"]
    return judged_page(answer, page, page["nodes"][0]["country"] if page["nodes"] else "")


def error_of(answer: Mapping[str, Any]) -> str:
    """The first error of an answer."""
    first = answer["errors"][0]
    return f"error {first.get('extensions', {}).get('code', first['message'][:40])}"


def judged_page(answer: Mapping[str, Any], page: Mapping[str, Any], country: str) -> str:
    """What a list is, of whose rows all must be open and of a country."""
    if len(page["nodes"]) != min(FIRST, page["totalCount"]) or not page["nodes"]:
        return f"{len(page['nodes'])} rows of {page['totalCount']}"
    if any((node["country"], node["status"]) != (country, "OPEN") for node in page["nodes"]):
        return "rows that the filter excludes"
    return DEGRADED if page["degradedReasons"] or answer.get("extensions", {}).get("degraded") else OK


def traceback_in(log: str) -> str:
    """The first traceback in a log, on one line; empty when there is none."""
    _, found, after = log.partition("Traceback")
    # The log is JSON: up to its next line.
    return " ".join((found + after.partition("\n{")[0]).replace("\\n", "\n").split())


def within(seconds: float, is_so: Callable[[], bool]) -> float | None:
    """Seconds until something is so; None when it is not by then."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if is_so():
            return time.monotonic() - begun
        time.sleep(0.05)
    return None


def in_seconds(found: float | None) -> str:
    """How long something took, in words."""
    return "never" if found is None else f"{found:.1f} s"


@contextmanager
def running_arena(
    directory: Path, elasticsearch_url: str, *, seed: int, is_fast: bool, minutes: float, patience: float
) -> Iterator[Arena]:
    """Everything that rows need. What it can answer is measured, but for the short rows, whose load is little."""
    with running_stack(directory, elasticsearch_url, talents=TALENTS, jobs=JOBS) as stack:
        ports = {
            "catalogue": urlsplit(elasticsearch_url).port or 0,
            "events": stack.redis.port,
            "cache": stack.cache.port,
        }
        with proxies(directory, **ports) as (found, made_of):
            chosen = {"seed": seed, "is_fast": is_fast, "minutes": minutes, "patience": patience}
            arena = Arena(directory, stack, **found, made_of=made_of, **chosen)  # type: ignore[arg-type]
            with arena.another() as gateway:
                arena.gateway = gateway
                if not is_fast:
                    arena.capacity = capacity(arena)
                    arena.rate = max(4.0, min(40.0, arena.capacity / 2))
                yield arena


def capacity(arena: Arena, gateway: Replica | None = None, seconds: float = 4.0) -> float:
    """Right answers a second that there can be: more is offered than can be answered, and what is answered counts."""
    rate = 40.0
    while True:
        with arena.load(gateway, rate=rate) as load:
            time.sleep(seconds)
        window = load.all()
        answered = window.good / seconds
        if answered < 0.8 * rate or rate > 1_000:
            return answered
        rate *= 2
