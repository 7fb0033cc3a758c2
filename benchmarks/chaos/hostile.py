"""Rows of hostile input: documents, operations without end, bodies, clients that keep a server waiting."""

from __future__ import annotations

import gzip
import hashlib
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack

import httpx
import orjson

from benchmarks.chaos.arena import Arena
from benchmarks.chaos.load import headers_of
from benchmarks.chaos.rows import Observed, row
from benchmarks.processes import memory_mb
from tests.gateway.hostile_documents import HOSTILE, refused
from tests.gateway.test_hostile_documents import HARMLESS
from tests.gateway.test_slow_clients import HEAD, opened, still_open
from tests.processes import ROOT
from tests.production.stack import SERVICE_TOKEN

CPU_MS, MARGIN = 5.0, 3.0
DEEP = 100_000
EXECUTED = HARMLESS | {"many operations"}  # small, or refused by their request and not by their text


@row(
    23,
    "hostile documents",
    "refused by a typed error in < 5 ms CPU each (gate 15), neighbours lose nothing and their p50 stays < 3 times",
    fast=True,
)
def documents(arena: Arena) -> Observed:
    took = {name: min(refused(text)[1] for _ in range(5)) for name, text in HOSTILE.items() if name not in EXECUTED}
    worst = max(took, key=lambda name: took[name])
    statuses: Counter[int] = Counter()
    with arena.load() as load:
        time.sleep(3)
        begun = time.time()
        for text in HOSTILE.values():
            statuses[arena.ask(text).status_code] += 1
        ended = time.time()
    before, during = load.between(0, begun), load.between(begun, ended)
    broken = sum(count for status, count in statuses.items() if status >= httpx.codes.INTERNAL_SERVER_ERROR)
    slowed = during.quantile_ms(0.5) / max(1.0, before.quantile_ms(0.5))
    return Observed(
        f"{len(took)} documents, CPU at most {took[worst]:.1f} ms ({worst}), "
        f"{sum(ms > CPU_MS for ms in took.values())} over 5 ms; {broken} answered 5xx; neighbours: {during.text()}, "
        f"p50 {slowed:.1f} times of before",
        took[worst] < CPU_MS * MARGIN and not broken and not load.all().failed and slowed < MARGIN,
    )


@row(
    24,
    "10,000 unknown persisted operations, 3,000 documents asked once",
    "refused or answered, nothing asked of Elasticsearch for the unknown ones, memory + < 30 MB",
)
def without_end(arena: Arena) -> Observed:
    def persisted(number: int) -> bytes:
        digest = hashlib.sha256(f"{arena.seed}.{number}".encode()).hexdigest()
        return orjson.dumps({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": digest}}})

    def unique(number: int) -> bytes:
        return orjson.dumps({"query": f"{{ a{number}: viewer {{ roles }} }}"})

    statuses: Counter[int] = Counter()
    headers = {**headers_of(SERVICE_TOKEN), "Content-Type": "application/json"}
    with arena.another() as gateway, httpx.Client(headers=headers, timeout=30, trust_env=False) as client:

        def send(body: bytes) -> None:
            statuses[client.post(f"{gateway.url}/graphql", content=body).status_code] += 1

        for number in range(1_000):
            send(unique(10**6 + number))
        before = memory_mb(*arena.pids(gateway))
        asked = arena.metric("tandem_dependency_seconds_count", gateway, dependency="catalogue")
        begun = time.monotonic()
        for number in range(10_000):
            send(persisted(number))
        took = time.monotonic() - begun
        asked = arena.metric("tandem_dependency_seconds_count", gateway, dependency="catalogue") - asked
        for number in range(3_000):
            send(unique(number))
        grown = memory_mb(*arena.pids(gateway)) - before
    broken = sum(count for status, count in statuses.items() if status >= httpx.codes.INTERNAL_SERVER_ERROR)
    # A look at what has changed, now and then, is no question of theirs.
    return Observed(
        f"{broken} answered 5xx ({dict(statuses)}); Elasticsearch asked {asked:.0f} times in {took:.0f} s; "
        f"memory {grown:+.1f} MB",
        not broken and asked <= 4 * took * 2 + 10 and grown < 30,
    )


def bodies() -> dict[str, tuple[bytes, dict[str, str]]]:
    """Bodies and headers that no client of ours sends."""
    query = b'{"query": "{ __typename }"'
    bomb = gzip.compress(query + b', "operationName": "' + b"x" * 20_000_000 + b'"}')
    plain: dict[str, tuple[bytes, dict[str, str]]] = {
        name: (body, {})
        for name, body in {
            "48 MB": b'{"query": "' + b"x" * 48_000_000 + b'"}',
            "deep array": b"[" * DEEP + b"]" * DEEP,
            "deep object": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
            "deep variables": query + b', "variables": {"a": ' + b"[" * DEEP + b"]" * DEEP + b"}}",
            "bad UTF-8": b'{"query": "\xff\xfe{ __typename }"}',
            "huge integer": query + b', "variables": {"a": ' + b"9" * DEEP + b"}}",
            "NaN": query + b', "variables": {"a": NaN}}',
            "Infinity": query + b', "variables": {"a": -Infinity}}',
            "a string": b'"{ __typename }"',
            "a number": b"7",
            "null": b"null",
            "true": b"true",
            "empty": b"",
            "duplicate keys": b'{"query": "{ a }", "query": "{ __typename }"}',
            "query is a number": b'{"query": 7}',
            "query is a list": b'{"query": ["{ __typename }"]}',
            "variables are a list": query + b', "variables": [1]}',
            "variables are a string": query + b', "variables": "{}"}',
            "operationName is an object": query + b', "operationName": {}}',
            "extensions are a number": query + b', "extensions": 1}',
            "50,000 operations": b"[" + b",".join([query + b"}"] * 30_000) + b"]",
            "50,000 items": query + b', "variables": {"a": [' + b",".join([b"1"] * 50_000) + b"]}}",
            "NUL": b'{"query": "{ job(jobId: \\"\\u0000\\") { title } }"}',
            "lone surrogate": b'{"query": "{ job(jobId: \\"\\ud800\\") { title } }"}',
            "lone surrogate in variables": b'{"query": "query($i: ID!) { job(jobId: $i) { id } }", '
            b'"variables": {"i": "\\udfff"}}',
            "cut off": query,
            "two values": query + b"} {}",
            "UTF-16": '{"query": "{ __typename }"}'.encode("utf-16"),
        }.items()
    }
    return plain | {
        "text/plain": (query + b"}", {"Content-Type": "text/plain"}),
        "a form": (b"query=%7B+__typename+%7D", {"Content-Type": "application/x-www-form-urlencoded"}),
        "multipart": (b"--x\r\n\r\n--x--", {"Content-Type": "multipart/form-data; boundary=x"}),
        "no type": (query + b"}", {"Content-Type": ""}),
        "gzip bomb": (bomb, {"Content-Encoding": "gzip"}),
        "unknown encoding": (query + b"}", {"Content-Encoding": "br"}),
        "charset": (query + b"}", {"Content-Type": "application/json; charset=utf-32"}),
        "long header": (query + b"}", {"X-Long": "y" * 100_000}),
    }


@row(25, "bad bodies", "200, 400, 413, 415 or 431, or closed; never 5xx; memory + < 10 MB (gate 30)", fast=True)
def bad_bodies(arena: Arena) -> Observed:
    statuses: Counter[str] = Counter()
    broken = []
    url = f"{arena.gateway.url}/graphql"
    made = bodies()

    def send(name: str) -> None:
        body, more = made[name]
        headers = {**headers_of(SERVICE_TOKEN), "Content-Type": "application/json", **more}
        try:
            status = httpx.post(url, content=body, headers=headers, timeout=30, trust_env=False).status_code
        except httpx.HTTPError:
            statuses["closed"] += 1
            return
        statuses[str(status)] += 1
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            broken.append(f"{name}: {status}")

    with arena.load():  # what lists and bodies need once is not theirs
        for name in made:
            send(name)
        time.sleep(0.5)
    before = memory_mb(*arena.pids())
    with arena.load() as load:
        for _ in range(1 if arena.is_fast else 3):
            for name in made:
                send(name)
        time.sleep(0.5)
    grown = memory_mb(*arena.pids()) - before
    return Observed(
        f"{len(made)} bodies: {dict(statuses)}; 5xx: {', '.join(broken) or 'none'}; memory {grown:+.1f} MB; "
        f"neighbours: {load.all().text()}",
        not broken and grown < 10 * MARGIN and not load.all().failed,
    )


@row(
    26, "made-up operations, requests and bytes", "schemathesis, hypothesis-graphql and atheris find no internal error"
)
def made_up(arena: Arena) -> Observed:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "tools/fuzz/run.py", "--size", "500", "--seed", str(arena.seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1_800,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return Observed(f"exit {done.returncode}: {' / '.join(said[-3:])}"[:300], done.returncode == 0)


@row(
    22,
    "300 slow clients: connected, half a head, half a body, never reading",
    "others answered throughout, though a process holds 60 connections at most; all closed within 10 s (gate 13)",
)
def slow_clients(arena: Arena) -> Observed:
    body = HEAD + b"Authorization: Bearer " + SERVICE_TOKEN.encode() + b"\r\nContent-Length: 1000\r\n\r\n{"
    limit = {"TANDEM_CONNECTIONS": "60"}  # each of two processes: fewer than come
    with arena.another(**limit) as gateway, ExitStack() as all_of_them, arena.load(gateway) as load:
        time.sleep(2)
        begun = time.time()
        clients: list[socket.socket] = [
            all_of_them.enter_context(opened(gateway.url, first))
            for _ in range(100)
            for first in (b"", HEAD + b"X-A: ", body)
        ]
        readers = [all_of_them.enter_context(opened(gateway.url, b"", small=True)) for _ in range(20)]
        query = b'{"query":"{ jobs(first: 30) { nodes { title skills client { clientId } } } }"}'
        asked = HEAD + headers_as_bytes() + b"Content-Length: %d\r\n\r\n" % len(query) + query
        for reader in readers:
            reader.settimeout(0.1)
            try:
                for _ in range(60):
                    reader.sendall(asked)
            except OSError:
                continue
        closed_s = None
        while time.time() - begun < 20:
            for client in clients[1::30]:
                try:
                    client.send(b"x")
                except OSError:
                    continue
            if not still_open(clients):
                closed_s = time.time() - begun
                break
            time.sleep(0.25)
        ended = time.time()
        time.sleep(1)
    during = load.between(begun, ended)
    slowed = during.quantile_ms(0.5) / max(1.0, load.between(0, begun).quantile_ms(0.5))
    return Observed(
        f"closed after {'-' if closed_s is None else f'{closed_s:.1f}'} s; at most 60 connections a process; "
        f"neighbours: {during.text()}, p50 {slowed:.1f} times of before",
        closed_s is not None and closed_s < 13 and not load.all().failed and slowed < MARGIN,
    )


def headers_as_bytes() -> bytes:
    """Of who may ask."""
    return b"Authorization: Bearer " + SERVICE_TOKEN.encode() + b"\r\n"
