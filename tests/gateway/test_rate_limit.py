"""What a caller may spend in a minute is spent once, by any gateway, and who has none left is told when to ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.graphql.services import Services
from gateway.resilience.cache import GuardedCache
from gateway.resilience.rate_limit import LocalBuckets, RateLimit, ThrottledError
from gateway.settings import Settings, SettingsError, load_settings
from gateway.wiring import open_cache
from tests.gateway.served_market import ServedMarket, close_market, open_market
from tests.servers import RedisServer, running_redis

TEN = "{ jobs(first: 9) { nodes { jobId } } }"  # costs 10
ASKED = "{ rateLimit { cost limit remaining resetAt } jobs(first: 8) { nodes { jobId } } }"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("rates"), "--appendonly", "no") as running:
        yield running


def limits(server: RedisServer, count: int, **limit: int) -> list[tuple[RateLimit, Any]]:
    """As of so many processes."""
    settings = Settings(cache_url=server.url, cache_timeout_ms=5_000)
    caches: list[Any] = [open_cache(settings, "catalogue") for _ in range(count)]
    return [(RateLimit(limit, GuardedCache(cache), sharers=count), cache) for cache in caches]


async def spent(limit: RateLimit, subject: str | None = "t-1", cost: int = 10, role: str = "talent") -> bool:
    """Whether it was there to be spent."""
    try:
        await limit.spend((role,), subject, cost)
    except ThrottledError:
        return False
    return True


async def test_fifty_at_once_by_two_gateways_spend_no_more_than_there_is(server: RedisServer) -> None:
    server.command("FLUSHALL")
    both = limits(server, 2, talent=100)
    outcomes = await asyncio.gather(*(spent(both[number % 2][0]) for number in range(50)))
    assert outcomes.count(True) == 10
    assert await spent(both[0][0], "t-2")  # has their own
    assert all([await spent(both[0][0], role="service") for _ in range(20)])  # which nothing limits
    for _, cache in both:
        cache.close()


async def test_without_the_server_each_process_gives_its_share(server: RedisServer) -> None:
    ((limit, cache), (_, other)) = limits(server, 2, talent=100)
    other.close()
    cache.close()
    outcomes = [await spent(limit) for _ in range(50)]
    assert outcomes.count(True) == 5
    assert limit.throttled == 45


async def test_a_key_that_holds_something_else_limits_nobody_for_long(server: RedisServer) -> None:
    ((limit, cache),) = limits(server, 1, talent=100)
    server.command("FLUSHALL")
    assert await spent(limit)
    (key,) = [part for part in server.command("KEYS", "*").split(b"\r\n") if part.startswith(b"{")]
    for garbage in (b"soon", b"99999999999999999999", b"-1"):
        server.command("SET", key, garbage)
        assert await spent(limit)
    cache.close()


def test_what_was_spent_comes_back_by_the_second() -> None:
    now = [0.0]
    buckets = LocalBuckets(lambda: now[0])
    assert buckets.spend("a", 60, 60).remaining == 0
    refused = buckets.spend("a", 10, 60)
    assert (refused.remaining, refused.wait_s, refused.full_s) == (0, pytest.approx(10), pytest.approx(60))
    now[0] = 10.0
    assert buckets.spend("a", 10, 60).wait_s == 0
    now[0] = 100.0
    assert buckets.spend("a", 1, 60).remaining == 59


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[ServedMarket]:
    opened = await open_market(tmp_path)
    yield opened
    await close_market(opened)


def limited(services: Services, **limit: int) -> None:
    """Put a limit on services that are served already."""
    object.__setattr__(services.guards, "rate_limit", RateLimit(limit, None, sharers=1))


async def test_who_has_spent_it_is_told_when_to_ask_again(market: ServedMarket) -> None:
    limited(market.services, engineer=25)
    told = (await market.ask(ASKED))["data"]["rateLimit"]
    assert (told["limit"], told["remaining"]) == (25, 25 - told["cost"])
    assert told["resetAt"].startswith("2025-10-09T")
    assert (await market.ask(TEN))["data"]["jobs"]["nodes"]
    for accept in ("application/json", "application/graphql-response+json"):
        refused = await market.client.post("/graphql", json={"query": TEN}, headers={"Accept": accept})
        answer = refused.json()
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["THROTTLED"]
        status = answer["extensions"]["cost"]["throttleStatus"]
        assert status["maximumAvailable"] == 25
        assert 0 <= status["currentlyAvailable"] < 10
        assert status["restoreRate"] == pytest.approx(25 / 60)
        assert "data" not in answer


async def test_without_a_limit_nothing_is_said_of_one(market: ServedMarket) -> None:
    told = (await market.ask(ASKED))["data"]["rateLimit"]
    assert (told["limit"], told["remaining"], told["resetAt"]) == (None, None, None)
    limited(market.services, talent=1)  # not the role that asks
    answer = await market.ask(TEN, None, **{"Tandem-Cost": "1"})
    assert answer["extensions"]["cost"]["throttleStatus"] is None


def test_limits_are_set_by_role() -> None:
    settings = load_settings(rate_limits="talent=20000, service=2000000")
    assert settings.rate_by_role == {"talent": 20_000, "service": 2_000_000}
    assert load_settings().rate_by_role == {}
    with pytest.raises(SettingsError, match="TANDEM_RATE_LIMITS: allowed is roles and costs such as"):
        load_settings(rate_limits="talent=many")
