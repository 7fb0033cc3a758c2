"""The GraphiQL page in the browser: `page_response` answers `GET /graphql`, `routes` serve what the page loads."""

from __future__ import annotations

from gateway.http.graphiql.assets import routes
from gateway.http.graphiql.page import page_response

__all__ = ["page_response", "routes"]
