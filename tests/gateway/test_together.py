"""Questions that are asked together: who comes at the same time shares one, and none is lost or asked twice."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence

import pytest

from gateway.resilience.together import Together


class Server:
    """Answers a key by itself, one question after the other as they are let go."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.gates: list[asyncio.Future[None]] = []

    async def ask(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.asked.append(list(keys))
        self.gates.append(asyncio.get_running_loop().create_future())
        await self.gates[-1]
        return {key: key for key in keys}


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_asked_in_the_turn_in_which_another_question_ends_is_asked_once() -> None:
    server, failures = Server(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    together = Together(server.ask, at_once=2)
    first = asyncio.create_task(together.get([1]))
    await turns()
    second = asyncio.create_task(together.get([2]))  # takes the free place, and before it is asked the other is free
    server.gates[0].set_result(None)
    assert await first == [1]
    await turns()
    third = asyncio.create_task(together.get([3]))
    await turns()
    assert server.asked == [[1], [2], [3]]  # there are two places still
    for gate in server.gates[1:]:
        gate.set_result(None)
    assert await asyncio.gather(second, third) == [[2], [3]]
    gc.collect()  # what was raised and nobody asked for is said now
    assert not failures


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_all_are_answered_however_they_come(at_once: int) -> None:
    async def ask(keys: Sequence[int]) -> Mapping[int, int]:
        for _ in range(sum(keys) % 3):
            await asyncio.sleep(0)
        return {key: -key for key in keys}

    together = Together(ask, at_once=at_once)

    async def one(number: int) -> list[int]:
        for _ in range(number % 7):
            await asyncio.sleep(0)
        return await together.get([number, number + 1])

    async with asyncio.timeout(20):
        for _ in range(20):
            found = await asyncio.gather(*(one(number) for number in range(60)))
            assert found == [[-number, -number - 1] for number in range(60)]


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    server = Server()
    together = Together(server.ask)
    asking = [asyncio.create_task(together.get([number])) for number in range(4)]
    await turns()
    asking[0].cancel()
    server.gates[0].set_result(None)
    assert await asyncio.gather(*asking[1:]) == [[1], [2], [3]]
    assert server.asked == [[0, 1, 2, 3]]
