"""`tandem models`: which versions there are, and which one serves."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.gating import was_refused
from gateway.settings import load_settings
from recommender.errors import BadInputError, ModelRefusedError, NoModelError

if TYPE_CHECKING:
    from gateway.adapters.directory.models import DirectoryModelStore

command = typer.Typer(
    no_args_is_help=True, add_completion=False, help="List, promote or roll back trained models, or find their reports."
)

JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
VERSION = Annotated[str, typer.Argument(help="A version that `tandem models list` shows.")]


@dataclass(frozen=True, slots=True)
class Row:
    """One version as the list shows it; a refused one has a reason in place of numbers.

    kept_from_serving: `tandem train` found it worse than the one that served.
    """

    version: str
    is_current: bool
    is_pinned: bool
    trained_at: str | None = None
    events: int | None = None
    recall_at_20: float | None = None
    refused: str | None = None
    kept_from_serving: bool = False


@command.command("list")
def list_models(as_json: JSON = False) -> None:
    """Show every version, oldest first, and mark the one that serves."""
    found = rows(_store())
    if as_json:
        typer.echo(json.dumps([{field: getattr(row, field) for field in Row.__slots__} for row in found], indent=2))
        return
    if not found:
        raise NoModelError("no model yet: run `tandem train` first")
    width = max(len("Version"), *(len(row.version) for row in found))
    typer.echo(f"  {'Version':<{width}}  {'Trained at':<20}  {'Events':>12}  {'Recall@20':>9}")
    for row in found:
        mark = "*" if row.is_current else " "
        if row.refused:
            typer.echo(f"{mark} {row.version:<{width}}  {row.refused}")
        else:
            recall = "-" if row.recall_at_20 is None else f"{row.recall_at_20:.3f}"
            state = ("  current" if row.is_current else "") + (", pinned" if row.is_pinned else "")
            state = state or ("  worse than what served" if row.kept_from_serving else "")
            typer.echo(f"{mark} {row.version:<{width}}  {row.trained_at:<20}  {row.events:>12,}  {recall:>9}{state}")


@command.command()
def promote(
    version: VERSION,
    pin: Annotated[bool, typer.Option("--pin", help="Stay there whatever is trained later.")] = False,
) -> None:
    """Make a version serve; without --pin, the next one that is trained takes over."""
    store = _store()
    try:
        store.promote(version, pin=pin)
    except KeyError:
        known = ", ".join(store.versions()) or "none; run `tandem train` first"
        raise BadInputError(f"there is no model {version!r}; there are: {known}") from None
    typer.echo(f"model {version} serves" + (" and is pinned" if pin else ""))


@command.command()
def rollback() -> None:
    """Make the version before the current one serve, and pin it."""
    store = _store()
    current = store.current()
    if current is None:
        raise NoModelError("no model yet: run `tandem train` first")
    versions = store.versions()
    earlier = versions[: versions.index(current)] if current in versions else versions
    for version in reversed(earlier):
        try:
            if was_refused(store.manifest(version)):
                continue
            store.promote(version, pin=True)
        except ModelRefusedError as error:
            typer.echo(f"tandem: skipped: {error}", err=True)
            continue
        typer.echo(
            f"model {version} serves instead of {current} and is pinned; "
            f"`tandem models promote {current}` takes it back"
        )
        return
    raise BadInputError(f"there is no version before {current} to go back to")


@command.command()
def report(version: Annotated[str | None, typer.Argument(help="The one that serves, without it.")] = None) -> None:
    """Print where the page is that `tandem train` wrote about a model."""
    store = _store()
    wanted = version or store.current()
    if wanted is None:
        raise NoModelError("no model yet: run `tandem train` first")
    try:
        path = store.report(wanted)
    except KeyError:
        raise BadInputError(f"there is no model {wanted!r}; `tandem models list` shows those there are") from None
    if path is None:
        raise BadInputError(f"model {wanted} has no report: it was made before there were any, or by another program")
    typer.echo(path)


def rows(store: DirectoryModelStore) -> list[Row]:
    """What the list shows. Arrays are not read: one that is damaged shows when it is promoted or by `tandem doctor`."""
    try:
        current = store.current()
    except ModelRefusedError as error:
        typer.echo(f"tandem: {error}", err=True)
        current = None
    found = []
    for version in store.versions():
        is_current = version == current
        is_pinned = is_current and store.is_pinned()
        try:
            manifest = store.manifest(version)
        except ModelRefusedError as error:
            found.append(Row(version, is_current, is_pinned, refused=str(error)))
            continue
        trained_at = datetime.fromtimestamp(manifest.trained_at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        recall = manifest.metrics.get("served", manifest.metrics.get("als", {})).get("recall@20", math.nan)
        found.append(
            Row(
                version,
                is_current,
                is_pinned,
                trained_at,
                manifest.events,
                None if math.isnan(recall) else recall,
                kept_from_serving=was_refused(manifest),
            )
        )
    return found


def _store() -> DirectoryModelStore:
    from gateway.adapters.directory.models import DirectoryModelStore

    settings = load_settings()
    return DirectoryModelStore(settings.models_path, kept=settings.models_kept)
