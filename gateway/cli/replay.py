"""`tandem replay`: everything that Redis derives from events, written anew from the events."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import typer

from recommender.errors import TandemError

if TYPE_CHECKING:
    from gateway.adapters.redis.replay import Replayed
    from gateway.compaction import CompactedEventLog
    from gateway.settings import Settings


def command() -> None:
    """Write the ids, histories and counters of the event log in Redis anew, from its archive and its stream.

    After a loss of Redis this brings back what was archived. While it runs no events are taken and no lists served;
    when it was broken off, run it again.
    """
    from gateway.settings import load_settings

    settings = load_settings()
    if settings.events_redis_url is None:
        typer.echo("nothing to do: the event log is a SQLite file, in which nothing is kept apart from the events")
        return
    begun = time.perf_counter()
    found = asyncio.run(_replay(settings))
    typer.echo(f"replayed {found.events:,} events in {time.perf_counter() - begun:.1f} s")
    if found.moved:
        typer.echo(f"{found.moved:,} of them had places that the archive gives to others; they are at the end now")
    if found.conflicts:
        raise ConflictsError(
            f"{found.conflicts:,} events of the stream are left out: the archive has their ids with other content"
        )


class ConflictsError(TandemError):
    """Events of a stream that was brought back contradict the archive."""


async def _replay(settings: Settings) -> Replayed:
    from gateway.wiring import open_event_log, patient

    log = cast("CompactedEventLog", await asyncio.to_thread(open_event_log, patient(settings), may_be_lost=True))
    try:
        return await log.replay()
    finally:
        await asyncio.to_thread(log.close)
