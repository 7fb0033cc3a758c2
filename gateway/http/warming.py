"""Before requests are sent here: the documents are read, and one list of each kind has gone the whole way."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from gateway.graphql.context import Context
from gateway.graphql.schema import SCHEMA
from gateway.graphql.services import Services
from gateway.graphql.viewer import SERVICE
from gateway.http.health import Readiness
from recommender.documents import Kind
from recommender.errors import TandemError
from recommender.filters import JobFilter, TalentFilter
from recommender.ports import Catalogue
from recommender.query import ListQuery, Mode

LOADS: Final = 20  # how often the documents are asked for, every half second, if none come
LOAD_PAUSE_SECONDS: Final = 0.5
WARM_TEXT: Final = """{ jobs(first: 1) { totalCount nodes { title skills client { clientId } } }
  talents(first: 1) { totalCount nodes { title skills } } }"""

_log = structlog.get_logger("tandem.http")


async def warm_up(services: Services, readiness: Readiness) -> None:
    """Do what the first requests would wait for. Whatever fails, the process is ready in the end, as it can answer."""
    await load_mirrors(services.catalogue)
    try:
        await _first_lists(services)
    except TandemError as error:
        _log.warning("not warm", reason=str(error))
    except Exception as error:  # noqa: BLE001 — the first request will meet it, too, and is answered for it
        _log.error("not warm", error=type(error).__name__)
    readiness.is_warm = True


async def load_mirrors(catalogue: Catalogue, pause_seconds: float = LOAD_PAUSE_SECONDS) -> None:
    """Read the documents before the first request, which would wait for seconds. Serves without them in the end."""
    for _ in range(LOADS):
        try:
            await asyncio.gather(*map(catalogue.mirror, Kind))
        except TandemError as error:
            _log.warning("documents not read yet", reason=str(error))
            await asyncio.sleep(pause_seconds)
        else:
            return


async def _first_lists(services: Services) -> None:
    """A list for a talent, one for a job and a search: code paged in, kernels, caches and connections made."""
    recommender = services.recommender
    for kind, wanted in ((Kind.TALENT, JobFilter()), (Kind.JOB, TalentFilter())):
        mirror = await services.catalogue.mirror(kind)
        some = mirror.eligible(services.clock_ms())[:1]
        for subject_id in mirror.ids_of(list(some)):
            query = ListQuery(mode=Mode.RECOMMENDED, subject_kind=kind, subject_id=subject_id, filter=wanted)
            await recommender.lists([query], recorded=False)
    await SCHEMA.execute(WARM_TEXT, context_value=Context(services, SERVICE, services.new_id()))
