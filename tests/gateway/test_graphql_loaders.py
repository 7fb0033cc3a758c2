"""Loaders: one call per batch, in order, and one waiter's end is not the others'."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from gateway.graphql.loaders import Loader
from gateway.http.app import follow_models
from recommender.errors import ModelRefusedError, NoModelError, UnavailableError


async def test_keys_of_one_tick_are_one_batch_without_repeats_and_in_order() -> None:
    batches: list[list[int]] = []

    async def double(keys: list[int]) -> Sequence[int]:
        batches.append(keys)
        return [2 * key for key in keys]

    loader: Loader[int, int] = Loader(double)
    assert await asyncio.gather(loader.get(3), loader.get_many([1, 3, 2]), loader.get(1)) == [6, [2, 6, 4], 2]
    assert batches == [[3, 1, 2]]
    assert await loader.get_many([]) == []


async def test_a_waiter_that_is_cancelled_does_not_cancel_the_others() -> None:
    release = asyncio.Event()

    async def load(keys: list[str]) -> Sequence[str]:
        await release.wait()
        return keys

    loader: Loader[str, str] = Loader(load)
    first, second = asyncio.create_task(loader.get("a")), asyncio.create_task(loader.get_many(["a", "b"]))
    await asyncio.sleep(0.01)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    release.set()
    assert await second == ["a", "b"]
    assert await loader.get("a") == "a"


async def test_an_error_in_the_place_of_a_value_is_that_keys_alone() -> None:
    async def load(keys: list[str]) -> Sequence[str | UnavailableError]:
        return [UnavailableError("catalogue") if key == "bad" else key for key in keys]

    loader: Loader[str, str] = Loader(load)
    good, bad = await asyncio.gather(loader.get("good"), loader.get("bad"), return_exceptions=True)
    assert good == "good"
    assert isinstance(bad, UnavailableError)


async def test_a_batch_that_failed_can_be_asked_again() -> None:
    failures = [UnavailableError("catalogue")]

    async def load(keys: list[str]) -> Sequence[str]:
        if failures:
            raise failures.pop()
        return keys

    loader: Loader[str, str] = Loader(load)
    with pytest.raises(UnavailableError):
        await loader.get("a")
    assert await loader.get("a") == "a"


async def test_following_the_newest_model_outlives_every_failure() -> None:
    seen: list[str] = []
    done = asyncio.Event()
    script = [NoModelError("none"), ModelRefusedError("torn"), OSError("disk"), RuntimeError("bug"), False, True]

    class Fake:
        def refresh_model(self) -> bool:
            step = script.pop(0) if script else False
            seen.append(type(step).__name__)
            if not script:
                done.set()
            if isinstance(step, Exception):
                raise step
            return bool(step)

        @property
        def model(self) -> object:
            raise NoModelError("only its version is logged")

    task = asyncio.create_task(follow_models(Fake(), every_seconds=0.001))  # type: ignore[arg-type]
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert seen[:6] == ["NoModelError", "ModelRefusedError", "OSError", "RuntimeError", "bool", "bool"]
