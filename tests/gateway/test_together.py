"""Questions that are asked together: who comes at the same time shares one, and none is lost or asked twice."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence

import pytest

from gateway.resilience.together import Together
from recommender.degradation import CURRENT, Degradation
from recommender.errors import UnavailableError


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


class Counting:
    """Answers with how often it was asked, when it is told to."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.failure: Exception | None = None

    async def ask(self, keys: Sequence[str]) -> dict[str, int]:
        self.asked.append(sorted(keys))
        self.was_asked.set()
        number = len(self.asked)
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return dict.fromkeys(keys, number)


async def test_what_comes_while_a_question_is_under_way_is_asked_after_it_and_once_for_all() -> None:
    server = Counting()
    together = Together(server.ask)
    first = [asyncio.create_task(together.get(["a"])), asyncio.create_task(together.get(["b", "a"]))]
    await server.was_asked.wait()
    later = [asyncio.create_task(together.get([key])) for key in ("a", "c", "a")]
    await asyncio.sleep(0)
    assert server.asked == [["a", "b"]]
    server.may_answer.set()
    assert [await one for one in first] == [[1], [1, 1]]
    assert [await one for one in later] == [[2], [2], [2]]
    assert server.asked == [["a", "b"], ["a", "c"]]
    assert await together.get(["a"]) == [3]


async def test_as_many_questions_as_may_be_are_under_way_at_once() -> None:
    server = Counting()
    together = Together(server.ask, at_once=2)
    asked = []
    for key in "abc":
        asked.append(asyncio.create_task(together.get([key])))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert server.asked == [["a"], ["b"]]
    server.may_answer.set()
    assert [await one for one in asked] == [[1], [2], [3]]


async def test_a_failure_is_everybodys_who_asked_and_nobody_elses() -> None:
    server = Counting()
    together = Together(server.ask)
    failing = [asyncio.create_task(together.get(["a"])) for _ in range(3)]
    server.failure = UnavailableError("catalogue", "it is away")
    server.may_answer.set()
    assert [type(one) for one in await asyncio.gather(*failing, return_exceptions=True)] == [UnavailableError] * 3
    server.failure = None
    assert await together.get(["a"]) == [2]


@pytest.mark.parametrize("fails", [False, True])
async def test_one_who_leaves_leaves_the_others_their_answer_or_its_failure(fails: bool) -> None:
    server = Counting()
    together = Together(server.ask)
    leaving, staying = [asyncio.create_task(together.get(["a"])) for _ in range(2)]
    await server.was_asked.wait()
    leaving.cancel()
    if fails:
        server.failure = UnavailableError("catalogue", "it is away")
    server.may_answer.set()
    (answer,) = await asyncio.gather(staying, return_exceptions=True)
    assert isinstance(answer, UnavailableError) if fails else answer == [1]
    assert leaving.cancelled()


async def test_a_failure_after_everybody_has_left_is_logged_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    server = Counting()
    together = Together(server.ask)
    leaving = asyncio.create_task(together.get(["a"]))
    await server.was_asked.wait()
    leaving.cancel()
    server.failure = UnavailableError("catalogue", "it is away")
    server.may_answer.set()
    await asyncio.gather(leaving, return_exceptions=True)
    server.failure = None
    assert await together.get(["a"]) == [2]
    assert not caplog.records


async def test_who_waits_for_a_shared_answer_has_waited_whoever_asked_first() -> None:
    server, begun_s = Server(), asyncio.get_running_loop().time()
    together = Together(server.ask)

    async def waited(key: int) -> float:
        current = Degradation()
        CURRENT.set(current)
        await together.get([key])
        return current.waited_s

    asking = [asyncio.create_task(waited(key)) for key in (1, 2)]
    await turns()
    await asyncio.sleep(0.05)
    server.gates[0].set_result(None)
    found = await asyncio.gather(*asking)
    took_s = asyncio.get_running_loop().time() - begun_s
    assert all(0.04 < one <= took_s + 0.01 for one in found)
    assert server.asked == [[1, 2]]
