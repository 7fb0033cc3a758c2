"""GraphQL requests out of HTTP ones: size, media type, encoding, JSON and shape, each refused with its own status."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from gateway.graphql.persisted import OperationRequest
from gateway.http.headers import header
from gateway.http.problem import HttpProblem

MAX_BODY = 1_000_000  # bytes: 500 events have about 150,000
PASSED_OVER = 64_000_000  # bytes of a body that is too large that are still taken in, and dropped
PASSED_OVER_SECONDS = 5.0
_PARAMETERS = ("query", "documentId", "variables", "operationName", "extensions")


async def sent(request: Request) -> Any:
    """The JSON of a GET or POST. Raises HttpProblem with a 4xx status for anything that is none."""
    if request.scope["method"] == "GET":
        return _from_query_string(request)
    _check_media_type(request)
    try:
        body = await _body(request)
    except ClientDisconnect as error:  # nobody reads this, and it is no failure of ours that somebody counts
        raise HttpProblem(400, "BAD_REQUEST", "the connection ended before the body did") from error
    return _decoded(body, "the body")


def checked_requests(given: Any, most: int) -> OperationRequest | list[OperationRequest]:
    """The operation, or the batch of at most so many, in what was sent. Raises HttpProblem."""
    if not isinstance(given, list) or most == 1:
        return checked_request(given)
    if not 1 <= len(given) <= most:
        text = f"a batch has 1 to {most} operations (TANDEM_BATCH_OPERATIONS); got {len(given)}"
        raise HttpProblem(400, "BAD_REQUEST", text)
    return [checked_request(one) for one in given]


def _from_query_string(request: Request) -> dict[str, Any]:
    given = {name: value for name in _PARAMETERS if (value := request.query_params.get(name))}
    return {
        name: _decoded(value.encode(), name) if name in ("variables", "extensions") else value
        for name, value in given.items()
    }


def _check_media_type(request: Request) -> None:
    """Only JSON: a form or plain text could be sent by any page of any site without asking first."""
    media_type, *parameters = (header(request.scope, b"content-type") or "").split(";")
    charset = next(
        (part.partition("=")[2] for part in map(str.strip, parameters) if part.lower().startswith("charset=")), ""
    )
    if media_type.strip().lower() != "application/json" or charset.strip('"').lower() not in ("", "utf-8", "utf8"):
        raise HttpProblem(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json in UTF-8")
    if (header(request.scope, b"content-encoding") or "identity").lower() != "identity":
        raise HttpProblem(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Encoding is not supported; send the body as it is")


async def _body(request: Request) -> bytes:
    """The body, held no further than its limit."""
    announced = header(request.scope, b"content-length") or ""
    if announced.isdigit() and int(announced[:20]) > MAX_BODY:
        await _pass_over(request)
        raise _too_large()
    parts, size, has_more = [], 0, True
    while has_more:  # as Request.stream, without its generator
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        has_more = message.get("more_body", False)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            if has_more:
                await _pass_over(request)
            raise _too_large()
    return b"".join(parts)


async def _pass_over(request: Request) -> None:
    """Let the rest of a body go by: most clients read no answer before they have sent everything.

    What takes longer than the limits gets its answer, and the end of the connection, while it is still sending.
    """
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(PASSED_OVER_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > PASSED_OVER:
                    return


def _too_large() -> HttpProblem:
    text = f"a body has at most {MAX_BODY} bytes"
    return HttpProblem(413, "PAYLOAD_TOO_LARGE", text, {"Connection": "close"})


def _decoded(text: bytes, what: str) -> Any:
    # orjson alone: it refuses NaN, lone surrogates, broken UTF-8 and depths at which Python's own recursion fails.
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise HttpProblem(400, "BAD_REQUEST", f"{what} is not JSON: {error}"[:300]) from error


def checked_request(given: Any) -> OperationRequest:
    """The operation in a decoded body. Raises HttpProblem."""
    if isinstance(given, list):
        raise HttpProblem(400, "BAD_REQUEST", "send one operation per request: TANDEM_BATCH_OPERATIONS allows no more")
    if not isinstance(given, dict):
        raise HttpProblem(400, "BAD_REQUEST", "the body must be a JSON object with a `query`")
    query, name, document_id = given.get("query"), given.get("operationName"), given.get("documentId")
    for field, value in (("operationName", name), ("documentId", document_id)):
        if not isinstance(value, str | None):
            raise HttpProblem(400, "BAD_REQUEST", f"`{field}` must be text or null")
    for field in ("variables", "extensions"):
        if not isinstance(given.get(field), dict | None):
            raise HttpProblem(400, "BAD_REQUEST", f"`{field}` must be an object or null")
    is_named = bool(document_id) or "persistedQuery" in (given.get("extensions") or {})
    if is_named and query == "":
        query = None  # graphql-ws cannot leave it out
    if not (isinstance(query, str) and query.strip()) and not (is_named and query is None):
        raise HttpProblem(400, "BAD_REQUEST", "`query` must be text that is not empty")
    return OperationRequest(
        query=query,
        document_id=document_id or None,
        variables=given.get("variables"),
        operation_name=name or None,
        extensions=given.get("extensions"),
    )
