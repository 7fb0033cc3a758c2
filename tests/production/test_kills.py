"""A gateway and Redis killed with SIGKILL while clients write: nothing acknowledged is lost, and the other goes on."""

from __future__ import annotations

import asyncio

from tests.production.kills import Victim, gateway, kill_and_count
from tests.production.stack import Replica, Stack


def test_nothing_acknowledged_is_lost_when_a_gateway_and_redis_are_killed(
    stack: Stack, replicas: tuple[Replica, Replica]
) -> None:
    victims = [gateway("gateway", replicas[0]), Victim("redis", stack.redis.kill, stack.redis.start)]
    toll = asyncio.run(kill_and_count(stack, replicas, victims, dead_seconds=0.2, seed=1))
    assert toll.faults == []
    assert toll.kills == {"gateway": 1, "redis": 1}
    assert min(len(toll.event_ids), toll.upserts, toll.while_other_was_dead) > 0
    assert toll.refusals["UNAVAILABLE"] > 0
    assert set(toll.refusals) <= {"UNAVAILABLE", "ConnectError", "ReadError", "RemoteProtocolError"}
