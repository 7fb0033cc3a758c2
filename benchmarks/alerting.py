"""A real Prometheus over a gateway with real servers: which alerts a fault fires, how soon, and how soon they end.

By hand.

    python -m benchmarks.alerting [elasticsearch] [model] [gateway]      the faults, all by default; about ten minutes

With the rules of deploy/prometheus, as they are, and five queries a second. While the alert fires, the queries of its
runbook's first look are asked, and `tandem doctor` where it says so. Needs Prometheus (Debian: apt-get install
prometheus) and what `make test` needs. Exit code 1 when an alert that was expected did not fire, or another did.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from gateway.adapters.directory.models import DirectoryModelStore
from tests.elasticsearch_server import free_port, launcher, running_elasticsearch
from tests.gateway.served_market import small_model
from tests.processes import tandem
from tests.production.stack import JOBS, SERVICE_TOKEN, TALENTS, Replica, Stack, running_stack

ROOT = Path(__file__).parents[1]
QUERIES_PER_SECOND = 5
PATIENCE_SECONDS = 300.0
# As an operator would have it: the stack of the tests waits for a slow machine.
TIMES = {"TANDEM_CATALOGUE_TIMEOUT_MS": "120", "TANDEM_EVENTS_TIMEOUT_MS": "100", "TANDEM_DEADLINE_MS": "300"}
QUERY = 'query Feed { recommendedJobs(subject: { talentId: "t%d" }, first: 10) { nodes { jobId title } } }'
CONFIGURATION = """
global: {{scrape_interval: 2s, evaluation_interval: 2s}}
rule_files: [{rules}/recording.yml, {rules}/alerts.yml]
scrape_configs:
  - job_name: tandem
    authorization: {{credentials: {token}}}
    static_configs: [{{targets: ["{target}"]}}]
"""


class Prometheus:
    """A server of one's own."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer; None while there is none."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self._url}/{path}", params=parameters, timeout=5).raise_for_status().json()["data"]
        return None

    def firing(self) -> set[str]:
        """Alerts that fire now."""
        found = (self.get("alerts") or {"alerts": []})["alerts"]
        return {one["labels"]["alertname"] for one in found if one["state"] == "firing"}

    def is_up(self) -> bool:
        """Whether the gateway is scraped and every rule is loaded and well."""
        targets = (self.get("targets") or {"activeTargets": []})["activeTargets"]
        groups = (self.get("rules") or {"groups": []})["groups"]
        rules = [rule["health"] for group in groups for rule in group["rules"]]
        return [one["health"] for one in targets] == ["up"] and len(rules) > 30 and set(rules) == {"ok"}


def remember(directory: Path, target: str) -> None:
    """Six hours in which all was well, as rates of errors and slow answers over hours mean nothing after minutes."""
    names = {
        "tandem_operations_total": 'operation="other",outcome="ok"',
        "tandem_operation_seconds_bucket": 'operation="other",le="0.1"',
        "tandem_operation_seconds_count": 'operation="other"',
    }
    end, a_minute = time.time() - 120, 60 * QUERIES_PER_SECOND
    lines = [
        f'{name}{{{labels},instance="{target}",job="tandem"}} {a_minute * (360 - minute)} {end - 60 * minute:.0f}'
        for name, labels in names.items()
        for minute in range(360, 0, -1)
    ]
    source = directory / "before"
    source.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    arguments = ["promtool", "tsdb", "create-blocks-from", "openmetrics", source.name, "."]
    subprocess.run(arguments, cwd=directory, check=True, capture_output=True)  # noqa: S603 — ours


@contextmanager
def running_prometheus(directory: Path, replica: Replica) -> Iterator[Prometheus]:
    """For the length of a block."""
    port, target = free_port(), replica.url.removeprefix("http://")
    rules = ROOT / "deploy" / "prometheus"
    directory.mkdir()
    remember(directory, target)
    configuration = directory / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(rules=rules, token=SERVICE_TOKEN, target=target), encoding="utf-8")
    binary = shutil.which("prometheus")
    if binary is None:
        sys.exit("there is no prometheus here; on Debian: apt-get install prometheus")
    arguments = [
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 — ours
            [binary, *arguments], stdout=log, stderr=log
        )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)


async def ask_on(replica: Replica, outcomes: dict[str, int], seconds: list[float]) -> None:
    """Query after query, each in its time whatever became of those before; counts what came of them, and how soon."""
    headers = {"Authorization": f"Bearer {SERVICE_TOKEN}"}
    async with httpx.AsyncClient(headers=headers, timeout=5) as client:

        async def one(number: int) -> None:
            begun = time.perf_counter()
            try:
                query = QUERY % (number % TALENTS + 1)
                answer = (await client.post(f"{replica.url}/graphql", json={"query": query})).json()
                degraded = "degraded" in answer.get("extensions", {})
                outcome = "error" if "errors" in answer else "degraded" if degraded else "ok"
            except httpx.HTTPError:
                outcome = "no answer"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            seconds.append(time.perf_counter() - begun)

        running: set[asyncio.Task[None]] = set()
        number = 0
        while True:
            number += 1
            task = asyncio.create_task(one(number))
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(1 / QUERIES_PER_SECOND)


async def until(reached: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> float | None:
    """Seconds until it is so; None when it is not by then."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if await asyncio.to_thread(reached):
            return time.monotonic() - begun
        await asyncio.sleep(1)
    return None


async def first_look(prometheus: Prometheus, alert: str, stack: Stack, replica: Replica) -> None:
    """What the runbook tells to look at first, and what is seen."""
    rules = prometheus.get("rules", type="alert")["groups"]
    page = next(rule["annotations"]["runbook"] for group in rules for rule in group["rules"] if rule["name"] == alert)
    look = (ROOT / page).read_text(encoding="utf-8").split("## First look")[1].split("\n## ")[0]
    print(f"  {page}")
    for line in "\n".join(re.findall(r"```\n(.*?)```", look, re.DOTALL)).splitlines():
        if re.match(r"tandem doctor", line):
            done = await asyncio.to_thread(tandem, replica.data, "doctor", **(stack.settings | TIMES))
            print(
                f"    {line}: exit {done.returncode}\n      "
                + "\n      ".join((done.stdout + done.stderr).splitlines())
            )
        elif "tandem_" in line or line.startswith("up"):
            found = prometheus.get("query", query=line)["result"]
            values = [f"{' '.join(one['metric'].values())} {float(one['value'][1]):.3g}" for one in found]
            print(f"    {line}\n      {'; '.join(values) or 'nothing'}")


@dataclass(frozen=True)
class Tried:
    """What came of a fault. after_s: it was made the alert fired; ended_s: it was healed the alert was over.

    waits: whether its end was waited for.
    """

    alert: str
    after_s: float | None
    ended_s: float | None
    waits: bool
    others: set[str]
    outcomes: dict[str, int]
    latencies_s: list[float]

    @property
    def is_expected(self) -> bool:
        """Whether exactly this alert fired, and none once all was well."""
        has_ended = self.ended_s is not None or not self.waits
        return self.after_s is not None and has_ended and not self.others

    def __str__(self) -> str:
        fired = "never fired" if self.after_s is None else f"fired after {self.after_s:.0f} s"
        over = "it never ended" if self.ended_s is None else f"over {self.ended_s:.0f} s after the fault"
        over = over if self.waits else "its end not waited for"
        return f"{self.alert} {fired}, {over}, other alerts: {', '.join(sorted(self.others)) or 'none'}"


async def try_fault(
    prometheus: Prometheus,
    replica: Replica,
    alert: str,
    break_it: Callable[[], Any],
    heal: Callable[[], Any],
    look: Callable[[], Awaitable[None]] | None = None,
    patience_s: float = PATIENCE_SECONDS,
    waits: bool = True,
) -> Tried:
    """Which alerts fire while it is broken, and after it.

    look: what is done while the alert fires; waits: whether its end is waited for.
    """
    outcomes: dict[str, int] = {}
    latencies_s: list[float] = []
    asking = asyncio.create_task(ask_on(replica, outcomes, latencies_s))
    others: set[str] = set()

    def fires() -> bool:
        firing = prometheus.firing()
        others.update(firing - {alert})
        return alert in firing

    try:
        await asyncio.to_thread(break_it)
        after_s = await until(fires, patience_s)
        if after_s is not None and look is not None:
            await look()
    finally:
        await asyncio.to_thread(heal)
    ended_s = await until(lambda: not fires(), patience_s) if waits else None
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    return Tried(alert, after_s, ended_s, waits, others, outcomes, sorted(latencies_s))


def publish(models: Path, version: str) -> None:
    """A model that was trained just now."""
    model, store = small_model(version, talents=TALENTS, jobs=JOBS), DirectoryModelStore(models)
    store.publish(replace(model, manifest=replace(model.manifest, trained_at_ms=time.time_ns() // 1_000_000)))
    store.close()


def point(models: Path, current: bytes) -> None:
    """Make another model the one to serve."""
    new = models / "CURRENT.new"
    new.write_bytes(current)
    new.rename(models / "CURRENT")


def tear(models: Path, elsewhere: Path) -> None:
    """Have a model served next that is cut off."""
    publish(elsewhere, "m3")
    largest = max((elsewhere / "m3").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-100])
    shutil.copytree(elsewhere / "m3", models / "m3")
    point(models, (elsewhere / "CURRENT").read_bytes())


async def run(faults: list[str], directory: Path, url: str, stack: Stack) -> int:
    """Every fault, one after the other."""
    models = stack.directory / "models"
    publish(models, "m2")
    replica = stack.replica(**TIMES)
    run_elasticsearch = launcher()
    port = int(url.rpartition(":")[2])

    sound = (models / "CURRENT").read_bytes()
    cases: dict[str, tuple[str, Callable[[], Any], Callable[[], Any]]] = {
        "elasticsearch": (
            "TandemBreakerOpen",
            lambda: run_elasticsearch.stop(port, run_elasticsearch.DEFAULT_DIRECTORY, keep_data=True),
            lambda: run_elasticsearch.start(
                port, "512m", run_elasticsearch.DEFAULT_DIRECTORY, ends_with_caller=True, keep_data=True
            ),
        ),
        "model": ("TandemModelRefused", lambda: tear(models, directory / "elsewhere"), lambda: point(models, sound)),
        "gateway": ("TandemDown", replica.kill, replica.start),
    }
    warm = asyncio.create_task(ask_on(replica, {}, []))
    await asyncio.sleep(10)
    warm.cancel()
    failed = 0
    with running_prometheus(directory / "prometheus", replica) as prometheus:
        up = await until(prometheus.is_up)
        print(
            "Prometheus never had its target and rules" if up is None else f"target up, rules loaded after {up:.0f} s"
        )
        failed += up is None
        for fault in faults:
            alert, break_it, heal = cases[fault]
            look = partial(first_look, prometheus, alert, stack, replica)
            tried = await try_fault(prometheus, replica, alert, break_it, heal, look)
            shares = (
                f"p{100 * share:.0f} {tried.latencies_s[int(share * len(tried.latencies_s))] * 1_000:.0f} ms"
                for share in (0.5, 0.9, 0.99)
            )
            print(f"{tried}; answers: {tried.outcomes}; as the client saw it: {', '.join(shares)}", flush=True)
            failed += not tried.is_expected
    return int(failed > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="fault", help="elasticsearch, model, gateway")
    faults = parser.parse_args().faults or ["elasticsearch", "model", "gateway"]
    with tempfile.TemporaryDirectory() as name, running_elasticsearch() as url:
        directory = Path(name)
        with running_stack(directory, url) as stack:
            return asyncio.run(run(faults, directory, url, stack))


if __name__ == "__main__":
    sys.exit(main())
