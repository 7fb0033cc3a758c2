"""The files that the GraphiQL page loads from this host, under `/graphiql/`."""

from __future__ import annotations

import gzip
import re
from pathlib import PurePath
from typing import TYPE_CHECKING

import structlog
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.http.graphiql import bundle, cdn

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

_log = structlog.get_logger(__name__)

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff2": "font/woff2",
}
# A name as the bundler writes it: no separator and no leading dot, so it can't leave the directory.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}


def routes(directory: Path = bundle.BUILT) -> list[Route]:
    """The routes behind the page; a start without a bundle is logged, as the page then leans on a CDN."""
    if not bundle.is_built(directory):
        _log.warning("graphiql_not_built", page_loads_from=cdn.HOST, remedy="make graphiql")

    # Not coroutines: they read files, so Starlette runs them on its threads.
    def asset(request: Request) -> Response:
        return _asset_response(request, directory / "assets")

    return [Route("/graphiql/assets/{name}", asset), Route("/graphiql/cdn.js", _cdn_script)]


def _asset_response(request: Request, assets: Path) -> Response:
    name = request.path_params["name"]
    media_type = _MEDIA_TYPES.get(PurePath(name).suffix)
    path = assets / f"{name}.gz"
    if media_type is None or not _NAME.fullmatch(name) or not path.is_file():
        return PlainTextResponse("No such asset.", status_code=404, headers={"Cache-Control": "no-store"})
    # The hash of the content is in the name, so a browser need never ask again.
    headers = _HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return FileResponse(path, media_type=media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(gzip.decompress(path.read_bytes()), media_type=media_type, headers=headers)


def _cdn_script(_request: Request) -> Response:
    headers = _HEADERS | {"Cache-Control": "no-cache"}
    return FileResponse(cdn.SCRIPT, media_type=_MEDIA_TYPES[".js"], headers=headers)
