"""The row of faults at random, and what must hold whatever happens."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from random import Random

import httpx
import orjson

from benchmarks.chaos.access import Asker, by_provider
from benchmarks.chaos.arena import FIRST, TALENTS, Arena, country_of, error_of, judged_page, within
from benchmarks.chaos.load import OK, SHED, headers_of
from benchmarks.chaos.rows import Observed, row
from benchmarks.chaos.writing import kept_events
from benchmarks.vegeta import Request
from gateway.adapters.directory.models import DirectoryModelStore
from tests.faults import HANG, REFUSE, RESET, SLOW, TORN
from tests.gateway.served_market import small_model
from tests.production.races import event_of
from tests.production.stack import RECORD, Replica

WRITE_EVERY_S = 0.05
# A talent asks for its own list, and for another talent.
OWN_AND_OTHER = """query Both($id: ID!, $other: ID!, $filter: JobFilter, $first: Int!) {
  viewer { talent { talentId } } other: talent(talentId: $other) { talentId }
  own: talent(talentId: $id) { talentId
    recommendedJobs(first: $first, filter: $filter) { totalCount degradedReasons nodes { jobId country status } } } }"""
LEAK = "shown another"


def judged(body: bytes) -> str:
    """What an answer to OWN_AND_OTHER is."""
    answer = orjson.loads(body)
    if "errors" in answer:
        return error_of(answer)
    data = answer["data"]
    viewer, own = data["viewer"]["talent"], data["own"]
    if data["other"] is not None or (viewer and own and viewer["talentId"] != own["talentId"]):
        return LEAK
    if own is None:
        return "not shown its own"
    return judged_page(answer, own["recommendedJobs"], country_of(int(own["talentId"][1:])))


class Writer:
    """Records events, one after the other, each once, and remembers what was acknowledged."""

    def __init__(self, gateway: Replica) -> None:
        self.acknowledged: list[str] = []
        self.refused: Counter[str] = Counter()
        self.stamp = time.time_ns()
        self._gateway = gateway
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _write(self) -> None:
        number, bearer = 0, Asker("service", "backend").bearer
        with httpx.Client(headers=dict(headers_of(bearer)), timeout=20, trust_env=False) as client:
            while not self._is_over.wait(WRITE_EVERY_S):
                number += 1
                name = f"nemesis-{self.stamp}-{number}"
                events = [event_of(name, "VIEW", f"t{number % TALENTS + 1}", "j5")]
                try:
                    answer = client.post(
                        f"{self._gateway.url}/graphql", json={"query": RECORD, "variables": {"events": events}}
                    ).json()
                except httpx.HTTPError as error:
                    self.refused[type(error).__name__] += 1
                    continue
                if "errors" in answer:
                    self.refused[answer["errors"][0]["extensions"]["code"]] += 1
                elif answer["data"]["recordEvents"]["acceptedCount"] == 1:
                    self.acknowledged.append(name)
                else:
                    self.refused["not accepted"] += 1


class Nemesis:
    """Does what goes wrong, by chance."""

    def __init__(self, arena: Arena, gateway: Replica, dice: Random) -> None:
        self.done: Counter[str] = Counter()
        self.kills = 0
        self._arena, self._gateway, self._dice = arena, gateway, dice
        self._faults = {"hang": HANG, "refuse": REFUSE, "reset": RESET, "slow": SLOW, "torn": TORN}

    def strike(self) -> None:
        """Make one fault, and heal it."""
        dice, stack = self._dice, self._arena.stack
        chances = ["proxy"] * 6 + ["kill a process", "renew", "new model"]
        name = dice.choice([*chances, *(f"{what} {of}" for what in ("kill", "stop") for of in ("cache", "log"))])
        server = stack.cache if name.endswith("cache") else stack.redis
        match name.split()[0]:
            case "proxy":
                proxy = dice.choice((self._arena.catalogue, self._arena.events, self._arena.cache))
                name = dice.choice(sorted(self._faults))
                proxy.fail(self._faults[name])
                time.sleep(dice.uniform(0.2, 4))
                proxy.heal()
            case "renew":
                os.kill(self._gateway.pid, signal.SIGHUP)
            case "new":
                store = DirectoryModelStore(stack.directory / "models", kept=3)
                store.publish(small_model(f"nemesis-{time.monotonic_ns()}", talents=300, jobs=240))
                store.close()
            case "stop":
                server.pause()
                time.sleep(dice.uniform(0.1, 2))
                server.resume()
            case "kill" if name == "kill a process":
                self.kills += 1
                os.kill(dice.choice(self._arena.workers(self._gateway) or [self._gateway.pid]), signal.SIGKILL)
            case _:
                server.kill()
                time.sleep(dice.uniform(0.1, 2))
                server.start()
        self.done[name] += 1
        time.sleep(dice.uniform(0.2, 2))


@row(
    42,
    "random faults: hang, reset, refuse, slow, torn, kill, stop, renew, new model, under lists and events of talents",
    "no 5xx, no list wrong or another's, nothing acknowledged lost or doubled; p99 <= 300 ms (gate: 3 times); nothing "
    "failed but what a killed process had in flight",
)
def nemesis(arena: Arena) -> Observed:
    dice: Random = arena.dice(42)
    with by_provider(arena) as (gateway, _):
        until_shown(gateway)
        cause, requests = Nemesis(arena, gateway, dice), requests_of(dice, gateway)
        with (
            arena.load(gateway, rate=arena.rate / 2, seconds=7_200, requests=requests, judge=judged) as load,
            Writer(gateway) as writer,
        ):
            time.sleep(2)
            until = time.monotonic() + 60 * arena.minutes
            while time.monotonic() < until:
                cause.strike()
            arena.heal()
            time.sleep(5)
    kept = kept_events(arena, f"nemesis-{writer.stamp}")
    missing = [name for name in writer.acknowledged if kept[name] != 1]
    window, p99 = load.all(), load.all().quantile_ms(0.99)
    lost = sum(count for verdict, count in window.verdicts.items() if verdict.startswith("no answer"))
    shed, leaks = window.verdicts[SHED], window.verdicts[LEAK]
    return Observed(
        f"{arena.minutes:g} minutes, {dict(sorted(cause.done.items()))}: {window.text()}; {leaks} leaks, {lost} "
        f"without an answer by {cause.kills} kills, {shed} turned away for load; {len(writer.acknowledged)} events "
        f"acknowledged, {len(missing)} of them lost or doubled, refused {dict(writer.refused)}",
        not leaks
        and not missing
        and len(writer.acknowledged) > 0
        and window.failed == lost
        and lost <= cause.kills * max(5, arena.rate / 2)
        and shed <= 0.01 * len(window.answers)
        and p99 <= arena.late_ms,
    )


def requests_of(dice: Random, gateway: Replica) -> list[Request]:
    """Of forty talents, by their own tokens, half of them never asked before."""
    bearers = {number: Asker("talent", f"t{number}").bearer for number in dice.sample(range(1, TALENTS + 1), 40)}
    made = []
    for number, talent in enumerate([*bearers] * 10):
        wanted = {"countries": [country_of(talent)]} | (
            {"postedWithinDays": dice.randint(2_000, 3_600)} if number % 2 else {}
        )
        other = f"t{talent % TALENTS + 1}"
        variables = {"id": f"t{talent}", "other": other, "filter": wanted, "first": FIRST}
        body = {"query": OWN_AND_OTHER, "variables": variables}
        made.append(Request(f"{gateway.url}/graphql", body, headers_of(bearers[talent])))
    return made


def until_shown(gateway: Replica) -> None:
    """Wait for a gateway that is right and not degraded. Raises TimeoutError."""
    body = {
        "query": OWN_AND_OTHER,
        "variables": {"id": "t1", "other": "t2", "filter": {"countries": [country_of(1)]}, "first": FIRST},
    }
    headers = dict(headers_of(Asker("talent", "t1").bearer))

    def is_shown() -> bool:
        answer = httpx.post(f"{gateway.url}/graphql", json=body, headers=headers, timeout=30, trust_env=False)
        return answer.status_code == httpx.codes.OK and judged(answer.content) == OK

    if within(30, is_shown) is None:
        raise TimeoutError("the gateway does not come to rest: its answers stay degraded")
