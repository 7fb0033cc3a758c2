"""What the GraphiQL page and its files are served as, with and without a built bundle."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.http.graphiql import bundle, cdn, page_response, routes
from gateway.http.graphiql.examples import JOB, TABS, TALENT, Tab
from tests.gateway.served_market import ServedMarket

SOURCE = Path(__file__).parents[2] / "graphiql"
SCRIPT = "console.log('Tandem');\n"


class Page(HTMLParser):
    """The elements of a page that load something, and what its meta elements say."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[dict[str, str | None]] = []
        self.meta: dict[str | None, str | None] = {}
        self.inline_scripts = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "meta" and "name" in attributes:
            self.meta[attributes["name"]] = attributes["content"]
        if tag == "script" or (tag == "link" and attributes["rel"] == "stylesheet"):
            self.loads.append(attributes)
            self.inline_scripts += tag == "script" and "src" not in attributes


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A bundle of one script, behind the page's real source."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "main-abc123.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (tmp_path / "assets" / "notes.txt.gz").write_bytes(gzip.compress(b"not for the browser"))
    (tmp_path / "index.html").write_text((SOURCE / "index.html").read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def client(directory: Path, tabs: tuple[Tab, ...] = TABS) -> httpx.AsyncClient:
    def page(request: Request) -> Response:
        return page_response(request, tabs=tabs, directory=directory)

    app = Starlette(routes=[Route("/graphql", page), *routes(directory)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tandem")


def directives(response: httpx.Response) -> dict[str, list[str]]:
    policy = response.headers["content-security-policy"]
    return {words[0]: words[1:] for words in (directive.split() for directive in policy.split(";"))}


async def test_the_page_of_a_bundle_allows_this_host_alone(built: Path) -> None:
    response = await client(built).get("/graphql")

    assert response.status_code == 200
    assert directives(response) == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "worker-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    assert Page(response.text).inline_scripts == 0


async def test_a_page_is_asked_for_again_at_every_visit_and_never_sniffed(built: Path) -> None:
    headers = (await client(built).get("/graphql")).headers

    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert headers["vary"] == "Accept"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("has_bundle", [True, False])
async def test_the_tabs_are_on_the_page_whatever_is_in_them(built: Path, tmp_path: Path, has_bundle: bool) -> None:
    query = '{ talent(talentId: "\\"><script>alert(1)</script>") { title } } # \\1 & "é"\n'
    directory = built if has_bundle else tmp_path / "nothing"

    meta = Page((await client(directory, (Tab(query, '{"a": 1}'),)).get("/graphql")).text).meta

    assert json.loads(meta["tandem-tabs"]) == [{"query": query, "variables": '{"a": 1}'}]


def test_the_first_tab_needs_no_id_of_this_marketplace() -> None:
    assert TABS[0].variables == ""
    assert "Id:" not in TABS[0].query


@pytest.mark.parametrize(
    "tab", [tab for tab in TABS if "subscription" not in tab.query], ids=lambda tab: tab.query[:40]
)
async def test_every_tab_is_answered_without_an_error_and_with_something(market: ServedMarket, tab: Tab) -> None:
    given = tab.variables.replace(TALENT, "t1").replace(JOB, "j9")

    data = await market.data(tab.query, json.loads(given) if given else None)

    assert all(value is not None for value in data.values())


async def test_an_asset_is_sent_gzipped_and_kept_by_the_browser_for_good(built: Path) -> None:
    response = await client(built).get("/graphiql/assets/main-abc123.js", headers={"Accept-Encoding": "gzip, br"})

    assert response.status_code == 200
    assert response.text == SCRIPT
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_client_that_cannot_gunzip_gets_the_asset_plain(built: Path) -> None:
    response = await client(built).get("/graphiql/assets/main-abc123.js", headers={"Accept-Encoding": "identity"})

    assert response.text == SCRIPT
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize(
    "name",
    ["absent.js", "notes.txt", "main-abc123.js.gz", "..%2f..%2fpage.py", "%2e%2e%2fmain-abc123.js", ".js", "a%00.js"],
)
async def test_nothing_but_an_asset_of_the_bundle_is_served(built: Path, name: str) -> None:
    response = await client(built).get(f"/graphiql/assets/{name}")

    assert response.status_code == 404
    assert "immutable" not in response.headers.get("cache-control", "")


async def test_without_a_bundle_the_page_loads_pinned_and_hashed_files_of_one_cdn(tmp_path: Path) -> None:
    response = await client(tmp_path).get("/graphql")
    foreign = [load for load in Page(response.text).loads if "integrity" in load]
    own = [load["src"] for load in Page(response.text).loads if "integrity" not in load]

    assert [load.get("src") or load.get("href") for load in foreign] == [
        "https://unpkg.com/graphiql@3.8.3/graphiql.min.css",
        "https://unpkg.com/@graphiql/plugin-explorer@1.0.2/dist/style.css",
        "https://unpkg.com/react@18.3.1/umd/react.production.min.js",
        "https://unpkg.com/react-dom@18.3.1/umd/react-dom.production.min.js",
        "https://unpkg.com/graphiql@3.8.3/graphiql.min.js",
        "https://unpkg.com/@graphiql/plugin-explorer@1.0.2/dist/index.umd.js",
    ]
    for load in foreign:
        algorithm, digest = str(load["integrity"]).split("-", 1)
        assert (algorithm, len(base64.b64decode(digest))) == ("sha384", hashlib.sha384().digest_size)
        assert load["crossorigin"] == "anonymous"
    assert own == ["/graphiql/cdn.js"]


async def test_without_a_bundle_the_policy_names_those_files_and_no_host(tmp_path: Path) -> None:
    response = await client(tmp_path).get("/graphql")
    policy = directives(response)

    assert policy["script-src"] == ["'self'", *(file.url for file in cdn.SCRIPTS)]
    assert policy["style-src"] == ["'self'", "'unsafe-inline'", *(file.url for file in cdn.STYLES)]
    assert policy["connect-src"] == ["'self'"]
    assert policy["default-src"] == ["'none'"]
    assert "https://unpkg.com" not in {word for words in policy.values() for word in words}
    assert Page(response.text).inline_scripts == 0


async def test_without_a_bundle_the_page_and_the_log_say_so(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        page = (await client(tmp_path).get("/graphql")).text

    assert logs == [
        {
            "event": "graphiql_not_built",
            "log_level": "warning",
            "page_loads_from": "https://unpkg.com",
            "remedy": "make graphiql",
        }
    ]
    assert re.search(r"GraphiQL 3 from unpkg\.com, .*make graphiql", page, re.DOTALL)


def test_with_a_bundle_nothing_is_logged(built: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        client(built)

    assert logs == []


async def test_the_cdn_pages_own_script_comes_from_here(tmp_path: Path) -> None:
    response = await client(tmp_path).get("/graphiql/cdn.js")

    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert "createRoot" in response.text


async def test_a_bundle_built_while_serving_is_used_from_the_next_visit(built: Path, tmp_path: Path) -> None:
    page = (built / "index.html").read_text(encoding="utf-8")
    (built / "index.html").unlink()
    browser = client(built)
    assert "unpkg.com" in (await browser.get("/graphql")).text

    (built / "index.html").write_text(page, encoding="utf-8")

    assert "unpkg.com" not in (await browser.get("/graphql")).text


def test_the_bundle_is_built_to_where_it_is_served_from() -> None:
    config = (SOURCE / "vite.config.js").read_text(encoding="utf-8")

    assert SOURCE.parent / "gateway" / "http" / "graphiql" / "built" == bundle.BUILT
    assert '"../gateway/http/graphiql/built"' in config
    assert 'base: "/graphiql/"' in config
