"""Failures of HTTP itself, before GraphQL has a say: each is answered as JSON in GraphQL's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

JSON = "application/json"
NOT_CACHED = {"Cache-Control": "private, no-store"}  # every answer is one viewer's
_CACHE_CONTROL = (b"cache-control", b"private, no-store")


class HttpProblem(Exception):  # noqa: N818 — a problem in the sense of HTTP, not only an error
    """A request that is refused as a whole."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def problem_response(problem: HttpProblem) -> Response:
    """The answer to a refused request."""
    body = {"errors": [{"message": str(problem), "extensions": {"code": problem.code}}]}
    return json_response(body, status=problem.status, headers=problem.headers)


class JsonResponse(Response):
    """What Starlette makes of the same arguments, for the headers that every answer has."""

    def __init__(self, body: bytes, status: int, media_type: str) -> None:
        self.body = body
        self.status_code = status
        self.background = None
        length = (b"content-length", str(len(body)).encode())
        self.raw_headers = [_CACHE_CONTROL, length, (b"content-type", f"{media_type}; charset=utf-8".encode())]


def json_response(
    body: Any, *, status: int = 200, media_type: str = JSON, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON that no cache keeps."""
    # Keys may be enums or other non-text only by mistake; orjson refuses them, and that is wanted.
    encoded = orjson.dumps(body)
    if not headers:
        return JsonResponse(encoded, status, media_type)
    return Response(
        encoded, status_code=status, headers={**NOT_CACHED, **headers}, media_type=f"{media_type}; charset=utf-8"
    )
