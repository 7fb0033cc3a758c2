"""The ASGI app: routes, layers and the task that follows the newest model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import instruments
from gateway.graphql.persisted import PersistedOperations
from gateway.graphql.schema import SCHEMA, TandemSchema
from gateway.graphql.services import Services
from gateway.http import graphiql
from gateway.http.auth import Access
from gateway.http.compression import COMPRESSED_FROM, COMPRESSION_LEVEL, Compression
from gateway.http.graphql_view import OWN_HEADERS, GraphQLView
from gateway.http.health import Health, Readiness
from gateway.http.metrics import Metrics
from gateway.http.observation import Observation
from gateway.http.problem import HttpProblem, problem_response
from gateway.http.shedding import Shedding
from gateway.http.warming import warm_up
from recommender.errors import NoModelError, TandemError
from recommender.recommender import Recommender

REFRESH_SECONDS = 1.0

_log = structlog.get_logger("tandem.http")


def build_app(
    services: Services,
    access: Access,
    *,
    operations: PersistedOperations | None = None,
    federation: TandemSchema | None = None,
    cors_origins: Sequence[str] = (),
    batch_operations: int = 1,
    refused_status: int = 400,
    readiness: Readiness | None = None,
    data_dir: Path | None = None,
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
) -> Starlette:
    """The app over open stores; whoever built them closes them after it has shut down.

    operations: None takes any text, and remembers those of this process that clients want to name. federation: what a
    router is answered with at /federation. batch_operations, refused_status: see
    the settings. readiness: of the process; with one the app answers while it gets warm, without it is warm first.
    data_dir: on the disk whose free space is shown. tasks: begun when it starts and ended when it shuts down.
    """
    metrics = Metrics(services, data_dir)
    health = Health(services, metrics, access, readiness or Readiness(is_warm=True))
    operations = operations or PersistedOperations()

    def view_of(schema: TandemSchema, origins: Sequence[str] = ()) -> GraphQLView:
        how = {"batch_operations": batch_operations, "refused_status": refused_status}
        return GraphQLView(schema, services, access, operations, origins, **how)

    view = view_of(SCHEMA, cors_origins)
    routers = [] if federation is None else [Route("/federation", view_of(federation))]
    shedding = [] if services.guards.admission is None else [Middleware(Shedding, services.guards.admission)]
    layers = [*shedding, Middleware(Observation, new_id=services.new_id)]
    if cors_origins:
        layers.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(cors_origins),
                allow_methods=["GET", "POST"],
                allow_headers=["Content-Type", "Authorization", "X-Request-Id", *map(bytes.decode, OWN_HEADERS)],
                expose_headers=["X-Request-Id"],
                max_age=600,
            )
        )
    layers.append(Middleware(Compression, minimum_size=COMPRESSED_FROM, compresslevel=COMPRESSION_LEVEL))
    layers.append(Middleware(Direct, view=view))
    return Starlette(
        routes=[
            # A Route, not a Mount: a Mount answers POST /graphql with a redirect.
            Route("/graphql", view),
            WebSocketRoute("/graphql", view),
            *routers,
            Route("/", RedirectResponse("/graphql")),
            Route("/livez", health.live),
            Route("/readyz", health.ready),
            Route("/metrics", health.metrics),
            *graphiql.routes(),
        ],
        middleware=layers,
        exception_handlers={HttpProblem: _refused, HTTPException: _not_served},
        lifespan=_serving(services, readiness, (*access.tasks, metrics.follow, *tasks)),
    )


class Direct:
    """ASGI middleware, the innermost: GraphQL over HTTP goes to its view past the router and its handlers of errors,
    none of which the view leaves to them."""

    def __init__(self, app: ASGIApp, view: ASGIApp) -> None:
        self._app = app
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI layer."""
        is_ours = scope["type"] == "http" and scope["path"] == "/graphql" and not scope.get("root_path")
        await (self._view if is_ours else self._app)(scope, receive, send)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HttpProblem)  # noqa: S101 — Starlette calls a handler with its own type
    return problem_response(error)


async def _not_served(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "BAD_REQUEST")
    return problem_response(HttpProblem(error.status_code, code, error.detail, error.headers))


def _serving(
    services: Services, readiness: Readiness | None, tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]]
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        warming = asyncio.create_task(warm_up(services, readiness or Readiness()))
        if readiness is None:
            await warming
        running = [
            warming,
            asyncio.create_task(follow_models(services.recommender)),
            asyncio.create_task(services.changes.follow()),
            *(asyncio.create_task(one()) for one in tasks),
        ]
        yield
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    return lifespan


async def follow_models(recommender: Recommender, every_seconds: float = REFRESH_SECONDS) -> None:
    """Serve the newest published model, for ever. One that may not serve is logged, and the present one goes on."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            if await asyncio.to_thread(recommender.refresh_model):
                _log.info("model changed", version=recommender.model.manifest.version)
        except NoModelError:
            continue  # nothing is published yet: /readyz says so
        except TandemError as error:
            instruments.MODEL_FAILURES.inc()
            _log.error("model refused", reason=str(error))
        except Exception as error:  # noqa: BLE001 — this task must outlive whatever a disk can do
            instruments.MODEL_FAILURES.inc()
            _log.error("model not read", error=type(error).__name__)
