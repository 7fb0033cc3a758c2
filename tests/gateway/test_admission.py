"""More is asked than can be answered: who gets a place, who waits, who is turned away, and how soon."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from gateway.http.shedding import Shedding
from gateway.resilience.admission import BURST, FEWEST, TARGET_S, WAIT_S, Admission

FULL = 10


def full(admission: Admission, caller: str = "greedy", count: int = FULL) -> None:
    """Take places without an end."""
    for _ in range(count):
        admission._admit(caller)


async def test_places_are_taken_until_there_are_none_and_come_back() -> None:
    admission = Admission(FULL)
    # A tenth of the places is for somebody else.
    assert [admission.enter("a", is_batch=False) for _ in range(FULL)] == [True] * 9 + [False]
    assert admission.enter("b", is_batch=False)
    assert not admission.enter("b", is_batch=False)
    admission.leave("a")
    assert admission.enter("b", is_batch=False)
    assert (admission.running, admission.counts["admitted"]) == (FULL, FULL + 1)


async def test_who_waits_gets_the_next_place_and_nobody_who_comes_later() -> None:
    admission = Admission(FULL)
    full(admission)
    waiting = asyncio.create_task(admission.wait("late", is_batch=False))
    await asyncio.sleep(0)
    admission.leave("greedy")
    assert not admission.enter("greedy", is_batch=False)
    assert await waiting
    assert (admission.waiting, admission.counts["waited"]) == (0, 1)


async def test_nobody_waits_for_long() -> None:
    admission = Admission(FULL)
    full(admission)
    begun = time.monotonic()
    assert not await admission.wait("late", is_batch=False)
    assert WAIT_S * 0.9 < time.monotonic() - begun < 1
    assert (admission.waiting, admission.counts["shed"]) == (0, 1)


async def test_who_would_wait_for_too_long_is_turned_away_at_once() -> None:
    admission = Admission(FULL)
    full(admission)
    earlier = [asyncio.create_task(admission.wait("late", is_batch=False)) for _ in range(BURST)]
    await asyncio.sleep(0)
    assert admission.waiting == BURST
    assert not await admission.wait("late", is_batch=False)
    assert admission.counts == {"admitted": FULL, "shed": 1}  # and none of those who wait
    await asyncio.gather(*earlier)


async def test_after_one_was_turned_away_only_those_wait_who_are_expected_to_get_a_place_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admission = Admission(FULL)
    ends(admission, 100, took_s=0.5)
    full(admission)
    assert not admission.refuses("late", is_batch=False)
    burst = [asyncio.create_task(admission.wait("late", is_batch=False)) for _ in range(BURST)]
    await asyncio.sleep(0)
    assert admission.refuses("late", is_batch=False)
    await asyncio.gather(*burst)
    some = [asyncio.create_task(admission.wait("late", is_batch=False)) for _ in range(2 * BURST)]
    await asyncio.sleep(0)
    assert admission.waiting == 5  # of a hundred a second, in QUEUE_S
    await asyncio.gather(*some)
    monkeypatch.setattr("gateway.resilience.admission.CALM_S", 0.0)
    assert not admission.refuses("late", is_batch=False)


async def test_the_callers_who_wait_come_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.resilience.admission.WAIT_S", 30.0)  # however late this machine is
    admission = Admission(FULL)
    full(admission)
    order: list[str] = []

    async def ask(caller: str) -> None:
        assert await admission.wait(caller, is_batch=False)
        order.append(caller)

    asking = [asyncio.create_task(ask(caller)) for caller in ("greedy", "greedy", "greedy", "greedy", "a", "b")]
    await asyncio.sleep(0)
    for _ in asking:
        admission.leave("greedy")
        await asyncio.sleep(0.001)
    await asyncio.gather(*asking)
    assert set(order[:3]) == {"greedy", "a", "b"}


async def test_who_has_most_waiting_makes_room_for_who_has_none() -> None:
    admission = Admission(FULL)
    full(admission)
    greedy = [asyncio.create_task(admission.wait("greedy", is_batch=False)) for _ in range(BURST)]
    await asyncio.sleep(0)
    modest = asyncio.create_task(admission.wait("modest", is_batch=False))
    await asyncio.sleep(0)
    admission.leave("greedy")
    admission.leave("greedy")
    assert await modest
    assert not await greedy[-1]
    assert admission.counts["displaced"] == 1
    await asyncio.gather(*greedy)


async def test_people_come_before_batches_and_batches_have_half_of_the_places() -> None:
    admission = Admission(FULL)
    assert [admission.enter("nightly", is_batch=True) for _ in range(6)] == [True] * 5 + [False]
    full(admission, "people", 5)
    batch = asyncio.create_task(admission.wait("nightly", is_batch=True))
    person = asyncio.create_task(admission.wait("somebody", is_batch=False))
    await asyncio.sleep(0)
    admission.leave("people")
    assert await person
    assert not await batch
    assert admission.counts["batch shed"] == 1


async def test_who_leaves_while_waiting_takes_no_place() -> None:
    admission = Admission(FULL)
    full(admission)
    waiting = asyncio.create_task(admission.wait("late", is_batch=False))
    await asyncio.sleep(0)
    admission.leave("greedy")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (admission.running, admission.waiting) == (FULL - 1, 0)
    assert admission.enter("other", is_batch=False)


def ends(admission: Admission, per_second: int, took_s: float, elsewhere_s: float = 0.0) -> None:
    """A second in which so many end."""
    for _ in range(20):
        full(admission, count=per_second // 20)
        for _ in range(per_second // 20):
            admission.leave("greedy", took_s, elsewhere_s)
        admission.adapt(0.05)


def test_there_are_as_many_places_as_are_answered_in_time() -> None:
    admission = Admission(400)
    ends(admission, 100, took_s=0.01)
    assert admission.limit == FEWEST  # more were never wanted
    ends(admission, 8_000, took_s=0.01)
    assert admission.limit == 400
    for _ in range(5):
        ends(admission, 4_000, took_s=0.5)  # two hundred at once, each too slow
    assert admission.limit == pytest.approx(4_000 * TARGET_S, rel=0.2)
    for _ in range(10):
        ends(admission, 20, took_s=2.0)
    assert admission.limit == FEWEST
    for _ in range(2):
        ends(admission, 8_000, took_s=0.01)
    assert admission.limit == 400


def test_what_a_request_waits_for_elsewhere_takes_no_place_from_others() -> None:
    admission = Admission(100)
    for _ in range(5):
        ends(admission, 2_000, took_s=0.13, elsewhere_s=0.12)
    assert admission.limit == 100


def test_what_a_request_waits_for_while_the_loop_is_late_is_the_loop() -> None:
    admission = Admission(300)
    for _ in range(5):
        ends(admission, 2_000, took_s=0.13, elsewhere_s=0.12)
    assert admission.limit > 2_000 * TARGET_S
    for _ in range(20):  # ten looks a second instead of twenty
        full(admission, count=10)
        for _ in range(10):
            admission.leave("greedy", 0.5, 0.45)
        admission.adapt(0.1)
    assert FEWEST <= admission.limit <= 2_000 * TARGET_S


class Slow:
    """An app that answers when it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1
        if scope["path"] == "/graphql":
            await self.may_answer.wait()
        kind = [(b"content-type", b"text/event-stream")] if scope["path"] == "/stream" else []
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        if scope["path"] == "/stream":
            await self.may_answer.wait()
        await send({"type": "http.response.body", "body": b""})


async def test_what_is_too_much_is_refused_soon_and_unread_and_probes_never_are() -> None:
    app = Slow()
    admission = Admission(2)
    shedding: Any = Shedding(app, admission)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=shedding), base_url="http://gateway") as client:
        one = {"Authorization": "Bearer one"}
        begun = [asyncio.create_task(client.post("/graphql", headers={"Authorization": who})) for who in "ab"]
        await asyncio.sleep(0.01)
        refused = await client.post("/graphql", headers=one)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["errors"][0]["extensions"]["code"] == "OVERLOADED"
        assert [(await client.get(path)).status_code for path in ("/livez", "/readyz", "/metrics")] == [200] * 3
        app.may_answer.set()
        assert [(await one).status_code for one in begun] == [200, 200]
        assert (await client.post("/graphql", headers=one)).status_code == 200
        assert (admission.running, app.asked) == (0, 6)


async def test_a_stream_has_a_place_until_it_begins() -> None:
    app, admission = Slow(), Admission(2)
    shedding: Any = Shedding(app, admission)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=shedding), base_url="http://gateway") as client:
        stream = asyncio.create_task(client.get("/stream", headers={"Accept": "text/event-stream"}))
        await asyncio.sleep(0.01)
        assert (app.asked, admission.running) == (1, 0)
        app.may_answer.set()
        assert (await stream).status_code == 200
        assert admission.running == 0


@pytest.mark.parametrize(("priority", "is_batch"), [("u=5", True), ("u=7, i", True), ("u=3", False), ("i", False)])
async def test_the_priority_of_a_request_is_that_of_rfc_9218(priority: str, is_batch: bool) -> None:
    app, admission = Slow(), Admission(4)
    shedding: Any = Shedding(app, admission)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=shedding), base_url="http://gateway") as client:
        full(admission, count=2)  # of which batches have none left
        asked = asyncio.create_task(client.post("/other", headers={"Priority": priority}))
        assert (await asked).status_code == (503 if is_batch else 200)
