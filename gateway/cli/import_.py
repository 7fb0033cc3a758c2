"""`tandem import`: a marketplace's own talents, jobs and events, from files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recommender.errors import TandemError

if TYPE_CHECKING:
    from gateway.files.import_summary import ImportSummary
    from gateway.files.importing import OnProgress
    from gateway.settings import Settings

_FILE = "CSV, JSON Lines or Parquet (.csv .jsonl .ndjson .json .parquet, each also .gz); may be given several times."


class ImportFailedError(TandemError):
    """A file broke in the middle, or nothing in the files could be used."""


def command(
    talents: Annotated[list[Path] | None, typer.Option(help=f"Talents: {_FILE}")] = None,
    jobs: Annotated[list[Path] | None, typer.Option(help=f"Jobs: {_FILE}")] = None,
    events: Annotated[list[Path] | None, typer.Option(help=f"Events: {_FILE}")] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Where bad rows go. [default: import-rejects.jsonl in the data directory]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every row, store nothing.")] = False,
) -> None:
    """Import talents, jobs and events from CSV, JSON Lines or Parquet.

    Good rows are kept, bad ones reported. The same import again changes nothing.
    """
    import asyncio
    import time

    from gateway.files.importing import check_files
    from gateway.settings import load_settings

    if not (talents or jobs or events):
        raise typer.BadParameter("name at least one file: --talents, --jobs or --events")
    settings = load_settings()
    rejects = rejects or settings.rejects_path
    files = {"talents": talents or [], "jobs": jobs or [], "events": events or []}
    # Before the stores are opened, so that a wrong file name leaves no empty data directory behind.
    check_files(**files, rejects=rejects)
    begun = time.perf_counter()
    try:
        summary = asyncio.run(_import(settings, files, rejects, dry_run=dry_run))
    except KeyboardInterrupt:
        typer.echo("tandem: interrupted; what was stored is whole, and the same command completes it", err=True)
        raise typer.Exit(130) from None
    typer.echo(report(summary, time.perf_counter() - begun, dry_run=dry_run))
    _check(summary, files)


async def _import(settings: Settings, files: dict[str, list[Path]], rejects: Path, *, dry_run: bool) -> ImportSummary:
    from gateway.files.importing import import_files
    from gateway.wiring import stores

    with _progress([path for paths in files.values() for path in paths]) as on_progress:
        if dry_run:
            return await import_files(
                None, **files, rejects=rejects, on_progress=on_progress, default_currency=settings.currency
            )
        async with stores(settings) as opened:
            return await import_files(
                opened, **files, rejects=rejects, on_progress=on_progress, default_currency=settings.currency
            )


@contextmanager
def _progress(paths: Sequence[Path]) -> Iterator[OnProgress]:
    """A bar per file on a terminal's stderr, by bytes read."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bars:
        tasks = {path: bars.add_task(path.name, total=path.stat().st_size, rows=0) for path in paths}

        def show(path: Path, read: int, size: int, rows: int) -> None:
            bars.update(tasks[path], completed=read, total=size, rows=rows)

        yield show


def report(summary: ImportSummary, seconds: float, *, dry_run: bool = False) -> str:
    """The summary that is printed: a line per kind of file, then what else there is to know."""
    documents = ("valid",) if dry_run else ("created", "updated", "unchanged", "stale")
    events = ("valid",) if dry_run else ("accepted", "duplicates", "conflicts")
    lines = []
    for name, counts, shown in (
        ("talents", summary.talents, documents),
        ("jobs", summary.jobs, documents),
        ("events", summary.events, events),
    ):
        if counts.read:
            parts = [f"{getattr(counts, field):,} {field}" for field in ("read", *shown, "rejected")]
            lines.append(f"{name + ':':<9}{', '.join(parts)}")
    if summary.bare_talents or summary.bare_jobs:
        lines.append(
            f"bare:    {summary.bare_talents:,} talents and {summary.bare_jobs:,} jobs created, which only events name"
        )
    if summary.rejects is not None:
        lines.append(f"rejects: {summary.rejects}; it begins with")
        lines += [f"         {sample}" for sample in summary.samples]
    lines.append(f"{'checked' if dry_run else 'imported'} in {seconds:.1f} s")
    return "\n".join(lines)


def _check(summary: ImportSummary, files: dict[str, list[Path]]) -> None:
    """Raise ImportFailedError when a file broke, or nothing was usable."""
    if summary.problems:
        raise ImportFailedError("; ".join(summary.problems))
    if not summary.usable:
        named = ", ".join(str(path) for paths in files.values() for path in paths)
        rows = summary.talents.read + summary.jobs.read + summary.events.read
        why = f"all {rows:,} rows were refused, see {summary.rejects}" if rows else "there are no rows"
        raise ImportFailedError(f"nothing usable in {named}: {why}")
