"""Rows of who asks: forged tokens, a provider that is gone, viewers who all ask at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from benchmarks.chaos.arena import FIRST, LIST, TALENTS, Arena, country_of
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
    bound = 2 * (took // 30 + 2)
    return Observed(
        f"{len(wrong)} forged, accepted: {accepted or 'none'}; good one {'taken' if is_good else 'REFUSED'}; {flood} "
        f"by unknown keys in {took:.0f} s: {dict(statuses)}, {fetched} fetches by two processes; provider gone: "
        f"good tokens {'go on' if goes_on else 'FAIL'}; new key {'taken' if is_rotated else 'not waited for'}",
        is_good
        and not accepted
        and goes_on
        and fetched <= bound
        and not statuses[200]
        and (is_rotated or arena.is_fast),
    )


@row(
    32,
    "viewers of all roles ask at once, for what is theirs and what is not",
    "nobody is shown what is another's",
    fast=True,
)
def viewers(arena: Arena) -> Observed:
    seconds = 6 if arena.is_fast else 60
    seen: Counter[str] = Counter()
    leaks: list[str] = []
    with by_provider(arena) as (gateway, _):
        asyncio.run(_all_at_once(arena, gateway, seconds, seen, leaks))
    return Observed(
        f"{dict(seen)} in {seconds} s; leaks: {leaks[:3] or 'none'}",
        not leaks and seen["own"] > 20 and seen["hidden"] > 20,
    )


async def _all_at_once(arena: Arena, gateway: Replica, seconds: float, seen: Counter[str], leaks: list[str]) -> None:
    until = time.monotonic() + seconds

    async def viewer(number: int) -> None:
        dice = arena.dice(1_000 + number)
        bearer = signed(number)
        async with httpx.AsyncClient(headers=dict(headers_of(bearer)), timeout=30, trust_env=False) as client:
            while time.monotonic() < until:
                asked = number if dice.random() < 0.5 else dice.randint(1, TALENTS)
                variables = {"id": f"t{asked}", "first": FIRST, "filter": {"countries": [country_of(asked)]}}
                response = await client.post(f"{gateway.url}/graphql", json={"query": LIST, "variables": variables})
                if response.status_code != httpx.codes.OK:
                    seen[f"status {response.status_code}"] += 1
                    continue
                talent = (response.json().get("data") or {}).get("talent")
                if asked == number:
                    seen["own" if talent is not None else "own, not shown"] += 1
                    if talent is not None and talent["talentId"] != f"t{number}":
                        leaks.append(f"t{number} was shown {talent['talentId']}")
                elif talent is None:
                    seen["hidden"] += 1
                else:
                    leaks.append(f"t{number} was shown t{asked}")

    async with asyncio.TaskGroup() as group:
        for number in range(1, 13):
            group.create_task(viewer(number))
