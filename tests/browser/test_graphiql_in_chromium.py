"""GraphiQL in a real Chromium that reaches loopback alone: it opens, runs its first query and shows the answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http.graphiql import bundle, cdn, page_response, routes
from tests.demo_gateway import demo_gateway

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What the page showed, for somebody who wants to look; .gitignore keeps it out.
SCREENSHOTS = ROOT / "build" / "screenshots"
WALK_SECONDS = 120


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with demo_gateway(tmp_path_factory.mktemp("data")) as address:
        yield address


@contextmanager
def without_a_bundle(gateway: str, directory: Path) -> Iterator[str]:
    """The address of a page that has no bundle, before the same gateway."""

    async def graphql(request: Request) -> Response:
        if request.method == "GET":
            return page_response(request, directory=directory)
        async with httpx.AsyncClient() as client:
            body = await request.body()
            answer = await client.post(gateway, content=body, headers={"Content-Type": "application/json"})
        return Response(answer.content, answer.status_code, media_type="application/json")

    app = Starlette(routes=[Route("/graphql", graphql, methods=["GET", "POST"]), *routes(directory)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.02)
            assert thread.is_alive()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/graphql"
    finally:
        server.should_exit = True
        thread.join()


def walk(url: str, screenshot: str, *options: str) -> dict[str, Any]:
    """What a walk through the page saw; see graphiql.mjs."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    finished = subprocess.run(
        [shutil.which("node") or "node", HERE / "graphiql.mjs", url, SCREENSHOTS / screenshot, *options],
        capture_output=True,
        text=True,
        timeout=WALK_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    seen: dict[str, Any] = json.loads(finished.stdout)
    return seen


def assert_answered(seen: dict[str, Any]) -> None:
    """The first query was answered, and the answer is on the page."""
    assert '"talentId": "tal-' in seen["answer"]
    assert '"recommendedJobs"' in seen["answer"]
    assert '"rank": 1' in seen["answer"]
    assert '"errors"' not in seen["answer"]


def test_the_bundle_works_in_a_browser_without_asking_another_host_for_anything(gateway: str) -> None:
    assert bundle.is_built(), "there is no bundle to look at: run `make graphiql`"

    seen = walk(gateway, "graphiql.png")

    assert seen["consoleErrors"] == []
    assert seen["violations"] == []
    assert seen["foreignRequests"] == []
    assert seen["failures"] == []
    assert seen["policy"] == bundle.POLICY
    assert (seen["title"], seen["logo"]) == ("Tandem", "Tandem")
    assert seen["headerEditor"] is True
    assert "Query" in seen["docs"]
    assert_answered(seen)
    names = [
        "RecommendedJobs",
        "HomeScreen",
        "ClientPage",
        "FiltersAndFacets",
        "Explain",
        "RecordEvents",
        "ListChanged",
    ]
    assert [name.strip() for name in seen["tabs"]] == names
    assert '"cause": "EVENTS"' in seen["told"]
    assert (seen["completed"], seen["underlined"]) == (True, True)
    # The editor's language services run in workers of this origin, not in blobs.
    assets = f"{gateway.removesuffix('/graphql')}/graphiql/assets/"
    assert {urlsplit(worker).path.split("/")[-1].split("-")[0] for worker in seen["workers"]} >= {
        "graphql.worker",
        "json.worker",
    }
    assert all(worker.startswith(assets) for worker in seen["workers"])


def test_without_a_bundle_the_page_works_from_the_pinned_files_of_the_cdn(gateway: str, tmp_path: Path) -> None:
    with without_a_bundle(gateway, tmp_path) as url:
        seen = walk(url, "graphiql-cdn.png", "--cdn")

    # A file that differed from its hash by one byte would be an error here.
    assert seen["consoleErrors"] == []
    assert seen["violations"] == []
    assert seen["failures"] == []
    assert sorted(set(seen["foreignRequests"])) == sorted(file.url for file in (*cdn.SCRIPTS, *cdn.STYLES))
    assert seen["policy"] == cdn.POLICY
    assert (seen["title"], seen["logo"]) == ("Tandem", "Tandem")
    assert_answered(seen)


def test_without_a_bundle_and_without_the_cdn_the_page_says_what_is_wrong(gateway: str, tmp_path: Path) -> None:
    with without_a_bundle(gateway, tmp_path) as url:
        seen = walk(url, "graphiql-cut-off.png", "--cut-off")

    assert seen["text"].startswith("GraphiQL could not be loaded: the CDN is out of reach")
    assert seen["violations"] == []
