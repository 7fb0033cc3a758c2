"""An answer in parts as one HTTP response: multipart/mixed, each part JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import StreamingResponse

from gateway.graphql.incremental import Parts
from gateway.http.negotiation import MULTIPART
from gateway.http.problem import NOT_CACHED

_BOUNDARY = "-"  # what clients take when they overlook the parameter


def parts_response(first: Any, parts: Parts) -> StreamingResponse:
    """The first part, and the others as they come."""
    media_type = f'{MULTIPART}; boundary="{_BOUNDARY}"; {parts.form.value}'
    # The header tells nginx to let each part go at once.
    headers = {**NOT_CACHED, "X-Accel-Buffering": "no"}
    return StreamingResponse(_body(first, parts), headers=headers, media_type=media_type)


async def _body(first: Any, parts: Parts) -> AsyncGenerator[bytes]:
    """Each chunk ends with a boundary: by it a client knows that a part is whole."""
    boundary = f"\r\n--{_BOUNDARY}".encode()
    yield boundary + _part(first) + boundary
    async with aclosing(parts.rest()) as rest:
        async for part in rest:
            yield _part(part) + boundary
    yield b"--\r\n"


def _part(content: Any) -> bytes:
    return b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n" + orjson.dumps(content)
