"""Rows of who asks: forged tokens, a provider that is gone, viewers who all ask at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx

from benchmarks.chaos.arena import FIRST, JOBS, LIST, TALENTS, Arena, country_of
from benchmarks.chaos.load import headers_of
from benchmarks.chaos.rows import Observed, row
from tests.issuer import AUDIENCE, ISSUER, Published, both_keys, ec_key, jwk, key_set, publishing, rsa_key, token
from tests.production.stack import Replica


def signed(talent: int, **more: object) -> str:
    """A token of a talent, from now on for an hour."""
    now = int(time.time())
    return token(**{"sub": f"t{talent}", "iat": now, "exp": now + 3_600, **more})  # type: ignore[arg-type]


@contextmanager
def by_provider(arena: Arena, **more: str) -> Iterator[tuple[Replica, Published]]:
    """A gateway that takes the tokens of a provider. more: settings."""
    with publishing(both_keys()) as provider:
        settings = {
            "TANDEM_AUTH": "jwt",
            "TANDEM_JWKS_URL": provider.url,
            "TANDEM_ISSUER": ISSUER,
            "TANDEM_AUDIENCE": AUDIENCE,
            "TANDEM_WORKERS": str(arena.workers_beside),
        }
        gateway = Replica(
            arena.directory / f"gateway-{time.monotonic_ns()}", {**arena.behind_proxies, **settings, **more}
        )
        gateway.start()
        try:
            yield gateway, provider
        finally:
            arena.end(gateway)


def ask(arena: Arena, gateway: Replica, bearer: str, talent: int = 1) -> httpx.Response:
    """The list of a talent."""
    variables = {"id": f"t{talent}", "first": FIRST, "filter": {"countries": [country_of(talent)]}}
    return arena.ask(LIST, variables, gateway, bearer)


@row(
    31,
    "forged tokens, provider gone, keys changed, a flood of unknown keys",
    "none accepted; good tokens go on; at most one fetch in 30 s a process",
    fast=True,
)
def forged(arena: Arena) -> Observed:
    now = int(time.time())
    header, payload, signature = signed(1).split(".")
    wrong = {
        "expired": signed(1, iat=now - 7_200, exp=now - 3_600),
        "no end": signed(1, exp=None),
        "ten years": signed(1, exp=now + 10 * 365 * 86_400),
        "not yet": signed(1, nbf=now + 3_600),
        "audience": signed(1, aud="other"),
        "issuer": signed(1, iss="https://elsewhere.example/"),
        "role": signed(1, role="root"),
        "no signature": f"{header}.{payload}.",
        "half": f"{header}.{payload}",
        "cut": f"{header}.{payload}.{signature[:-8]}",
        "wrong key": signed(1, private=rsa_key(7)),
        "wrong kind": signed(1, private=ec_key(7), kid="r"),
        "huge": "x" * 60_000,
        "garbage": "a.b.c",
    }
    flood = 200 if arena.is_fast else 2_000
    with by_provider(arena) as (gateway, provider):
        first = ask(arena, gateway, signed(1)).json()
        is_good = first.get("data", {}).get("talent") is not None
        accepted = [
            name
            for name, bearer in wrong.items()
            if (ask(arena, gateway, bearer).json().get("data") or {}).get("talent") is not None
        ]
        asked, begun = provider.asked, time.monotonic()
        provider.text = None  # hangs up on whoever asks
        statuses: Counter[int] = Counter()
        with httpx.Client(trust_env=False, timeout=30) as client:
            for number in range(flood):
                bearer = token(kid=f"unknown-{number}", iat=now, exp=now + 60)
                statuses[
                    client.post(
                        f"{gateway.url}/graphql", json={"query": "{ __typename }"}, headers=dict(headers_of(bearer))
                    ).status_code
                ] += 1
        fetched, took = provider.asked - asked, time.monotonic() - begun
        goes_on = "errors" not in ask(arena, gateway, signed(2), 2).json()
        provider.text = key_set(jwk(rsa_key(1), "new"), jwk(ec_key(), "e"))
        is_rotated = False
        until = time.monotonic() + (45 if not arena.is_fast else 1)
        while not is_rotated and time.monotonic() < until:
            answer = ask(arena, gateway, signed(3, private=rsa_key(1), kid="new"), 3).json()
            is_rotated = (answer.get("data") or {}).get("talent") is not None
            time.sleep(1)
    bound = arena.workers_beside * (took // 30 + 2)
    return Observed(
        f"{len(wrong)} forged, accepted: {accepted or 'none'}; good one {'taken' if is_good else 'REFUSED'}; {flood} "
        f"by unknown keys in {took:.0f} s: {dict(statuses)}, {fetched} fetches by {arena.workers_beside} processes; "
        f"provider gone: good tokens {'go on' if goes_on else 'FAIL'}; "
        f"new key {'taken' if is_rotated else 'not waited for'}",
        is_good
        and not accepted
        and goes_on
        and fetched <= bound
        and not statuses[200]
        and (is_rotated or arena.is_fast),
    )


TALENT_AND_LIST = """query($id: ID!) { talent(talentId: $id) { talentId
  recommendedJobs(first: 10) { totalCount nodes { jobId } } } }"""
JOB_AND_LIST = """query($id: ID!) { job(jobId: $id) { jobId client { clientId }
  recommendedTalents(first: 10) { totalCount nodes { talentId } } } }"""
UPSERT = "mutation($t: [TalentInput!]!) { upsertTalents(input: { talents: $t }) { acceptedCount } }"
ERASE = "mutation($id: ID!) { deleteTalent(input: { id: $id, erase: true }) { receiptId userErrors { code } } }"
NOBODY = "t999999"
ROLES = ("talent", "client", "service", "admin")


@dataclass(frozen=True)
class Asker:
    """Somebody who asks. sub: whose token it is."""

    role: str
    sub: str

    @property
    def bearer(self) -> str:
        """Their token."""
        now = int(time.time())
        return token(sub=self.sub, role=self.role, iat=now, exp=now + 3_600)

    def question(self, dice: Random) -> tuple[str, str, str]:
        """The text, the id, and what must come: `own`, `hidden` or `forbidden`."""
        talent, job = f"t{dice.randint(1, TALENTS)}", f"j{dice.randint(1, JOBS)}"
        chance = dice.random()
        if self.role == "talent":
            own = chance < 0.4
            talent = self.sub if own else NOBODY if chance < 0.5 else talent
            if chance > 0.9:
                return JOB_AND_LIST, job, "forbidden"
            return TALENT_AND_LIST, talent, "own" if talent == self.sub else "hidden"
        if self.role == "client":
            job = "j999999" if chance < 0.1 else job
            if chance > 0.9:
                return TALENT_AND_LIST, talent, "forbidden"
            is_own = job != "j999999" and f"c{int(job[1:]) % 4}" == self.sub
            return JOB_AND_LIST, job, "own" if is_own else "hidden"
        if chance < 0.1:
            return TALENT_AND_LIST, NOBODY, "hidden"
        return (TALENT_AND_LIST, talent, "own") if chance < 0.5 else (JOB_AND_LIST, job, "own")

    def wrong(self, asked: str, expected: str, answer: Mapping[str, Any]) -> str | None:
        """What is wrong with an answer; None when it is right."""
        found = (answer.get("data") or {}).get("talent" if asked[0] == "t" else "job")
        codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
        listed = (found or {}).get("recommendedJobs" if asked[0] == "t" else "recommendedTalents")
        if expected == "own":
            shown = found is not None and found["talentId" if asked[0] == "t" else "jobId"] == asked and listed
            return None if shown else f"was not shown {asked}, its own: {codes or found}"
        if expected == "forbidden":
            return None if listed is None and codes == {"FORBIDDEN"} else f"was shown a list of {asked}"
        return None if found is None and not codes else f"was shown {asked}, or told that it is there: {codes}"


@row(
    32,
    "talents, clients, services and admins ask at once, for what is theirs, for another's and for what is not there",
    "each is shown its own and nobody another's; nobody is shown what was erased, or what an earlier role was shown",
    fast=True,
)
def viewers(arena: Arena) -> Observed:
    seconds = 5 if arena.is_fast else 45
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    with by_provider(arena) as (gateway, _):
        asyncio.run(_all_at_once(arena, gateway, seconds, seen, wrong))
        wrong += after_another_role(arena, gateway, seen) + after_erasure(arena, gateway, seen)
    return Observed(
        f"{dict(sorted(seen.items()))} in {seconds} s; wrong: {'; '.join(wrong[:3]) or 'none'}",
        not wrong and all(seen[f"{role} {what}"] for role in ROLES for what in ("own", "hidden")),
    )


async def _all_at_once(arena: Arena, gateway: Replica, seconds: float, seen: Counter[str], wrong: list[str]) -> None:
    until = time.monotonic() + seconds
    askers = [Asker("talent", f"t{number}") for number in range(1, 7)]
    askers += [Asker("client", f"c{number}") for number in range(4)]
    askers += [Asker("service", "backend"), Asker("admin", "root")]

    async def ask_on(number: int, asker: Asker) -> None:
        dice = arena.dice(1_000 + number)
        async with httpx.AsyncClient(headers=dict(headers_of(asker.bearer)), timeout=30, trust_env=False) as client:
            while time.monotonic() < until:
                query, asked, expected = asker.question(dice)
                body = {"query": query, "variables": {"id": asked}}
                response = await client.post(f"{gateway.url}/graphql", json=body)
                if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    seen["turned away for load"] += 1
                    continue
                seen[f"{asker.role} {expected}"] += 1
                if said := asker.wrong(asked, expected, response.json()):
                    wrong.append(f"{asker.role} {asker.sub} {said}")

    async with asyncio.TaskGroup() as group:
        for number, asker in enumerate(askers):
            group.create_task(ask_on(number, asker))


def after_another_role(arena: Arena, gateway: Replica, seen: Counter[str]) -> list[str]:
    """What somebody is shown wrongly whose role was another when the cache was filled."""
    wrong = []
    for role, expected in (("talent", "own"), ("client", "forbidden"), ("service", "own"), ("client", "forbidden")):
        asker = Asker(role, "t7")
        for _ in range(4):  # by both processes
            answer = arena.ask(TALENT_AND_LIST, {"id": "t7"}, gateway, asker.bearer).json()
            seen["of another role"] += 1
            if said := asker.wrong("t7", expected, answer):
                wrong.append(f"t7 as a {role} {said}")
    return wrong


def after_erasure(arena: Arena, gateway: Replica, seen: Counter[str]) -> list[str]:
    """Who is still shown a talent that was erased after both processes had shown it."""
    service, gone = Asker("service", "backend"), f"t9{time.time_ns()}"
    talent = {"talentId": gone, "title": "Gone soon", "skills": ["Go"], "country": country_of(1)}
    found = arena.ask(UPSERT, {"t": [talent]}, gateway, service.bearer).json()
    assert found["data"]["upsertTalents"]["acceptedCount"] == 1, found
    askers = [service, Asker("talent", gone), Asker("admin", "root")]
    for asker in askers * 3:
        arena.ask(TALENT_AND_LIST, {"id": gone}, gateway, asker.bearer)
    erased = arena.ask(ERASE, {"id": gone}, gateway, service.bearer).json()
    assert erased["data"]["deleteTalent"]["receiptId"], erased
    wrong = []
    for asker in askers * 4:
        seen["erased"] += 1
        if said := asker.wrong(gone, "hidden", arena.ask(TALENT_AND_LIST, {"id": gone}, gateway, asker.bearer).json()):
            wrong.append(f"{asker.role} {said} though it was erased")
    return wrong
