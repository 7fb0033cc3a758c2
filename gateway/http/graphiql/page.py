"""The page at `GET /graphql` for a browser: the built bundle's where there is one, the CDN's where there is none."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from gateway.http.graphiql import bundle, cdn

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

# Names no id, so that it has an answer on any marketplace.
DEFAULT_QUERY = """\
# Jobs for three talents, and why.
# Ctrl-Enter runs this query.
query RecommendedJobs {
  talents(first: 3) {
    nodes {
      talentId
      title
      recommendedJobs(first: 5) {
        strategy
        edges {
          rank
          score
          node { jobId title skills }
          reasons { text }
        }
      }
    }
  }
}
"""
_EMPTY = '<meta name="tandem-default-query" content=""'


def page_response(_request: Request, *, default_query: str = DEFAULT_QUERY, directory: Path = bundle.BUILT) -> Response:
    """Answer a browser that opens the endpoint's address; an endpoint in Starlette's sense.

    `default_query` is what a new visitor's first tab holds.
    """
    if bundle.is_built(directory):
        built = (directory / "index.html").read_text(encoding="utf-8")
        html = built.replace(_EMPTY, f'<meta name="tandem-default-query" content="{escape(default_query)}"', 1)
        policy = bundle.POLICY
    else:
        html, policy = cdn.build_page(default_query), cdn.POLICY
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
