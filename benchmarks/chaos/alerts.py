"""The row of alerts: a Prometheus with the rules that are deployed over each fault, all at the same time."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx

from benchmarks.alerting import Tried, point, publish, running_prometheus, tear, try_fault, until
from benchmarks.chaos.arena import Arena
from benchmarks.chaos.load import headers_of
from benchmarks.chaos.rows import NotRunError, Observed, row
from tests.faults import HANG
from tests.production.stack import SERVICE_TOKEN, Replica

FIRES_SECONDS = 480.0  # the longest: five minutes of load, over a mean of five
BURST, BURST_EVERY_S = 80, 3.0


@dataclass(frozen=True)
class Case:
    """A fault of one gateway. settings: of that gateway; waits: whether the end of the alert is waited for."""

    alert: str
    break_it: Callable[[Replica], object]
    heal: Callable[[Replica], object]
    settings: Mapping[str, str] = field(default_factory=dict)
    waits: bool = True


class Crowd:
    """Many who ask at once, again and again."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, gateway: Replica) -> None:
        """From now on."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._ask(gateway.url)))
        self._thread.start()

    def end(self, _gateway: Replica) -> None:
        """No more."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    async def _ask(self, url: str) -> None:
        limits = httpx.Limits(max_connections=BURST, max_keepalive_connections=BURST)
        headers = dict(headers_of(SERVICE_TOKEN))
        async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30, trust_env=False) as client:
            while not self._is_over.is_set():
                asked = [client.post(f"{url}/graphql", json={"query": "{ viewer { roles } }"}) for _ in range(BURST)]
                await asyncio.gather(*asked, return_exceptions=True)
                await asyncio.sleep(BURST_EVERY_S)


@row(
    40,
    "each alert fires on its fault: Elasticsearch hangs, cache killed, torn model, gateway killed, overload",
    "exactly its alert fires, and ends once all is well; two of them, and others, also by promtool in make test",
)
def alerts(arena: Arena) -> Observed:
    if shutil.which("prometheus") is None:
        raise NotRunError("needs Prometheus; on Debian: apt-get install prometheus")
    found = asyncio.run(_all_at_once(arena))
    return Observed(
        "; ".join(f"{name}: {tried}" for name, tried in found.items()),
        all(tried.is_expected for tried in found.values()),
    )


def cases(arena: Arena) -> dict[str, Case]:
    """The faults, each of a server that no other gateway of these asks."""
    place = arena.directory / f"alerts-{time.monotonic_ns()}"
    models, crowd = place / "models", Crowd()
    publish(models, "sound")
    sound = (models / "CURRENT").read_bytes()
    return {
        "Elasticsearch hangs": Case(
            "TandemBreakerOpen",
            lambda _: arena.catalogue.fail(HANG),
            lambda _: arena.catalogue.heal(),
            {"TANDEM_CATALOGUE_URL": arena.behind_proxies["TANDEM_CATALOGUE_URL"]},
        ),
        "cache killed": Case(
            "TandemBreakerOpen",
            lambda _: arena.stack.cache.kill(),
            lambda _: arena.stack.cache.start(),
            {"TANDEM_CACHE_URL": arena.stack.cache.url},
        ),
        "torn model": Case(
            "TandemModelRefused",
            lambda _: tear(models, place / "elsewhere"),
            lambda _: point(models, sound),
            {"TANDEM_MODELS_URL": f"file://{models}"},
        ),
        "gateway killed": Case("TandemDown", lambda gateway: gateway.kill(), lambda gateway: gateway.start()),
        "overload": Case("TandemShedding", crowd.begin, crowd.end, {"TANDEM_MAX_IN_FLIGHT": "1"}, waits=False),
    }


async def _all_at_once(arena: Arena) -> dict[str, Tried]:
    """All faults, each of a gateway and seen by a Prometheus of its own."""
    usual = {
        **arena.behind_proxies,
        "TANDEM_CATALOGUE_URL": arena.stack.settings["TANDEM_CATALOGUE_URL"],
        "TANDEM_EVENTS_URL": arena.stack.settings["TANDEM_EVENTS_URL"],
        "TANDEM_CACHE_URL": "memory://",
        "TANDEM_WORKERS": "1",
    }
    # Else the age of the model is a fault as well.
    fresh = arena.directory / f"fresh-{time.monotonic_ns()}"
    publish(fresh, "fresh")
    usual["TANDEM_MODELS_URL"] = f"file://{fresh}"
    with ExitStack() as running:

        async def one(name: str, case: Case) -> Tried:
            place = arena.directory / f"alert-{name.replace(' ', '-')}-{time.monotonic_ns()}"
            place.mkdir()
            gateway = Replica(place / "data", {**usual, **case.settings})
            await asyncio.to_thread(gateway.start)
            running.callback(arena.end, gateway)
            await asyncio.to_thread(arena.until_well, gateway)
            prometheus = running.enter_context(running_prometheus(place / "prometheus", gateway))
            if await until(prometheus.is_up, 60) is None:
                raise RuntimeError(f"Prometheus never had {name} as its target, or never its rules")
            return await try_fault(
                prometheus,
                gateway,
                case.alert,
                lambda: case.break_it(gateway),
                lambda: case.heal(gateway),
                patience_s=FIRES_SECONDS,
                waits=case.waits,
            )

        chosen = cases(arena)
        found = await asyncio.gather(*(one(name, case) for name, case in chosen.items()))
    return dict(zip(chosen, found, strict=True))
