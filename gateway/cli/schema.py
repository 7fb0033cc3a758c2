"""`tandem schema`: the printed GraphQL schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recommender.errors import TandemError


class SchemaDiffersError(TandemError):
    """A printed schema is not the served one."""


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
) -> None:
    """Print the GraphQL schema (SDL), write it to a file, or check a file against it."""
    from gateway.graphql.schema import printed_schema

    if against is not None:
        _check_against(against)
        return
    text = printed_schema()
    if check is not None:
        if check.read_text(encoding="utf-8") != text:
            raise SchemaDiffersError(f"{check} is not the served schema: run `tandem schema --out {check}`")
        typer.echo(f"{check} is the served schema")
    elif out is not None:
        out.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {out}")
    else:
        typer.echo(text, nl=False)


def _check_against(earlier: Path) -> None:
    """Name every change since an earlier schema that can hurt a client; raises SchemaBreaksError when one breaks it."""
    from gateway.graphql.schema import changes_since

    breaking, dangerous = changes_since(earlier.read_bytes(), str(earlier))
    for change in dangerous:
        typer.echo(f"mind: {change}")
    for change in breaking:
        typer.echo(f"breaks: {change}", err=True)
    if breaking:
        names = "change breaks" if len(breaking) == 1 else "changes break"
        raise SchemaBreaksError(
            f"{len(breaking)} {names} clients of {earlier}; deprecate what should go, and keep it until its date"
        )
    typer.echo(f"nothing breaks clients of {earlier}")
