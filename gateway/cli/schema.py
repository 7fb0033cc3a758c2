"""`tandem schema`: the printed GraphQL schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recommender.errors import TandemError


class SchemaDiffersError(TandemError):
    """A printed schema is not the served one."""


def command(
    out: Annotated[Path | None, typer.Option(help="Write it to this file instead of printing it.")] = None,
    check: Annotated[
        Path | None, typer.Option(help="Compare it with this file, and fail when they differ.", metavar="FILE")
    ] = None,
) -> None:
    """Print the GraphQL schema (SDL), write it to a file, or check a file against it."""
    from gateway.graphql.schema import printed_schema

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
