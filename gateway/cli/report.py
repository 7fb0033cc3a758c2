"""`tandem report`: what came of the lists that were served, each outcome credited once to the row that earned it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.settings import Settings, load_settings

if TYPE_CHECKING:
    from gateway.attribution import Advance, Report

# What the table shows, of everything that is counted; the JSON has every type.
COLUMNS = {
    "IMPRESSION": "Impressions",
    "VIEW": "Clicks",
    "SAVE": "Saves",
    "APPLY": "Applications",
    "INVITE": "Invites",
    "HIRE": "Hires",
}
UNCREDITED = {
    "malformed": "with a malformed recommendation id",
    "unknown": "with one of no list that is kept",
    "other_pair": "of another pair than the row quoted",
    "repeated": "that repeat an outcome already credited",
}
ANY_WIDTH = 1_000  # a pipe has no width: a row is a line


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    since: Annotated[str | None, typer.Option(help="Count the lists that were served from this time on.")] = None,
    until: Annotated[str | None, typer.Option(help="Count the lists that were served before this time.")] = None,
) -> None:
    """Count impressions, clicks, applications and hires by model, placement and strategy, each credited once."""
    from gateway.cli.evaluate import time_option

    period = time_option(since, "--since"), time_option(until, "--until")
    if None not in period and period[0] >= period[1]:  # type: ignore[operator] # neither is None
        raise typer.BadParameter("it must be after --since", param_hint="--until")
    report = asyncio.run(_report(load_settings(), *period))
    if as_json:
        typer.echo(json.dumps(as_document(report), indent=2))
    else:
        _print(report)


async def _report(settings: Settings, since_ms: int | None, until_ms: int | None) -> Report:
    from gateway.attribution import build_report
    from gateway.wiring import stores

    async with stores(settings, must_exist=True) as opened:
        last_seq = (await opened.events.state()).last_seq
        with _progress("Reading events", last_seq) as advance:
            return await build_report(
                opened.serving_log,
                opened.events,
                opened.catalogue,
                advance,
                since_ms=since_ms,
                until_ms=until_ms,
            )


def as_document(report: Report) -> dict[str, Any]:
    """The report as JSON. A rate is None when there is nothing to divide by; its interval is Wilson's, 95 %."""
    from recommender.events import EventType
    from recommender.metrics import wilson_interval

    groups = []
    for group, tally in sorted(report.tallies.items()):
        impressions = tally.outcomes[EventType.IMPRESSION]
        groups.append(
            {
                "model": group.model,
                "placement": group.placement or None,
                "strategy": group.strategy,
                "items": group.items,
                "lists": tally.lists,
                "served": tally.rows,
                "outcomes": {
                    kind.value: {
                        "count": tally.outcomes[kind],
                        "per_served": _rate(tally.outcomes[kind], tally.rows),
                        "per_served_interval": wilson_interval(tally.outcomes[kind], tally.rows),
                        "per_impression": _rate(tally.outcomes[kind], impressions),
                        "per_impression_interval": wilson_interval(tally.outcomes[kind], impressions),
                    }
                    for kind in EventType
                },
            }
        )
    return {"groups": groups, "uncredited": {reason: report.uncredited[reason] for reason in UNCREDITED}}


def _rate(count: int, of: int) -> float | None:
    return count / of if of else None


def _print(report: Report) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from recommender.events import EventType

    table = Table("Model", "Placement", "Strategy", "Items", box=box.SIMPLE_HEAD)
    for heading in ("Lists", "Served", *COLUMNS.values()):
        table.add_column(heading, justify="right")
    for group, tally in sorted(report.tallies.items()):
        impressions = tally.outcomes[EventType.IMPRESSION]
        cells = [_cell(tally.outcomes[EventType(name)], impressions or tally.rows) for name in COLUMNS]
        cells[0] = _cell(impressions, tally.rows)
        table.add_row(
            group.model,
            group.placement or "-",
            group.strategy,
            group.items,
            f"{tally.lists:,}",
            f"{tally.rows:,}",
            *cells,
        )
    if not report.tallies:
        typer.echo(
            "nothing was served yet, or in that time: "
            "ask the server for a list, and quote recommendationId in the events"
        )
    else:
        Console(width=None if sys.stdout.isatty() else ANY_WIDTH).print(table)
        typer.echo(
            "Impressions are of the rows served; every other rate is of the impressions, "
            "or of the rows served where no impression was recorded. Ranges are of 95 % (Wilson)."
        )
    counts = [
        f"{report.uncredited[reason]:,} {text}" for reason, text in UNCREDITED.items() if report.uncredited[reason]
    ]
    if counts:
        typer.echo(f"Events not credited: {', '.join(counts)}.")


def _cell(count: int, of: int) -> str:
    from recommender.metrics import wilson_interval

    interval = wilson_interval(count, of)
    ends = f", {interval[0]:.1%}–{interval[1]:.1%}" if interval else ""
    return f"{count:,} ({count / of:.1%} of {of:,}{ends})" if count else "0"


@contextmanager
def _progress(text: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(text, total=total)
        yield lambda seq: bars.update(task, completed=seq)
