"""`tandem schema`: the printed GraphQL schema."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.settings import SettingsError, load_settings
from recommender.errors import TandemError


class SchemaDiffersError(TandemError):
    """A printed schema is not the served one."""


class UndatedDeprecationError(TandemError):
    """Something is deprecated, and nobody can know for how long it stays."""


class SchemaBreaksError(TandemError):
    """Operations written against an earlier schema would fail, or be read wrongly, against the served one."""


def command(
    out: Annotated[Path | None, typer.Option(help="Write it to this file instead of printing it.")] = None,
    check: Annotated[
        Path | None, typer.Option(help="Compare it with this file, and fail when they differ.", metavar="FILE")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Compare it with this earlier schema: name what clients must mind, fail on what breaks them.",
            metavar="FILE",
        ),
    ] = None,
    federation: Annotated[
        bool, typer.Option("--federation", help="The subgraph that TANDEM_FEDERATION asks for, to compose a router of.")
    ] = False,
) -> None:
    """Print the GraphQL schema (SDL), write it to a file, or check a file against it."""
    from gateway.graphql.schema import printed_schema

    if against is not None:
        if federation:
            raise SettingsError("--against compares the whole schema: leave --federation away")
        _check_against(against)
        return
    text = _printed_subgraph() if federation else printed_schema()
    if check is not None:
        if check.read_text(encoding="utf-8") != text:
            printing = "tandem schema --federation" if federation else "tandem schema"
            raise SchemaDiffersError(f"{check} is not the served schema: run `{printing} --out {check}`")
        _check_deprecations()
        typer.echo(f"{check} is the served schema")
    elif out is not None:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {out}")
    else:
        typer.echo(text, nl=False)


def _printed_subgraph() -> str:
    """The SDL of the subgraph. Raises SettingsError when the settings ask for none, BadInputError for names taken."""
    from gateway.graphql.federation import build_subgraph

    settings = load_settings()
    if settings.federation is None:
        raise SettingsError("TANDEM_FEDERATION is not set; allowed is a pair such as Talent.id,Job.id")
    return build_subgraph(settings.federation, settings.federation_prefix).sdl


def _check_deprecations() -> None:
    """Raises UndatedDeprecationError for a reason that does not end with the day of the removal."""
    from gateway.graphql.schema import undated_deprecations

    if undated := undated_deprecations():
        raise UndatedDeprecationError(
            f"{', '.join(undated)}: a reason says what to use instead, and ends with its day: `Removal on 2027-01-31.`"
        )


def _check_against(earlier: Path) -> None:
    """Name every change since an earlier schema that can hurt a client; raises SchemaBreaksError when one breaks it."""
    from gateway.graphql.schema import changes_since

    changes = changes_since(earlier.read_bytes(), str(earlier), datetime.now(UTC).date())
    for said, found in (("mind", changes.dangerous), ("deprecated", changes.deprecated), ("gone", changes.removed)):
        for change in found:
            typer.echo(f"{said}: {change}")
    for change in changes.breaking:
        typer.echo(f"breaks: {change}", err=True)
    if count := len(changes.breaking):
        names = "change breaks" if count == 1 else "changes break"
        raise SchemaBreaksError(
            f"{count} {names} clients of {earlier}; deprecate what should go, and keep it until its date"
        )
    typer.echo(f"nothing breaks clients of {earlier}")
