"""`tandem compact`: old events out of the Redis stream, into an archive of Parquet files."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from gateway.compaction import Compacted, CompactedEventLog
    from gateway.settings import Settings


def command() -> None:
    """Archive the event log of Redis in Parquet files, and trim what was archived TANDEM_EVENTS_STREAM_DAYS ago.

    `tandem train` reads both. Safe to run at any time, to run twice and to kill; a server may go on beside it.
    """
    from gateway.settings import load_settings

    settings = load_settings()
    if settings.events_redis_url is None:
        typer.echo("nothing to do: the event log is a SQLite file, which needs no compaction")
        return
    begun = time.perf_counter()
    found = asyncio.run(_compact(settings))
    seconds = time.perf_counter() - begun
    manifest = found.manifest
    typer.echo(
        f"archived {found.added:,} events in {seconds:.1f} s; {settings.archive_path} holds {manifest.events:,} "
        f"in {len(manifest.segments):,} files of {manifest.size_bytes / 1e6:,.1f} MB"
    )
    typer.echo(
        f"trimmed {found.removed:,} places from the stream; it begins behind {found.trimmed:,} of {manifest.last_seq:,}"
    )
    if found.waits_for is not None:
        typer.echo(
            f"the consumer group {found.waits_for!r} has not read or acknowledged what comes next, so that stays; if "
            "nobody uses it any more, remove it with XGROUP DESTROY"
        )


async def _compact(settings: Settings) -> Compacted:
    from gateway.cli.evaluate import steps
    from gateway.wiring import open_event_log, patient

    log = cast("CompactedEventLog", await asyncio.to_thread(open_event_log, patient(settings)))
    try:
        with steps() as shown:
            return await log.compact(
                time.time_ns() // 1_000_000,
                settings.events_stream_days,
                lambda done, of: shown.show("Archiving events", done, of),
            )
    finally:
        await asyncio.to_thread(log.close)
