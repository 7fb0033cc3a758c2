"""/livez, /readyz and /metrics: for whoever runs the process."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from gateway.graphql.services import Services
from gateway.http.auth import Access
from gateway.http.metrics import Metrics
from gateway.http.problem import json_response
from recommender.errors import NoModelError
from recommender.model import Manifest


@dataclass(slots=True)
class Readiness:
    """Whether this process should be sent requests. It answers them in any case.

    is_warm: documents are read and a first list was made. is_draining: it has been told to stop. worker: its number,
    where several share the work.
    """

    is_warm: bool = False
    is_draining: bool = False
    worker: int | None = None

    def problem(self) -> str | None:
        """Why not; None when it should."""
        if self.is_draining:
            return "it is about to stop"
        return None if self.is_warm else "documents are being read"


class Health:
    """The endpoints. The two probes ask nobody who they are: they say nothing that is anybody's."""

    def __init__(self, services: Services, metrics: Metrics, access: Access, readiness: Readiness) -> None:
        self._services = services
        self._metrics = metrics
        self._access = access
        self._readiness = readiness

    async def live(self, _request: Request) -> Response:
        """The loop runs: nothing else is asked, or one slow dependency would have every process restarted."""
        return json_response({"status": "live"})

    async def ready(self, _request: Request) -> Response:
        """A model is loaded, everything is warm and the end is not near: else 503. No server is asked."""
        manifest = self._manifest()
        problem = self._readiness.problem()
        if manifest is None:
            problem = "no model is loaded; run `tandem train`"
        if problem is not None or manifest is None:
            return json_response({"status": "not ready", "reason": problem}, status=503)
        worker = {} if self._readiness.worker is None else {"worker": self._readiness.worker}
        return json_response({"status": "ready", "model": manifest.version} | worker)

    async def metrics(self, request: Request) -> Response:
        """Everything that is counted, see gateway.instruments. Raises HttpProblem for who may not ask."""
        self._access.observer(request)
        text, content_type = self._metrics.text(request.headers.get("accept"))
        return Response(text, media_type=content_type)

    def _manifest(self) -> Manifest | None:
        try:
            return self._services.recommender.model.manifest
        except NoModelError:
            return None
