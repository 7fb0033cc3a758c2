"""What is looked at now and then to be shown as metrics: the model, the cache, the loop, how fresh the data is."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway import instruments
from gateway.graphql.services import Services
from gateway.instruments import Followed
from gateway.resilience.breaker import State
from gateway.rules_file import RulesFile
from gateway.version import version
from recommender.documents import Kind
from recommender.errors import NoModelError, TandemError
from recommender.model import Manifest

LOOK_SECONDS: Final = 1.0
ASK_SECONDS: Final = 5.0  # between two questions of how far the stores are
STATM: Final = Path("/proc/self/statm")
_BREAKER: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
FILES: Final = Path("/proc/self/fd")


class Metrics:
    """Keeps the gauges of one process true while `follow` runs, and shows everything.

    data_dir: on whose disk free space is looked at.
    """

    def __init__(self, services: Services, data_dir: Path | None = None) -> None:
        self._services = services
        self._data_dir = data_dir
        self._cache = Followed(instruments.CACHE)
        self._admissions = Followed(instruments.ADMISSIONS)
        self._guarded = {guard.part: Followed(instruments.GUARDED, guard.part) for guard in services.guards.guards}
        self._version: str | None = None
        self._fresh_at_s: dict[str, float] = {}
        self._last_seq = 0

    async def follow(self) -> None:
        """Look every second and ask the stores every five, for ever."""
        stores = asyncio.create_task(self._follow_stores())
        instruments.WORKERS.set(1)
        try:
            while True:
                self.look()
                await asyncio.sleep(LOOK_SECONDS)
                instruments.LOOP_LAG.observe(self._services.guards.lag.worst_s)
        finally:
            self.look()
            instruments.WORKERS.set(0)
            stores.cancel()
            await asyncio.gather(stores, return_exceptions=True)

    def text(self, accept: str | None = None) -> tuple[bytes, str]:
        """Every metric as of now, and the content type: OpenMetrics for who accepts it, else Prometheus' text form."""
        self.look()
        return instruments.exposition(accept)

    def look(self) -> None:
        """Bring the metrics up to what the process knows. Called on its event loop."""
        services, now_ms = self._services, self._services.clock_ms()
        instruments.BUILD_INFO.labels(version()).set(1)
        instruments.TASKS.set(len(asyncio.all_tasks()))
        self._look_at_model(now_ms)
        self._cache.follow(services.recommender.cache_counts)
        if services.rules is not None:
            look_at_rules(services.rules, now_ms)
        for guard in services.guards.guards:
            instruments.BREAKER_STATE.labels(guard.part).set(_BREAKER[guard.breaker.state])
            self._guarded[guard.part].follow(guard.counts)
        if services.guards.admission is not None:
            self._admissions.follow(services.guards.admission.counts)
        for of, at_s in self._fresh_at_s.items():
            instruments.FRESHNESS_LAG.labels(of).set(time.monotonic() - at_s)
        with suppress(OSError, ValueError):  # of a system without them
            instruments.RESIDENT.set(int(STATM.read_text().split()[1]) * resource.getpagesize())
            instruments.OPEN_FILES.set(len(os.listdir(FILES)))  # noqa: PTH208 — a name each is enough
        if self._data_dir is not None:
            with suppress(OSError):
                instruments.FREE_DISK.labels("data").set(shutil.disk_usage(self._data_dir).free)

    def _look_at_model(self, now_ms: int) -> None:
        manifest = self._manifest()
        if manifest is None:
            return
        if manifest.version != self._version:
            if self._version is not None:
                instruments.MODEL_INFO.labels(self._version).set(0)
            self._version = manifest.version
        instruments.MODEL_INFO.labels(manifest.version).set(1)
        instruments.MODEL_AGE.set(max(0, now_ms - manifest.trained_at_ms) / 1000)
        instruments.EVENTS_AFTER_MODEL.set(max(0, self._last_seq - manifest.watermark))

    def _manifest(self) -> Manifest | None:
        try:
            return self._services.recommender.model.manifest
        except NoModelError:
            return None

    async def _follow_stores(self) -> None:
        """See whether what was acknowledged is known here, as the next request would."""
        catalogue, began_s = self._services.catalogue, time.monotonic()
        self._fresh_at_s = dict.fromkeys([*(f"{kind.value.lower()}s" for kind in Kind), "events"], began_s)
        while True:
            for kind in Kind:
                asked_s = time.monotonic()
                with suppress(TandemError):
                    await catalogue.mirror(kind)
                    self._fresh_at_s[f"{kind.value.lower()}s"] = asked_s
            asked_s = time.monotonic()
            with suppress(TandemError):
                self._last_seq = (await self._services.events.state()).last_seq
                self._fresh_at_s["events"] = asked_s
            await asyncio.sleep(ASK_SECONDS)


def look_at_rules(rules: RulesFile, now_ms: int) -> None:
    """How many rules hold, and whether newer ones cannot be used."""
    instruments.RULES.set(sum(rule.holds_at(now_ms) for rule in rules.rules))
    instruments.RULES_REFUSED.set(int(rules.problem is not None))
