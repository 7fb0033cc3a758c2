"""/livez, /readyz and /metrics: for whoever runs the process."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from gateway.graphql.services import Services
from gateway.http.auth import Access
from gateway.http.metrics import Metrics
from gateway.http.problem import json_response
from recommender.errors import NoModelError
from recommender.model import Manifest


class Health:
    """The endpoints. The two probes ask nobody who they are: they say nothing that is anybody's."""

    def __init__(self, services: Services, metrics: Metrics, access: Access) -> None:
        self._services = services
        self._metrics = metrics
        self._access = access

    async def live(self, _request: Request) -> Response:
        """The loop runs: nothing else is asked, or one slow dependency would have every process restarted."""
        return json_response({"status": "live"})

    async def ready(self, _request: Request) -> Response:
        """A model is loaded, so queries can be answered; 503 until then."""
        manifest = self._manifest()
        if manifest is None:
            return json_response(
                {"status": "not ready", "reason": "no model is loaded; run `tandem train`"}, status=503
            )
        return json_response({"status": "ready", "model": manifest.version})

    async def metrics(self, request: Request) -> Response:
        """Counters in Prometheus' text form. Raises HttpProblem for who may not ask."""
        self._access.observer(request)
        services = self._services
        counts = services.recommender.cache_counts
        text = self._metrics.text(self._manifest(), services.clock_ms(), counts, services.rules)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _manifest(self) -> Manifest | None:
        try:
            return self._services.recommender.model.manifest
        except NoModelError:
            return None
