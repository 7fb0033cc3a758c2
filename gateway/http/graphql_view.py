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
from starlette.datastructures import State
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
from gateway.http.multipart import parts_response
from gateway.http.negotiation import EVENT_STREAM, GRAPHQL, parts_form, response_type, wants_page
from gateway.http.observation import ObservedOperation
from gateway.http.problem import JSON, HttpProblem, json_response, problem_response
from gateway.http.request_body import checked_requests, sent
from gateway.http.sockets import SocketContext, SocketHandler, TextSocket
from gateway.resilience.rate_limit import wait
from recommender.errors import BadInputError, UnavailableError

CONSISTENCY_TOKEN = "tandem-consistency-token"  # noqa: S105 — a header's name
TIMEOUT = "tandem-timeout-ms"  # how long the caller waits; no longer than the server's own deadline
COST = "tandem-cost"  # who sends it, whatever it says, is told in `extensions.cost`
CONNECTION_INIT_TIMEOUT = timedelta(seconds=10)
SUBSCRIPTIONS_PER_CONNECTION = 100
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
        if request.method not in ("GET", "POST"):
            raise HttpProblem(405, "METHOD_NOT_ALLOWED", "send GET or POST", {"Allow": "GET, POST"})
        accept = ",".join(request.headers.getlist("accept"))
        if request.method == "GET" and not _OPERATION & request.query_params.keys() and wants_page(accept):
            self._access.opens_page(request)
            return page_response(request)
        request.state.media_type = response_type(accept)
        request.state.parts_form = parts_form(accept) if request.state.media_type != EVENT_STREAM else None
        if request.state.media_type == EVENT_STREAM:
            return await self.run(request)
        return await self._answered(request)

    async def _answered(self, request: Request) -> Response:
        """What Strawberry's `run` does for an answer in one piece, or in parts of our own."""
        context = await self.get_context(request)
        adapter = RequestAdapter(request)
        asked = await self.parse_http_body(adapter)
        found = await self.execute_operation(request, adapter, asked, context, None, None)
        if isinstance(found, list):
            return self._response([await self.process_result(request, one) for one in found], request.state)
        return self._response(await self.process_result(request, found), request.state)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket | None = None) -> Context:
        """Who asks is settled here, before the body is read. Raises HttpProblem."""
        if isinstance(request, WebSocket):
            return SocketContext(self._services, request)
        viewer = self._access.viewer(request)
        if token := request.headers.get(CONSISTENCY_TOKEN):
            try:
                await reach(decode_token(token), self._services)
            except BadInputError as error:
                raise HttpProblem(400, "BAD_USER_INPUT", str(error)) from error
            except UnavailableError as error:
                log_unavailable(error, request.state.request_id)
                text = (
                    f"{error.part} does not show yet what Tandem-Consistency-Token speaks of: try again later, or "
                    "without the header for what there is"
                )
                raise HttpProblem(503, "UNAVAILABLE", text, {"Retry-After": "1"}) from error
        return Context(
            self._services,
            viewer,
            request.state.request_id,
            reads_parts=request.state.parts_form is not None,
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
        """The operation to run, or the batch of them. Raises HttpProblem."""
        assert isinstance(request, RequestAdapter)  # noqa: S101 — made by the line above
        state, given = request.request.state, await sent(request.request)
        try:
            asked = checked_requests(given, 1 if state.media_type == EVENT_STREAM else self._batch_operations)
        except HttpProblem as problem:
            raise HttpProblem(self._status_of_refusal(state.media_type), problem.code, str(problem)) from problem
        if isinstance(asked, list):
            state.media_type = JSON  # the other type is of one answer
            return [*asked]
        if state.media_type == EVENT_STREAM:
            asked.protocol = "sse"
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
        """One answer, one for each operation of a batch, or a stream of them for who asked for one."""
        if isinstance(request_data, list):
            # Each as if it had come alone: what one of them writes, no other has loaded before.
            contexts = [
                Context(self._services, context.viewer, context.request_id, most_s=context.most_s) for _ in request_data
            ]
            return await asyncio.gather(
                *(
                    self.execute_single(request, request_adapter, sub_response, own, root_value, one)
                    for own, one in zip(contexts, request_data, strict=True)
                )
            )
        assert isinstance(request_data, OperationRequest)  # noqa: S101 — made by parse_http_body
        if request_data.protocol != "sse":
            return await self.execute_single(request, request_adapter, sub_response, context, root_value, request_data)
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

    def should_render_graphql_ide(self, request: Any) -> bool:
        """Never here: `_answer` has sent the page already."""
        return False

    async def execute_single(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        sub_response: Response | None,
        context: Context,
        root_value: None,
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        """Run one operation, and count it; its errors come out coded and masked."""
        assert isinstance(request_data, OperationRequest)  # noqa: S101 — made by parse_http_body
        context.begin()
        try:
            operation = await self.operations.find(request_data, context.viewer)
        except GraphQLError as error:
            return PreExecutionError(data=None, errors=[error])
        with ObservedOperation(operation, request.state) as observed:
            result = await self._executed(request, request_adapter, context, operation, request_data)
            codes = [str((error.extensions or {}).get("code")) for error in result.errors or ()]
            reasons = (result.extensions or {}).get("degraded", {}).get("reasons", ())
            observed.ends(codes, reasons, context.requested_cost, ", ".join(context.viewer.roles))
        return result

    async def _executed(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        context: Context,
        operation: Operation,
        request_data: OperationRequest,
    ) -> ExecutionResult:
        try:
            result = await self.schema.execute(
                operation.text,
                variable_values=request_data.variables,
                context_value=context,
                operation_name=request_data.operation_name,
                allowed_operation_types=OperationType.from_http(request_adapter.method) - {OperationType.SUBSCRIPTION},
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
            request.state.parts = Parts(request.state.parts_form, result, context.request_id)
            first = result.initial_result
            result = ExecutionResult(data=first.data, errors=first.errors)
        result = finished(result, context.request_id)
        is_throttled = context.allowance is not None and context.allowance.wait_s > 0
        if is_throttled or (not isinstance(result, PreExecutionError) and COST in request.headers):
            cost = cost_report(context.requested_cost, actual_cost(result.data), context.allowance)
            result.extensions = {**(result.extensions or {}), "cost": cost}
        if is_throttled and context.allowance is not None:
            request.state.retry_after_seconds = wait(context.allowance)
        return result

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        """The answer's JSON: no `data` entry for a request that was not executed."""
        answer: dict[str, Any] = {}
        if result.errors:
            answer["errors"] = [error.formatted for error in result.errors]
        if isinstance(result, PreExecutionError):
            request.state.refused_for = [error["extensions"]["code"] for error in answer["errors"]]
        else:
            answer["data"] = result.data
        answer |= {"extensions": result.extensions} if result.extensions else {}
        if hasattr(request.state, "parts"):
            answer |= request.state.parts.opening
        return answer  # type: ignore[return-value]

    def _response(self, answer: GraphQLHTTPResponse | list[GraphQLHTTPResponse], state: State) -> Response:
        """The HTTP answer in the negotiated type and with its status."""
        if hasattr(state, "parts"):
            return parts_response(answer, state.parts)
        status, codes, headers = 200, getattr(state, "refused_for", []), {}
        # Apollo's clients look for this code in an answer, and some look at no other answer than a 200.
        if state.media_type == GRAPHQL and codes and codes != [NOT_FOUND]:
            status = 400 if "GRAPHQL_PARSE_FAILED" in codes else self._refused_status
        if THROTTLED in codes and not isinstance(answer, list):
            status, headers = 429, {"Retry-After": str(state.retry_after_seconds)}
        return json_response(answer, status=status, media_type=state.media_type, headers=headers)


def _allowed_s(request: Request) -> float:
    """How long the caller waits. Raises HttpProblem."""
    given = request.headers.get(TIMEOUT)
    if given is None:
        return math.inf
    if not (given.isascii() and given.isdigit()) or int(given[:10]) < 1:
        text = f"the header Tandem-Timeout-Ms is a whole number of milliseconds from 1; got {given[:60]!r}"
        raise HttpProblem(400, "BAD_USER_INPUT", text)
    return int(given[:10]) / 1_000
