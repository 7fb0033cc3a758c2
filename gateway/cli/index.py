"""`tandem index`: build the text index again from the documents."""

from __future__ import annotations

import asyncio
import time

import typer

from gateway.settings import Settings, load_settings


def command() -> None:
    """Rebuild the search index from the documents; searches go on meanwhile."""
    settings = load_settings()
    began = time.perf_counter()
    count = asyncio.run(_rebuild(settings))
    typer.echo(f"indexed {count:,} documents in {time.perf_counter() - began:.1f} s")


async def _rebuild(settings: Settings) -> int:
    from gateway.wiring import stores

    async with stores(settings, must_exist=True) as opened:
        return await opened.catalogue.rebuild()
