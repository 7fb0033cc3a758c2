"""The page at `GET /graphql` for a browser: the built bundle's where there is one, the CDN's where there is none."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from gateway.http.graphiql import bundle, cdn
from gateway.http.graphiql.examples import TABS, Tab, tabs_json

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

_EMPTY = '<meta name="tandem-tabs" content="[]"'


def page_response(_request: Request, *, tabs: tuple[Tab, ...] = TABS, directory: Path = bundle.BUILT) -> Response:
    """Answer a browser that opens the endpoint's address; an endpoint in Starlette's sense.

    tabs: what somebody finds who opens the page for the first time.
    """
    if bundle.is_built(directory):
        built = (directory / "index.html").read_text(encoding="utf-8")
        html = built.replace(_EMPTY, f'<meta name="tandem-tabs" content="{escape(tabs_json(tabs))}"', 1)
        policy = bundle.POLICY
    else:
        html, policy = cdn.build_page(tabs_json(tabs)), cdn.POLICY
    return HTMLResponse(
        html,
        headers={
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            # The names of the assets change with every build, and the same address answers JSON to other callers.
            "Cache-Control": "no-cache",
            "Vary": "Accept",
        },
    )
