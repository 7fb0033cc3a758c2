"""A store that is wrong in some way: `tandem doctor` and the commands say which, why and what to do, and no secret."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest

from gateway.cli import main
from gateway.cli.doctor import Status, findings
from gateway.settings import load_settings
from gateway.wiring import open_stores
from tests.elasticsearch_server import empty, request_json
from tests.servers import free_port, running_redis, wheel_binary
from tests.tls_proxy import Authority, running_proxy

ROOT = Path(__file__).parents[2]
PASSWORD = "s3cret"
WRONG = "wr0ng"
# Of a request: the proxies share the interpreter with the client, and the machine with other tests.
PATIENCE_MS = 3_000
COMMANDS = itertools.cycle(("serve", "import", "train", "index"))


@dataclass
class World:
    """What faults are made of. Servers live as long as the test that asked for them."""

    directory: Path
    authority: Authority
    elasticsearch: str
    redis: str  # wants PASSWORD
    namespace: str
    stack: ExitStack = field(default_factory=ExitStack)

    def elasticsearch_behind(self, *, host: str = "127.0.0.1", days: int = 1, password: str | None = None) -> str:
        """Host and port of a proxy with TLS before Elasticsearch."""
        tls = self.authority.server(host, days=days)
        port = urlsplit(self.elasticsearch).port or 0
        return f"127.0.0.1:{self.stack.enter_context(running_proxy(port, tls=tls, password=password)).port}"

    def redis_behind(self, *, host: str = "127.0.0.1", days: int = 1) -> str:
        """The same before Redis."""
        tls = self.authority.server(host, days=days)
        return f"127.0.0.1:{self.stack.enter_context(running_proxy(urlsplit(self.redis).port or 0, tls=tls)).port}"

    def answering(self, status: int, body: bytes, **headers: str) -> str:
        """Host and port of a server that answers every request so."""
        return self.stack.enter_context(_answering(status, body, headers))

    def silent(self) -> str:
        """Host and port of a server that takes connections and never says a word."""
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def another_redis(self, *options: str) -> str:
        """Host and port of a server with other options, without a password."""
        server = self.stack.enter_context(running_redis(self.directory / "another", *options))
        return f"127.0.0.1:{server.port}"


@contextmanager
def _answering(status: int, body: bytes, headers: dict[str, str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, elasticsearch_url: str, kept_namespace: str) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("faults")
    with running_redis(directory / "redis", "--requirepass", PASSWORD) as server:
        redis = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"
        settings = load_settings(
            data_dir=directory,
            catalogue_url=elasticsearch_url,
            catalogue_timeout_ms=PATIENCE_MS,
            events_url=redis,
            events_timeout_ms=PATIENCE_MS,
            namespace=kept_namespace,
        )
        open_stores(settings).close()  # so that there is something to be kept from
        open_stores(load_settings(data_dir=directory / "data")).close()
        (directory / "jobs.csv").write_text("job_id,title\nj1,Baker\n", encoding="utf-8")
        yield World(directory, Authority(directory), elasticsearch_url, redis, kept_namespace)


@pytest.fixture
def world(shared: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in [name for name in os.environ if name.startswith(("TANDEM_", "SSL_CERT"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TANDEM_DATA_DIR", str(shared.directory / "data"))
    monkeypatch.setenv("TANDEM_NAMESPACE", shared.namespace)
    monkeypatch.setenv("TANDEM_AUTH", "open")
    monkeypatch.setenv("TANDEM_PORT", "0")
    monkeypatch.setenv("TANDEM_START_WAIT_SECONDS", "0")
    monkeypatch.setenv("TANDEM_EVENTS_TIMEOUT_MS", str(PATIENCE_MS))
    monkeypatch.setenv("TANDEM_CATALOGUE_TIMEOUT_MS", str(PATIENCE_MS))
    with shared.stack:
        yield shared


def _words(command: str, world: World) -> list[str]:
    return [command, "--jobs", str(world.directory / "jobs.csv")] if command == "import" else [command]


def _left(words: list[str], capfd: pytest.CaptureFixture[str]) -> tuple[object, list[str]]:
    """The exit code and the lines of a command."""
    with pytest.raises(SystemExit) as left:
        main(words)
    captured = capfd.readouterr()
    return left.value.code, [*captured.out.splitlines(), *captured.err.splitlines()]


Fault = Callable[[World], str]  # gives the URL; {} in the line is its host and port

# fmt: off
CATALOGUE: list[tuple[str, Fault, str]] = [
    ("certificate of an unknown authority",
     lambda world: f"elasticsearch+https://tandem:{PASSWORD}@{world.elasticsearch_behind()}",
     "the certificate of Elasticsearch at https://{} is not trusted (unable to get local issuer certificate); name its "
     "authority by ?ca_certs=/path or SSL_CERT_FILE"),
    ("certificate of another host",
     lambda world: f"elasticsearch+https://{world.elasticsearch_behind(host='other.example')}"
     f"?ca_certs={world.authority.file}",
     "the certificate of Elasticsearch at https://{} is of another host; write the name that it was made for in the "
     "URL, or have one made for this name"),
    ("certificate that has expired",
     lambda world: f"elasticsearch+https://{world.elasticsearch_behind(days=-1)}?ca_certs={world.authority.file}",
     "the certificate of Elasticsearch at https://{} has expired; renew it on the server"),
    ("authority that is not there",
     lambda world: f"elasticsearch+https://{world.elasticsearch_behind()}?ca_certs=/nowhere.pem",
     "/nowhere.pem, the ca_certs of TANDEM_CATALOGUE_URL, cannot be read (No such file or directory)"),
    ("authority that is none",
     lambda world: f"elasticsearch+https://{world.elasticsearch_behind()}?ca_certs={__file__}",
     f"{__file__}, the ca_certs of TANDEM_CATALOGUE_URL, holds no certificate"),
    ("wrong password",
     lambda world: f"elasticsearch+https://tandem:{WRONG}@{world.elasticsearch_behind(password=PASSWORD)}"
     f"?ca_certs={world.authority.file}",
     "Elasticsearch at https://{} refused the user and password of TANDEM_CATALOGUE_URL; correct them"),
    ("no password",
     lambda world: f"elasticsearch+https://{world.elasticsearch_behind(password=PASSWORD)}"
     f"?ca_certs={world.authority.file}",
     "Elasticsearch at https://{} wants a user and a password; put them into TANDEM_CATALOGUE_URL, as "
     "user:password@host"),
    ("no TLS where there is some",
     lambda world: f"elasticsearch://tandem:{PASSWORD}@{world.elasticsearch_behind()}",
     "Elasticsearch at http://{} hung up, or gave no answer in HTTP; correct the port in TANDEM_CATALOGUE_URL, or "
     "write elasticsearch+https:// if it wants TLS"),
    ("TLS where there is none",
     lambda world: world.elasticsearch.replace("elasticsearch://", f"elasticsearch+https://tandem:{PASSWORD}@"),
     "Elasticsearch at https://{} does not speak TLS; write elasticsearch:// instead, or correct the port"),
    ("port where nobody listens",
     lambda _: f"elasticsearch://tandem:{PASSWORD}@127.0.0.1:{free_port()}",
     "Elasticsearch at http://{} cannot be reached; start it or correct TANDEM_CATALOGUE_URL"),
    ("host name that is none",
     lambda _: f"elasticsearch://tandem:{PASSWORD}@no-such-host.invalid:9200",
     "the host name of Elasticsearch at http://{} cannot be found; correct TANDEM_CATALOGUE_URL"),
    ("port of Redis",
     lambda world: f"elasticsearch://{world.redis.rpartition('@')[2].removesuffix('/0')}",
     "Elasticsearch at http://{} hung up, or gave no answer in HTTP; correct the port in TANDEM_CATALOGUE_URL, or "
     "write elasticsearch+https:// if it wants TLS"),
    # As 8.19 answers the client of 9: it names versions, and its own is not among the headers.
    ("Elasticsearch 8",
     lambda world: "elasticsearch://" + world.answering(
         400, b'{"error":{"type":"media_type_header_exception","reason":"A compatible version is required on both '
         b'Content-Type and Accept headers if either one has requested a compatible version"},"status":400}',
         Content_Type="application/json", X_elastic_product="Elasticsearch"),
     "Elasticsearch at http://{} is of another major version; Tandem needs Elasticsearch 9"),
    ("Elasticsearch 10",
     lambda world: "elasticsearch://" + world.answering(
         200, b'{"version":{"number":"10.0.1"},"tagline":"You Know, for Search"}',
         Content_Type="application/vnd.elasticsearch+json;compatible-with=9", X_elastic_product="Elasticsearch"),
     "Elasticsearch at http://{} is version 10.0.1; Tandem needs 9, so name a cluster of that"),
    ("OpenSearch",
     lambda world: "elasticsearch://" + world.answering(
         200, b'{"version":{"distribution":"opensearch","number":"3.1.0"},"tagline":"The OpenSearch Project"}',
         Content_Type="application/json"),
     "what answers at http://{} is no Elasticsearch; correct the host and port in TANDEM_CATALOGUE_URL"),
    ("any web server",
     lambda world: "elasticsearch://" + world.answering(404, b"<html>Not here</html>", Content_Type="text/html"),
     "what answers at http://{} is no Elasticsearch; correct the host and port in TANDEM_CATALOGUE_URL"),
    ("balancer without a server",
     lambda world: "elasticsearch://" + world.answering(503, b"<html>No server</html>", Content_Type="text/html"),
     "Elasticsearch at http://{} answered 503"),
]
EVENTS: list[tuple[str, Fault, str]] = [
    ("certificate of an unknown authority",
     lambda world: f"rediss://:{PASSWORD}@{world.redis_behind()}",
     "its certificate is not trusted (unable to get local issuer certificate); set SSL_CERT_FILE to the file of its "
     "authority"),
    ("no TLS where there is some",
     lambda world: f"redis://:{PASSWORD}@{world.redis_behind()}",
     "it closed the connection; look whether it runs, and whether it wants TLS (rediss://)"),
    ("wrong password",
     lambda world: world.redis.replace(PASSWORD, WRONG),
     "it refuses the user or the password; correct them in the URL"),
    ("wrong user",
     lambda world: world.redis.replace("//:", "//nobody:"),
     "it refuses the user or the password; correct them in the URL"),
    ("no password",
     lambda world: world.redis.replace(f":{PASSWORD}@", ""),
     "it wants a password; put it into the URL, as :password@host or user:password@host"),
    ("database that is not there",
     lambda world: world.redis.removesuffix("/0") + "/99",
     "it has no database 99; correct the number in the URL"),
    ("port where nobody listens",
     lambda _: f"redis://:{PASSWORD}@127.0.0.1:{free_port()}",
     "nothing answers there; start the server or correct the URL"),
    ("host name that is none",
     lambda _: f"redis://:{PASSWORD}@no-such-host.invalid:6379",
     "this host name cannot be found; correct the URL"),
    ("port of Elasticsearch",
     lambda world: world.elasticsearch.replace("elasticsearch://", f"redis://:{PASSWORD}@"),
     "what answers there is no Redis; correct the host and the port in the URL"),
    ("no append-only file",
     lambda world: f"redis://{world.another_redis('--appendonly', 'no')}",
     "it keeps no append-only file, so that a crash would lose events; set appendonly yes (now: CONFIG SET appendonly "
     "yes; for good: in its configuration)"),
    ("snapshots alone",
     lambda world: f"redis://{world.another_redis('--appendonly', 'no', '--save', '60 1')}",
     "it keeps no append-only file, so that a crash would lose events; set appendonly yes (now: CONFIG SET appendonly "
     "yes; for good: in its configuration)"),
    ("eviction of anything",
     lambda world: f"redis://{world.another_redis('--maxmemory-policy', 'allkeys-lfu')}",
     "maxmemory-policy allkeys-lfu drops events when memory is short; set noeviction, or a volatile- policy if a "
     "cache shares the server"),
    ("append-only file that is synced whenever",
     lambda world: f"redis://{world.another_redis('--appendfsync', 'no')}",
     "appendfsync no leaves it open when an event reaches the disk; set appendfsync always or everysec"),
]
# fmt: on


def _check(
    part: str, url: str, line: str, world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_CATALOGUE_URL" if part == "catalogue" else "TANDEM_EVENTS_URL", url)
    began = time.monotonic()
    code, lines = _left(["doctor"], capfd)
    assert (code, [text for text in lines if text.startswith("FAIL") and part in text[:20]]) == (
        1,
        [f"FAIL  {part:<14}  {part} is unavailable: {line}"],
    )
    command = next(COMMANDS)
    again = _left(_words(command, world), capfd)
    assert again == (1, [f"tandem: {part} is unavailable: {line}"]), command
    assert time.monotonic() - began < 10
    assert not [text for text in (*lines, *again[1]) if PASSWORD in text or WRONG in text]


@pytest.mark.parametrize(("fault", "line"), [pytest.param(*case[1:], id=case[0]) for case in CATALOGUE])
def test_a_catalogue_that_cannot_be_used_is_one_line_that_says_what_to_do(
    fault: Fault, line: str, world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = fault(world)
    line = line.format(urlsplit(url).netloc.rpartition("@")[2])
    _check("catalogue", url, line, world, monkeypatch, capfd)


@pytest.mark.parametrize(("fault", "line"), [pytest.param(*case[1:], id=case[0]) for case in EVENTS])
def test_an_event_log_that_cannot_be_used_is_one_line_that_says_what_to_do(
    fault: Fault, line: str, world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url = fault(world)
    parts = urlsplit(url)
    _check("event log", url, f"{parts.hostname}:{parts.port}: {line}", world, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("host", "days", "line"),
    [
        (
            "other.example",
            1,
            "its certificate is of another host; write the name that it was made for in the URL, or have one made for "
            "this name",
        ),
        ("127.0.0.1", -1, "its certificate has expired; renew it on the server"),
    ],
)
def test_trusting_an_authority_is_not_trusting_what_else_it_certified(
    host: str,
    days: int,
    line: str,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(world.authority.file))
    place = world.redis_behind(host=host, days=days)
    _check("event log", f"rediss://:{PASSWORD}@{place}", f"{place}: {line}", world, monkeypatch, capfd)


def test_with_the_authority_and_the_password_both_stores_are_used_over_tls(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = world.elasticsearch_behind(password=PASSWORD)
    monkeypatch.setenv("SSL_CERT_FILE", str(world.authority.file))
    monkeypatch.setenv("TANDEM_CATALOGUE_URL", f"elasticsearch+https://tandem:{PASSWORD}@{place}")
    monkeypatch.setenv("TANDEM_EVENTS_URL", f"rediss://:{PASSWORD}@{world.redis_behind()}/0")
    code, lines = _left(_words("import", world), capfd)
    assert (code, lines[0]) == (0, "jobs:    1 read, 1 created, 0 updated, 0 unchanged, 0 stale, 0 rejected")
    found = {finding.part: finding for finding in findings()}
    assert (found["catalogue"].status, found["event log"].status) == (Status.OK, Status.WARN)
    assert found["catalogue"].text.startswith(f"elasticsearch+https://***@{place}, namespace ")
    assert found["event log"].text.endswith("no events yet; import some, or nothing can be learnt")
    empty(world.elasticsearch, world.namespace)


def test_an_authority_file_that_cannot_be_read_is_said_instead_of_passed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    (found,) = (finding for finding in findings() if finding.part == "settings")
    assert (found.status, found.text) == (
        Status.FAIL,
        "SSL_CERT_FILE: /nowhere.pem cannot be read; correct it or unset it",
    )


def test_servers_that_take_the_connection_and_never_answer_hold_nobody_up(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    catalogue, events = world.silent(), world.silent()
    monkeypatch.setenv("TANDEM_CATALOGUE_URL", f"elasticsearch://{catalogue}")
    monkeypatch.setenv("TANDEM_EVENTS_URL", f"redis://{events}")
    began = time.monotonic()
    _, lines = _left(["doctor"], capfd)
    assert time.monotonic() - began < 12
    assert (
        f"FAIL  catalogue       catalogue is unavailable: Elasticsearch at http://{catalogue} did not answer within "
        "5000 ms; look whether it runs, and at its load"
    ) in lines
    assert (
        f"FAIL  event log       event log is unavailable: {events}: it did not answer in time; look whether it runs, "
        "at its load and at the network"
    ) in lines


def test_an_index_with_a_foreign_mapping_is_left_alone(
    world: World, namespace: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_NAMESPACE", namespace)
    request_json(
        world.elasticsearch, "PUT", f"{namespace}.catalogue", b'{"mappings":{"properties":{"a":{"type":"long"}}}}'
    )
    line = (
        f"{namespace}.catalogue in Elasticsearch is not Tandem's; set TANDEM_NAMESPACE to a name that nobody else uses"
    )
    _check("catalogue", world.elasticsearch, line, world, monkeypatch, capfd)


def test_an_index_that_says_it_is_ours_and_maps_a_field_otherwise_is_refused(
    world: World, namespace: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_NAMESPACE", namespace)
    monkeypatch.setenv("TANDEM_CATALOGUE_URL", world.elasticsearch)
    open_stores(load_settings()).close()
    index = f"{namespace}.jobs.000001"
    body = orjson.loads(request_json(world.elasticsearch, "GET", f"{index}/_mapping"))[index]
    body["mappings"]["properties"]["pay_low"] = {"type": "keyword"}
    request_json(world.elasticsearch, "DELETE", index)
    request_json(world.elasticsearch, "DELETE", f"_index_template/{namespace}.jobs")
    request_json(world.elasticsearch, "PUT", index, orjson.dumps({**body, "aliases": {f"{namespace}.jobs": {}}}))
    line = (
        f"field pay_low of index {index} in Elasticsearch is keyword, and Tandem needs double: it was not made by "
        "Tandem's template; delete the index and import again, or set another TANDEM_NAMESPACE"
    )
    _check("catalogue", world.elasticsearch, line, world, monkeypatch, capfd)


# ---- Full disks ------------------------------------------------------------------------------------------------------


def test_elasticsearch_with_a_full_disk_is_served_from_and_said_to_take_no_writes(
    world: World, namespace: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_NAMESPACE", namespace)
    monkeypatch.setenv("TANDEM_CATALOGUE_URL", world.elasticsearch)
    open_stores(load_settings()).close()
    # What Elasticsearch does itself at the flood-stage watermark.
    request_json(
        world.elasticsearch, "PUT", f"{namespace}.*/_settings", b'{"index.blocks.read_only_allow_delete": true}'
    )
    place = world.elasticsearch.replace("elasticsearch://", "http://")
    line = (
        f"Elasticsearch at {place} takes no writes to {namespace}.catalogue, {namespace}.jobs.000001, "
        f"{namespace}.talents.000001: its disk is full; free some space there (below the flood-stage watermark it "
        "lifts the block by itself)"
    )
    assert f"FAIL  catalogue       {line}" in _left(["doctor"], capfd)[1]
    refused = f"Elasticsearch at {place} takes no writes: its disk is full; free some space there"
    assert _left(_words("import", world), capfd) == (1, [f"tandem: catalogue is unavailable: {refused}"])
    code, lines = _left(["serve"], capfd)
    assert (code, lines[-1]) == (1, "tandem: there is no model to serve: run `tandem train` first")
    assert orjson.loads(lines[0])["why"] == line


def test_redis_that_cannot_write_its_append_only_file_acknowledges_nothing_and_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # A server that may write files of 64 KB and no more; with `everysec` it lives on and refuses writes.
    limited = tmp_path / "limited-server"
    limited.write_text(f'#!/bin/sh\ntrap "" XFSZ\nulimit -f 128\nexec "{wheel_binary()}" "$@"\n', encoding="utf-8")
    limited.chmod(0o755)
    with running_redis(tmp_path / "redis", "--appendfsync", "everysec", binary=str(limited)) as server:
        events = tmp_path / "events.csv"
        rows = (f"t{number % 50},j{number % 70},VIEW\n" for number in range(2_000))
        events.write_text("talent_id,job_id,type\n" + "".join(rows), encoding="utf-8")
        monkeypatch.setenv("TANDEM_EVENTS_URL", f"redis://127.0.0.1:{server.port}")
        code, lines = _left(["import", "--events", str(events)], capfd)
        assert (code, len(lines)) == (1, 1)
        assert lines[0].startswith(f"tandem: event log is unavailable: 127.0.0.1:{server.port}: ")
        place = f"127.0.0.1:{server.port}"
        line = f"{place}: it cannot write its append-only file; free space on its disk, and look into its log"
        _check("event log", f"redis://{place}", line, world, monkeypatch, capfd)


def test_a_full_disk_under_the_embedded_stores_is_one_line(world: World, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.csv"
    jobs.write_text("job_id,title\n" + "".join(f"j{n},Baker of bread {n}\n" for n in range(3_000)), encoding="utf-8")
    environment = {**os.environ, "TANDEM_DATA_DIR": str(tmp_path / "data")}
    words = [sys.executable, "-m", "gateway", "import", "--jobs", str(jobs)]
    done = subprocess.run(
        ["sh", "-c", 'trap "" XFSZ; ulimit -f 400; exec "$@"', "sh", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"tandem: catalogue is unavailable: {tmp_path}/data/catalogue.db: reading or writing failed; look whether its "
        "disk is full or broken\n"
    )


# ---- URLs and secrets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(
            ("TANDEM_CATALOGUE_URL", url)
            for url in (
                "elasticsearch:/tandem:s3cret@host",
                "elasticsearch:tandem:s3cret@host",
                "tandem:s3cret@host",
                "elastic://tandem:s3cret@host",
                "https://tandem:s3cret@host:9200",
                "elasticsearch://tandem:s3cret@",
                "elasticsearch://tandem:s3cret@host:99999",
                "elasticsearch://tandem:s3cret@host:0",
                "elasticsearch://tandem:s3cret@host:92x",
                "elasticsearch://tandem:s3cret@host/index",
                "elasticsearch://tandem:s3#cret@host",
                "elasticsearch://tandem:s3cret/ @host",
                "elasticsearch://tandem:s3cret@host?ca_certs=/x",
                "elasticsearch+https://host?password=s3cret",
                "elasticsearch+https://tandem:s3cret@host?verify_certs=false",
                "elasticsearch://[tandem:s3cret@host",
            )
        ),
        *(
            ("TANDEM_EVENTS_URL", url)
            for url in (
                "redis:/:s3cret@host",
                "redis:s3cret@host",
                "reddis://:s3cret@host",
                "redis://:s3cret@",
                "redis://:s3cret@host/db-name",
                "redis://:s3cret@host:63x",
                "redis://:s3cret@host:0",
                "redis://:s3/cret@host",
                "redis://:s3#cret@host",
                "redis://host?password=s3cret",
                "rediss://:s3cret@host?ssl_cert_reqs=none",
            )
        ),
        ("TANDEM_CACHE_URL", "rediz://:s3cret@host"),
        ("TANDEM_MODELS_URL", "s3://me:s3cret@bucket"),
    ],
)
def test_a_misspelt_url_is_one_line_that_names_the_setting_and_no_password(
    variable: str, value: str, world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    for words, begin in (
        (["doctor"], f"FAIL  settings        {variable}: allowed is "),
        (["settings"], f"tandem: {variable}: allowed is "),
        (_words(next(COMMANDS), world), f"tandem: {variable}: allowed is "),
    ):
        code, lines = _left(words, capfd)
        assert (code, lines[-1].startswith(begin)) == (1, True)
        assert not [line for line in lines if "cret" in line]


def test_what_is_printed_and_kept_of_a_good_url_holds_no_password(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_CATALOGUE_URL", f"elasticsearch://tandem:{PASSWORD}@host:9200")
    monkeypatch.setenv("TANDEM_EVENTS_URL", f"redis://tandem:{PASSWORD}@host:6379/0")
    monkeypatch.setenv("TANDEM_SERVICE_TOKEN", PASSWORD)
    code, lines = _left(["settings"], capfd)
    assert code == 0
    assert sum("//***@host" in line for line in lines) == 2
    assert PASSWORD not in "".join(lines) + repr(load_settings())


def test_a_path_with_an_at_sign_is_shown_whole(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_DATA_DIR", "/srv/tandem@home/data")
    assert any("/srv/tandem@home/data" in line for line in _left(["settings"], capfd)[1])


def test_an_address_of_ip_version_6_is_one(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setenv("TANDEM_CATALOGUE_URL", "elasticsearch://[::1]:1")
    (found,) = (finding for finding in findings() if finding.part == "catalogue")
    assert "Elasticsearch at http://[::1]:1 cannot be reached" in found.text
