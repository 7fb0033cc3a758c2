"""`tandem export`: the served top k of everyone, in a file."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import aclosing
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.evaluate import steps, time_option
from gateway.settings import Settings, load_settings


class Everyone(Enum):
    """Whose lists are exported."""

    TALENTS = "talents"
    JOBS = "jobs"


class Excluded(Enum):
    """Which pairs are left out; the values of `recommender.eligibility.Exclude`."""

    RULES = "rules"
    SEEN = "seen"
    NONE = "none"


def command(
    everyone: Annotated[Everyone, typer.Option("--for", help="Whose lists: jobs for talents, or talents for jobs.")],
    out: Annotated[Path, typer.Option(help="The file: .jsonl, .ndjson (each also .gz) or .parquet.")],
    k: Annotated[int, typer.Option("--k", min=1, help="Items of each list.")] = 100,
    exclude: Annotated[
        Excluded,
        typer.Option(help="rules: what serving leaves out; seen: also every pair with an event; none: no pair."),
    ] = Excluded.RULES,
    as_of: Annotated[
        str | None, typer.Option(help="When jobs are judged expired. [default: time of the newest event]")
    ] = None,
) -> None:
    """Write the top k for every talent or job: talent_id, job_id, rank, score, one row per pair.

    Scores and order are those that serving gives, before re-ranking; what rules exclude (TANDEM_RULES) is left out.
    """
    from gateway.files.writer import check_output

    settings = load_settings()
    check_output(out)
    began = time.perf_counter()
    lists, rows = asyncio.run(_export(settings, everyone, k, out, exclude, time_option(as_of)))
    typer.echo(f"{out}: {rows:,} rows, {lists:,} lists, in {time.perf_counter() - began:.1f} s")


async def _export(
    settings: Settings, everyone: Everyone, k: int, out: Path, exclude: Excluded, as_of_ms: int | None
) -> tuple[int, int]:
    """How many lists and rows were written. Raises NoDataError, NoModelError, BadInputError, UnavailableError."""
    from gateway.files.writer import open_writer
    from gateway.rules_file import read_rules
    from gateway.wiring import stores
    from recommender.batch import lists_for_everyone
    from recommender.documents import Kind
    from recommender.eligibility import Exclude
    from recommender.errors import NoModelError

    rules = () if settings.rules is None else read_rules(settings.rules)
    kind = Kind.TALENT if everyone is Everyone.TALENTS else Kind.JOB
    lists = rows = 0
    async with stores(settings, must_exist=True) as opened:
        version = await asyncio.to_thread(opened.models.current)
        if version is None:
            raise NoModelError("there is no model yet; `tandem train` makes one")
        model = await asyncio.to_thread(opened.models.load, version)
        if as_of_ms is None:
            newest_ms = (await opened.events.state()).newest_ms
            as_of_ms = time.time_ns() // 1_000_000 if newest_ms is None else newest_ms
        with steps() as shown, open_writer(out, kind) as writer:
            made = lists_for_everyone(
                catalogue=opened.catalogue,
                events=opened.events,
                model=model,
                subject_kind=kind,
                k=k,
                exclude=Exclude(exclude.value),
                as_of_ms=as_of_ms,
                workers=os.cpu_count() or 1,
                mutual_weight=settings.mutual_weight,
                rules=rules,
                on_progress=lambda done, of: shown.show(f"Lists for {everyone.value}", done, of),
            )
            async with aclosing(made) as chunks:
                async for chunk in chunks:
                    for one in chunk:
                        writer.write(one.subject_id, one.item_ids, one.scores.tolist())
                        rows += len(one.item_ids)
                    lists += len(chunk)
    return lists, rows
