"""GraphiQL in a real Chromium that reaches loopback alone: it opens, runs its first query and shows the answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import strawberry
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from strawberry.asgi import GraphQL

from gateway.http.graphiql import bundle, cdn, page_response, routes

HERE = Path(__file__).parent
# What the page showed, for somebody who wants to look; .gitignore keeps it out.
SCREENSHOTS = HERE.parents[1] / "build" / "screenshots"
TIMEOUT_SECONDS = 120


@strawberry.type
class Job:
    jobId: str  # noqa: N815 - the name that the page's first query asks for
    title: str
    skills: list[str]


@strawberry.type
class Reason:
    text: str


@strawberry.type
class Edge:
    rank: int
    score: float
    node: Job
    reasons: list[Reason]


@strawberry.type
class Recommendations:
    strategy: str
    edges: list[Edge]


@strawberry.type
class Talent:
    talentId: str  # noqa: N815
    title: str

    @strawberry.field
    def recommendedJobs(self, first: int = 20) -> Recommendations:  # noqa: N802
        job = Job(jobId="j1", title="Build a bridge", skills=["Steel"])
        edge = Edge(rank=1, score=0.5, node=job, reasons=[Reason(text="shares Steel")])
        return Recommendations(strategy="COLLABORATIVE", edges=[edge][:first])


@strawberry.type
class Talents:
    nodes: list[Talent]


@strawberry.type
class Query:
    @strawberry.field
    def talents(self, first: int = 20) -> Talents:
        return Talents(nodes=[Talent(talentId="t1", title="Welder")][:first])


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """A server whose endpoint understands the page's first query and nothing else; yields the endpoint's address."""
    endpoint = GraphQL[None, None](strawberry.Schema(Query), graphql_ide=None)

    async def graphql(request: Request) -> Response:
        if request.method == "GET":
            return page_response(request, directory=directory)
        return await endpoint.run(request)

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
        timeout=TIMEOUT_SECONDS,
        env=os.environ,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    seen: dict[str, Any] = json.loads(finished.stdout)
    return seen


def test_the_bundle_works_in_a_browser_without_asking_another_host_for_anything() -> None:
    assert bundle.is_built(), "there is no bundle to look at: run `make graphiql`"
    with serving(bundle.BUILT) as url:
        seen = walk(url, "graphiql.png")

    assert seen["consoleErrors"] == []
    assert seen["violations"] == []
    assert seen["foreignRequests"] == []
    assert seen["failures"] == []
    assert seen["policy"] == bundle.POLICY
    assert (seen["title"], seen["logo"]) == ("Tandem", "Tandem")
    assert "Build a bridge" in seen["answer"]
    assert "shares Steel" in seen["answer"]
    assert seen["headerEditor"] is True
    assert "Query" in seen["docs"]
    # The editor's language services run in workers of this origin, not in blobs.
    origin = url.removesuffix("/graphql")
    assert {urlsplit(worker).path.split("/")[-1].split("-")[0] for worker in seen["workers"]} >= {
        "graphql.worker",
        "json.worker",
    }
    assert all(worker.startswith(f"{origin}/graphiql/assets/") for worker in seen["workers"])


def test_without_a_bundle_the_page_works_from_the_pinned_files_of_the_cdn(tmp_path: Path) -> None:
    with serving(tmp_path) as url:
        seen = walk(url, "graphiql-cdn.png", "--cdn")

    # A file that differed from its hash by one byte would be an error here.
    assert seen["consoleErrors"] == []
    assert seen["violations"] == []
    assert seen["failures"] == []
    assert sorted(set(seen["foreignRequests"])) == sorted(file.url for file in (*cdn.SCRIPTS, *cdn.STYLES))
    assert seen["policy"] == cdn.POLICY
    assert (seen["title"], seen["logo"]) == ("Tandem", "Tandem")
    assert "Build a bridge" in seen["answer"]


def test_without_a_bundle_and_without_the_cdn_the_page_says_what_is_wrong(tmp_path: Path) -> None:
    with serving(tmp_path) as url:
        seen = walk(url, "graphiql-cut-off.png", "--cut-off")

    assert seen["text"].startswith("GraphiQL could not be loaded: the CDN is out of reach")
    assert seen["violations"] == []
