"""A real Elasticsearch for the tests: one for the whole session, started when the first test asks for it.

ELASTICSEARCH_TEST_URL names one that is running already; each test takes a namespace of its own in it.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import secrets
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import orjson
import pytest

_LAUNCHER = Path(__file__).parents[1] / "tools" / "elasticsearch" / "run.py"
_names = itertools.count()


def launcher() -> ModuleType:
    """tools/elasticsearch/run.py."""
    spec = importlib.util.spec_from_file_location("elasticsearch_launcher", _LAUNCHER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port() -> int:
    """A port that is free, and that a hundred above is free, too: the node takes both."""
    while True:
        with socket.socket() as http, socket.socket() as transport:
            http.bind(("127.0.0.1", 0))
            port = int(http.getsockname()[1])
            try:
                transport.bind(("127.0.0.1", port + 100))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture(scope="session")
def elasticsearch_url() -> Iterator[str]:
    """The catalogue URL of a running server; skips, which fails in CI, where there can be none."""
    if given := os.environ.get("ELASTICSEARCH_TEST_URL"):
        yield given
        return
    with running_elasticsearch() as url:
        yield url


@contextmanager
def running_elasticsearch(settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """The catalogue URL of a server of one's own, which ends with the block, or with the tests if they are killed."""
    run = launcher()
    if missing := run.lacks():
        pytest.skip(f"a real Elasticsearch needs {missing}")
    port = free_port()
    run.start(port, "512m", run.DEFAULT_DIRECTORY, settings=settings, ends_with_caller=True)
    try:
        yield f"elasticsearch://127.0.0.1:{port}"
    finally:
        run.stop(port, run.DEFAULT_DIRECTORY)


@pytest.fixture(scope="module")
def kept_namespace(elasticsearch_url: str) -> Iterator[str]:
    """A namespace for all tests of a file, which call `empty` between them."""
    name = new_namespace()
    yield name
    remove(elasticsearch_url, name)


@pytest.fixture
def namespace(elasticsearch_url: str) -> Iterator[str]:
    """A namespace that no other test has; its indices go with the test."""
    name = new_namespace()
    yield name
    remove(elasticsearch_url, name)


def new_namespace() -> str:
    """A name that nobody else has."""
    return f"test-{secrets.token_hex(4)}-{next(_names)}"


def remove(url: str, namespace: str) -> None:
    """Delete a namespace's indices and templates."""
    found = orjson.loads(request_json(url, "GET", f"{namespace}.*?filter_path=*.aliases"))
    for name in found:
        request_json(url, "DELETE", name)
    names = orjson.loads(request_json(url, "GET", "_index_template?filter_path=index_templates.name"))
    for one in names.get("index_templates", []):
        if one["name"].startswith(f"{namespace}."):
            request_json(url, "DELETE", f"_index_template/{one['name']}")


def empty(url: str, namespace: str) -> None:
    """Take out every record and counter: a hundred times faster than new indices. No catalogue may be open."""
    for alias in (f"{namespace}.talents", f"{namespace}.jobs"):
        hits = orjson.loads(request_json(url, "GET", f"{alias}/_search?size=10000&_source=false"))["hits"]["hits"]
        lines = [orjson.dumps({"delete": {"_index": hit["_index"], "_id": hit["_id"]}}) for hit in hits]
        if lines:
            request_json(url, "POST", "_bulk?refresh=true", b"\n".join(lines) + b"\n")
    lines = [b'{"delete": {"_id": "ordinals-talent"}}', b'{"delete": {"_id": "ordinals-job"}}', b""]
    request_json(url, "POST", f"{namespace}.catalogue/_bulk?refresh=true", b"\n".join(lines))


def request_json(url: str, method: str, path: str, body: bytes | None = None) -> bytes:
    """The server's own answer, past the adapter."""
    request = urllib.request.Request(  # noqa: S310
        f"{url.replace('elasticsearch://', 'http://')}/{path}",
        body,
        {"content-type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return bytes(answer.read())
