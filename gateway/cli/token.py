"""`tandem token`: the token of a role, and how to use it."""

from __future__ import annotations

import enum
import secrets
from typing import Annotated

import typer

from gateway.settings import load_settings

TOKEN_BYTES = 32  # as many as the hash that a guesser would have to invert


class Role(enum.Enum):
    """Who a token speaks for."""

    TALENT = "talent"
    CLIENT = "client"
    SERVICE = "service"
    ENGINEER = "engineer"
    ADMIN = "admin"


def command(role: Annotated[Role, typer.Option(help="Who the token speaks for.")] = Role.SERVICE) -> None:
    """Print a token for a role; how to use it goes to stderr."""
    settings = load_settings()
    if role is not Role.SERVICE:
        typer.echo(
            f"tandem: tokens of the role {role.value} come with TANDEM_AUTH=jwt, which is not built yet; "
            "use --role service",
            err=True,
        )
        raise typer.Exit(2)
    if settings.service_token is not None:
        typer.echo(settings.service_token.get_secret_value())
        where = "This is the token of TANDEM_SERVICE_TOKEN."
        if settings.auth != "token":
            where += " It is not asked for until TANDEM_AUTH=token is set."
        typer.echo(where, err=True)
    else:
        typer.echo(secrets.token_urlsafe(TOKEN_BYTES))
        typer.echo(
            "This is a new token, kept nowhere. Serve with it:\n"
            "  export TANDEM_AUTH=token TANDEM_SERVICE_TOKEN=<token>\n"
            "  tandem serve",
            err=True,
        )
    typer.echo("Every request carries it in a header:\n  Authorization: Bearer <token>", err=True)
