"""WebSockets: graphql-transport-ws, with the same checks, limits and errors as a request by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from graphql import GraphQLError
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.exceptions import ConnectionRejectionError
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    Message,
    SubscribeMessage,
)

from gateway.graphql.context import Context
from gateway.graphql.errors import UnauthenticatedError, request_error
from gateway.graphql.results import finished_stream
from gateway.graphql.services import Services
from gateway.graphql.viewer import NOBODY, Viewer
from gateway.http.auth import Authenticate
from gateway.http.problem import HttpProblem
from gateway.http.request_body import checked_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from strawberry.schema.schema import StreamResult
    from strawberry.types import ExecutionResult

    from gateway.http.graphql_view import GraphQLView

FORBIDDEN: Final = 4403  # of the protocol: what a connection is closed with whose token is none, or not any more


class TextSocket(ASGIWebSocketAdapter):
    """Messages as text: graphql-ws refuses the binary ones that an encoder of bytes would make."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send one message."""
        await self.ws.send_text(orjson.dumps(message).decode())


class SocketHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Finds persisted operations, and refuses what a request by HTTP would be refused for."""

    _ending: asyncio.TimerHandle | None = None

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        """Who asks is settled; the connection ends when their token does. Clients connect again after a 4403."""
        await super().handle_connection_init(message)
        until_ms = self.context.viewer.until_ms
        if self.connection_acknowledged and self._ending is None and until_ms is not None:
            left_seconds = (until_ms - self.context.services.clock_ms()) / 1000
            self._ending = asyncio.get_running_loop().call_later(max(0.0, left_seconds), self._end)

    def _end(self) -> None:
        closing = asyncio.ensure_future(self.websocket.close(code=FORBIDDEN, reason="The token has expired"))
        closing.add_done_callback(self._task_done)

    async def shutdown(self) -> None:
        """End what runs on the connection."""
        if self._ending is not None:
            self._ending.cancel()
        await super().shutdown()

    async def handle_message(self, message: Message) -> None:
        """Any message; what is no message closes the connection as the protocol says."""
        given: object = message
        if isinstance(given, dict) and isinstance(given.get("id", ""), str):
            await super().handle_message(message)
        else:
            await self.handle_invalid_message("Failed to parse message")

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Begin one operation."""
        if not self.connection_acknowledged:
            await super().handle_subscribe(message)  # closes the connection, whatever the operation is
            return
        view = cast("GraphQLView", self.view)
        try:
            self.context.viewer.check_time(self.context.services.clock_ms())
            if len(self.operations) >= (most := cast("int", self.max_subscriptions_per_connection)):
                raise request_error(f"at most {most} operations at once on one connection", "BAD_REQUEST")
            operation = await view.operations.find(checked_request(message["payload"]), self.context.viewer)
        except UnauthenticatedError:
            await self.websocket.close(code=FORBIDDEN, reason="The token has expired")
            return
        except (HttpProblem, GraphQLError) as problem:
            error = problem if isinstance(problem, GraphQLError) else request_error(str(problem), problem.code)
            await self.send_message({"id": message["id"], "type": "error", "payload": [error.formatted]})
            return
        payload: Any = {**message["payload"], "query": operation.text}
        await super().handle_subscribe({**message, "payload": payload})

    async def run_operation(self, operation: Operation[Context, None]) -> None:
        """Each in a context of its own, as if it had come by HTTP: one must not be shown what another loaded before."""
        own = copy(self)
        own.context = cast("SocketContext", self.context).of_operation()
        own.context.begin()
        await super(SocketHandler, own).run_operation(operation)

    async def _send_result_stream(self, operation: Operation[Context, None], result_source: StreamResult) -> None:
        results = cast("AsyncIterator[ExecutionResult]", result_source)
        finished = cast("StreamResult", finished_stream(results, self.context.request_id))
        await super()._send_result_stream(operation, finished)


class SocketContext(Context):
    """The context of one connection. Its viewer is nobody until connection_init says who it is."""

    def __init__(self, services: Services, socket: WebSocket) -> None:
        super().__init__(services, NOBODY, services.new_id())
        self.connection_params: Mapping[str, object] = {}  # set by Strawberry
        self._socket = socket

    def of_operation(self) -> Context:
        """The context of one operation of the connection, begun now."""
        return Context(self.services, self.viewer, self.request_id)

    def viewer_by(self, authenticate: Authenticate) -> Viewer:
        """Who asks. Raises ConnectionRejectionError, which closes the connection."""
        try:
            return authenticate(with_authorization(self._socket, self.connection_params))
        except HttpProblem as problem:
            raise ConnectionRejectionError({"code": problem.code, "message": str(problem)}) from problem


def with_authorization(socket: WebSocket, parameters: Mapping[str, object]) -> HTTPConnection:
    """The connection as if `Authorization` of connection_init had been its header: browsers cannot set any."""
    given = [value for name, value in parameters.items() if name.lower() == "authorization"]
    if not given:
        return socket
    # What is no text is sent on as one that is refused: left out, it might be let in as nobody's.
    headers = [(name, value) for name, value in socket.scope["headers"] if name != b"authorization"]
    sent = [(b"authorization", value.encode() if isinstance(value, str) else b"no string") for value in given]
    return HTTPConnection({**socket.scope, "headers": [*headers, *sent]})
