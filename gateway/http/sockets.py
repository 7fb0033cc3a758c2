"""WebSockets: graphql-transport-ws, with the same checks, limits and errors as a request by HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import orjson
from graphql import GraphQLError
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.exceptions import ConnectionRejectionError
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import SubscribeMessage

from gateway.graphql.context import Context
from gateway.graphql.errors import request_error
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


class TextSocket(ASGIWebSocketAdapter):
    """Messages as text: graphql-ws refuses the binary ones that an encoder of bytes would make."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        """Send one message."""
        await self.ws.send_text(orjson.dumps(message).decode())


class SocketHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Finds persisted operations, and refuses what a request by HTTP would be refused for."""

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """Begin one operation."""
        view = cast("GraphQLView", self.view)
        try:
            operation = await view.operations.find(checked_request(message["payload"]), self.context.viewer)
        except (HttpProblem, GraphQLError) as problem:
            error = problem if isinstance(problem, GraphQLError) else request_error(str(problem), problem.code)
            await self.send_message({"id": message["id"], "type": "error", "payload": [error.formatted]})
            return
        payload: Any = {**message["payload"], "query": operation.text}
        await super().handle_subscribe({**message, "payload": payload})

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

    def viewer_by(self, authenticate: Authenticate) -> Viewer:
        """Who asks. Raises ConnectionRejectionError, which closes the connection."""
        try:
            return authenticate(with_authorization(self._socket, self.connection_params))
        except HttpProblem as problem:
            raise ConnectionRejectionError({"code": problem.code, "message": str(problem)}) from problem


def with_authorization(socket: WebSocket, parameters: Mapping[str, object]) -> HTTPConnection:
    """The connection as if `Authorization` of connection_init had been its header: browsers cannot set any."""
    given = next((value for name, value in parameters.items() if name.lower() == "authorization"), None)
    if not isinstance(given, str) or not given.isascii():
        return socket
    headers = [(name, value) for name, value in socket.scope["headers"] if name != b"authorization"]
    return HTTPConnection({**socket.scope, "headers": [*headers, (b"authorization", given.encode())]})
