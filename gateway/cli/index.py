"""`tandem index`: build the search index again from the documents."""

from __future__ import annotations

import asyncio
import time
from itertools import islice
from typing import TYPE_CHECKING

import typer

from gateway.settings import Settings, load_settings
from recommender.errors import RefusedDocumentsError

if TYPE_CHECKING:
    from gateway.cli.evaluate import Steps
    from gateway.wiring import Stores
    from recommender.documents import Kind

REASONS_SHOWN = 20


def command() -> None:
    """Rebuild the search index from the documents; searches and writes go on meanwhile."""
    settings = load_settings()
    began = time.perf_counter()
    try:
        count = asyncio.run(_rebuild(settings))
    except RefusedDocumentsError as error:
        for name, reason in islice(error.reasons.items(), REASONS_SHOWN):
            typer.echo(f"{' '.join(name.split())}: {' '.join(reason.split())}", err=True)
        raise
    seconds = time.perf_counter() - began
    typer.echo(f"indexed {count:,} documents in {seconds:.1f} s ({count / seconds:,.0f} a second)")


async def _rebuild(settings: Settings) -> int:
    from gateway.cli.evaluate import steps
    from gateway.wiring import stores

    async with stores(settings, must_exist=True) as opened:
        with steps() as shown:

            def show(kind: Kind, done: int, total: int) -> None:
                shown.show(f"Indexing {kind.value}s", done, total)

            count = await opened.catalogue.rebuild(show)
            await _rebuild_vectors(opened, shown)
            return count


async def _rebuild_vectors(opened: Stores, shown: Steps) -> None:
    """The vectors of the serving model anew, where lists are nominated by them."""
    version = opened.models.current()
    if opened.vectors is None or version is None:
        return
    from gateway.vectors import publish_vectors
    from recommender.versions import LoadedModel

    model = await asyncio.to_thread(opened.models.load, version)

    def show(kind: Kind, done: int, total: int) -> None:
        shown.show(f"Indexing vectors of {kind.value}s", done, total)

    await publish_vectors(opened.vectors, LoadedModel(model), opened.settings.knn_from, show, anew=True)
