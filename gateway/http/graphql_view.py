"""/graphql: one HTTP request in, one GraphQL answer out, and GraphiQL for a browser.

Follows the GraphQL-over-HTTP specification: with `application/graphql-response+json` a request that could not be
executed is 400; with `application/json` a well-formed one is always 200, as older clients expect.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, cast

import orjson
from cross_web import AsyncHTTPRequestAdapter, StarletteRequestAdapter
from graphql import ExperimentalIncrementalExecutionResults, GraphQLError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.schema import BaseSchema
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_SSE_PROTOCOL, GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

from gateway.graphql.consistency import reach
from gateway.graphql.context import Context
from gateway.graphql.cost import actual_cost, cost_report
from gateway.graphql.cursors import decode_token
from gateway.graphql.errors import INTERNAL, THROTTLED, log_unavailable, log_unexpected, request_error
from gateway.graphql.incremental import Parts
from gateway.graphql.persisted import NOT_FOUND, Operation, OperationRequest, PersistedOperations
from gateway.graphql.results import finished, finished_stream, no_such_operation
from gateway.graphql.services import Services
from gateway.http.auth import Access
from gateway.http.graphiql import page_response
from gateway.http.headers import all_headers, header
from gateway.http.multipart import parts_response
from gateway.http.negotiation import EVENT_STREAM, GRAPHQL, negotiated, wants_page
from gateway.http.observation import ObservedOperation, State
from gateway.http.problem import JSON, HttpProblem, json_response, problem_response
from gateway.http.request_body import checked_requests, sent
from gateway.http.sockets import SocketContext, SocketHandler, TextSocket
from gateway.resilience.rate_limit import wait
from recommender.errors import BadInputError, UnavailableError

CONSISTENCY_TOKEN = b"tandem-consistency-token"
TIMEOUT = b"tandem-timeout-ms"  # how long the caller waits; no longer than the server's own deadline
COST = b"tandem-cost"  # who sends it, whatever it says, is told in `extensions.cost`
OWN_HEADERS = (CONSISTENCY_TOKEN, TIMEOUT, COST)
CONNECTION_INIT_TIMEOUT = timedelta(seconds=10)
SUBSCRIPTIONS_PER_CONNECTION = 100
_ALLOWED = {  # to be answered in one piece, by method
    method: tuple(OperationType.from_http(method) - {OperationType.SUBSCRIPTION}) for method in ("GET", "POST")
}
_OPERATION = {"query", "documentId", "extensions"}  # one of these parameters makes a GET a request for an answer


class RequestAdapter(StarletteRequestAdapter):
    """Strawberry's view of a request, with the request itself."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.request = request


class GraphQLView(GraphQL[Context, None]):
    """Strawberry's view with everything before and after the execution replaced: see the module."""

    request_adapter_class = RequestAdapter
    websocket_adapter_class = TextSocket
    graphql_transport_ws_handler_class = SocketHandler

    def __init__(
        self,
        schema: BaseSchema,
        services: Services,
        access: Access,
        operations: PersistedOperations,
        origins: Sequence[str] = (),
        *,
        batch_operations: int = 1,
        refused_status: int = 400,
    ) -> None:
        super().__init__(
            schema,
            graphql_ide=None,
            subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL, GRAPHQL_SSE_PROTOCOL),
            connection_init_wait_timeout=CONNECTION_INIT_TIMEOUT,
            max_subscriptions_per_connection=SUBSCRIPTIONS_PER_CONNECTION,
            allowed_origins=origins,
        )
        self.operations = operations
        self._services = services
        self._access = access
        self._batch_operations = batch_operations
        self._refused_status = refused_status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI endpoint. Whatever happens, the answer is GraphQL's shape of JSON, or the page."""
        if scope["type"] == "websocket":
            await self.run(WebSocket(scope, receive=receive, send=send))
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except HttpProblem as problem:
            response = problem_response(problem)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 — the last line of defence: say nothing of what broke
            request_id = request.scope["state"]["request_id"]
            log_unexpected(error, request_id)
            text = f"something went wrong on our side; quote request id {request_id}"
            response = problem_response(HttpProblem(500, INTERNAL, text))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.scope["method"] not in ("GET", "POST"):
            raise HttpProblem(405, "METHOD_NOT_ALLOWED", "send GET or POST", {"Allow": "GET, POST"})
        accept = ",".join(all_headers(request.scope, b"accept"))
        if request.scope["method"] == "GET" and not _OPERATION & request.query_params.keys() and wants_page(accept):
            self._access.opens_page(request)
            return page_response(request)
        wanted, state = negotiated(accept), request.scope["state"]
        state["media_type"], state["parts_form"] = wanted.media_type, wanted.parts_form
        if wanted.media_type == EVENT_STREAM:
            return await self.run(request)
        return await self._answered(request)

    async def _answered(self, request: Request) -> Response:
        """What Strawberry's `run` does for an answer in one piece, or in parts of our own."""
        context = await self.get_context(request)
        asked, state = await self._asked(request), request.scope["state"]
        if isinstance(asked, list):
            found = await self._executed_all(request, context, asked)
            return self._response([_answer(one, state) for one in found], state)
        return self._response(_answer(await self._executed(request, context, asked), state), state)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket | None = None) -> Context:
        """Who asks is settled here, before the body is read. Raises HttpProblem."""
        if request.__class__ is WebSocket:  # a request is a Mapping, of which isinstance asks at length
            return SocketContext(self._services, request)
        request = cast("Request", request)
        viewer, state = self._access.viewer(request), request.scope["state"]
        if token := header(request.scope, CONSISTENCY_TOKEN):
            try:
                await reach(decode_token(token), self._services)
            except BadInputError as error:
                raise HttpProblem(400, "BAD_USER_INPUT", str(error)) from error
            except UnavailableError as error:
                log_unavailable(error, state["request_id"])
                text = (
                    f"{error.part} does not show yet what Tandem-Consistency-Token speaks of: try again later, or "
                    "without the header for what there is"
                )
                raise HttpProblem(503, "UNAVAILABLE", text, {"Retry-After": "1"}) from error
        return Context(
            self._services,
            viewer,
            state["request_id"],
            reads_parts=state["parts_form"] is not None,
            most_s=_allowed_s(request),
        )

    async def on_ws_connect(self, context: Context) -> dict[str, object]:
        """Who asks over a WebSocket is settled here, once per connection. Answers with nothing to say."""
        assert isinstance(context, SocketContext)  # noqa: S101 — made by get_context
        context.viewer = context.viewer_by(self._access.viewer)
        return {}

    def decode_json(self, data: str | bytes) -> object:
        """A WebSocket's message; bodies are decoded elsewhere. See request_body for why by orjson."""
        return orjson.loads(data)

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData | list[GraphQLRequestData]:
        """What Strawberry's `run` is to stream. Raises HttpProblem."""
        assert isinstance(request, RequestAdapter)  # noqa: S101 — of request_adapter_class
        asked = await self._asked(request.request)
        assert isinstance(asked, OperationRequest)  # noqa: S101 — a stream is of one
        asked.protocol = "sse"
        return asked

    async def _asked(self, request: Request) -> OperationRequest | list[OperationRequest]:
        """The operation to run, or the batch of them. Raises HttpProblem."""
        state, given = request.scope["state"], await sent(request)
        try:
            asked = checked_requests(given, 1 if state["media_type"] == EVENT_STREAM else self._batch_operations)
        except HttpProblem as problem:
            raise HttpProblem(self._status_of_refusal(state["media_type"]), problem.code, str(problem)) from problem
        if isinstance(asked, list):
            state["media_type"] = JSON  # the other type is of one answer
        return asked

    def _status_of_refusal(self, media_type: str) -> int:
        return self._refused_status if media_type == GRAPHQL else 400

    async def execute_operation(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData | list[GraphQLRequestData],
        context: Context,
        root_value: None,
        sub_response: Response | None,
    ) -> Any:
        """The stream of answers that Strawberry's `run` sends."""
        assert isinstance(request_data, OperationRequest)  # noqa: S101 — made by parse_http_body
        try:
            operation = await self.operations.find(request_data, context.viewer)
        except GraphQLError as error:
            raise HttpProblem(400, str((error.extensions or {})["code"]), error.message) from error
        context.begin()
        results = await self.schema.stream(
            operation.text,
            variable_values=request_data.variables,
            context_value=context,
            operation_name=request_data.operation_name,
            allowed_operation_types=OperationType.from_http(request_adapter.method),
        )
        return finished_stream(cast("AsyncIterator[ExecutionResult]", results), context.request_id)

    async def _executed_all(
        self, request: Request, context: Context, asked: Sequence[OperationRequest]
    ) -> list[ExecutionResult]:
        """Each as if it had come alone: what one of them writes, no other has loaded before."""
        contexts = [Context(self._services, context.viewer, context.request_id, most_s=context.most_s) for _ in asked]
        return await asyncio.gather(
            *(self._executed(request, own, one) for own, one in zip(contexts, asked, strict=True))
        )

    def should_render_graphql_ide(self, request: Any) -> bool:
        """Never here: `_answer` has sent the page already."""
        return False

    async def _executed(self, request: Request, context: Context, asked: OperationRequest) -> ExecutionResult:
        """Run one operation, and count it; its errors come out coded and masked."""
        context.begin()
        try:
            operation = await self.operations.find(asked, context.viewer)
        except GraphQLError as error:
            return PreExecutionError(data=None, errors=[error])
        with ObservedOperation(operation, request.scope["state"]) as observed:
            result = await self._finished(request, context, operation, asked)
            codes = [str((error.extensions or {}).get("code")) for error in result.errors or ()]
            reasons = (result.extensions or {}).get("degraded", {}).get("reasons", ())
            observed.ends(codes, reasons, context.requested_cost, ", ".join(context.viewer.roles))
        return result

    async def _finished(
        self, request: Request, context: Context, operation: Operation, asked: OperationRequest
    ) -> ExecutionResult:
        state = request.scope["state"]
        try:
            result = await self.schema.execute(
                operation.text,
                variable_values=asked.variables,
                context_value=context,
                operation_name=asked.operation_name,
                allowed_operation_types=_ALLOWED[request.scope["method"]],
            )
        except InvalidOperationTypeError as error:
            if error.operation_type is not OperationType.SUBSCRIPTION:
                text = "only queries are answered by GET; send mutations by POST"
                raise HttpProblem(405, "METHOD_NOT_ALLOWED", text, {"Allow": "POST"}) from error
            text = f"a subscription is answered over a WebSocket or, with `Accept: {EVENT_STREAM}`, as a stream"
            result = PreExecutionError(data=None, errors=[request_error(text, "BAD_REQUEST")])
        except CannotGetOperationTypeError:
            result = no_such_operation()
        if not isinstance(result, PreExecutionError):
            await self.operations.register(operation)
        if isinstance(result, ExperimentalIncrementalExecutionResults):
            state["parts"] = Parts(state["parts_form"], result, context.request_id)
            first = result.initial_result
            result = ExecutionResult(data=first.data, errors=first.errors)
        result = finished(result, context.request_id)
        is_throttled = context.allowance is not None and context.allowance.wait_s > 0
        if is_throttled or (not isinstance(result, PreExecutionError) and header(request.scope, COST) is not None):
            cost = cost_report(context.requested_cost, actual_cost(result.data), context.allowance)
            result.extensions = {**(result.extensions or {}), "cost": cost}
        if is_throttled and context.allowance is not None:
            state["retry_after_seconds"] = wait(context.allowance)
        return result

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        """One answer of a stream."""
        return _answer(result, request.scope["state"])

    def _response(self, answer: GraphQLHTTPResponse | list[GraphQLHTTPResponse], state: State) -> Response:
        """The HTTP answer in the negotiated type and with its status."""
        if "parts" in state:
            return parts_response(answer, state["parts"])
        status, codes, headers = 200, state.get("refused_for", ()), {}
        if codes:
            # Apollo's clients look for this code in an answer, and some look at no other answer than a 200.
            if state["media_type"] == GRAPHQL and codes != [NOT_FOUND]:
                status = 400 if "GRAPHQL_PARSE_FAILED" in codes else self._refused_status
            if THROTTLED in codes and not isinstance(answer, list):
                status, headers = 429, {"Retry-After": str(state["retry_after_seconds"])}
        return json_response(answer, status=status, media_type=state["media_type"], headers=headers)


def _answer(result: ExecutionResult, state: State) -> GraphQLHTTPResponse:
    """The answer's JSON: no `data` entry for a request that was not executed."""
    answer: dict[str, Any] = {}
    if result.errors:
        answer["errors"] = [error.formatted for error in result.errors]
    if isinstance(result, PreExecutionError):
        state["refused_for"] = [error["extensions"]["code"] for error in answer["errors"]]
    else:
        answer["data"] = result.data
    if result.extensions:
        answer["extensions"] = result.extensions
    if "parts" in state:
        answer |= state["parts"].opening
    return answer  # type: ignore[return-value]


def _allowed_s(request: Request) -> float:
    """How long the caller waits. Raises HttpProblem."""
    given = header(request.scope, TIMEOUT)
    if given is None:
        return math.inf
    if not (given.isascii() and given.isdigit()) or int(given[:10]) < 1:
        text = f"the header Tandem-Timeout-Ms is a whole number of milliseconds from 1; got {given[:60]!r}"
        raise HttpProblem(400, "BAD_USER_INPUT", text)
    return int(given[:10]) / 1_000
