"""`tandem token`: the token of a role, and how to use it."""

from __future__ import annotations

import enum
import secrets
import time
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gateway.settings import load_settings

if TYPE_CHECKING:
    from gateway.settings import Settings

TOKEN_BYTES = 32  # as many as the hash that a guesser would have to invert


class Role(enum.Enum):
    """Who a token speaks for."""

    TALENT = "talent"
    CLIENT = "client"
    SERVICE = "service"
    ENGINEER = "engineer"
    ADMIN = "admin"


def command(
    role: Annotated[Role, typer.Option(help="Who the token speaks for.")] = Role.SERVICE,
    sub: Annotated[
        str | None, typer.Option(help="Whose token it is: the id of the talent or client, or a name for the others.")
    ] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="How long it lives, where it is signed here.")] = 12.0,
) -> None:
    """Print a token for a role; how to use it goes to stderr.

    The service token of TANDEM_AUTH=token, or one that is signed with the key in the data directory: `tandem demo`
    takes these, and TANDEM_AUTH=jwt when it is told to. A provider's own tokens come from the provider. For the role
    service it is signed with TANDEM_AUTH=open or jwt, or where a demo has been in the data directory.
    """
    settings = load_settings()
    if role is Role.SERVICE and sub is None and not _takes_signed(settings):
        _service_token(settings)
    else:
        typer.echo(signed(settings, role, sub, hours))
        _say_how(settings, role, hours)
    typer.echo("Every request carries it in a header:\n  Authorization: Bearer <token>", err=True)


def _takes_signed(settings: Settings) -> bool:
    """Whether who serves from here takes a signed token for the service."""
    from gateway.signing import has_signing_key

    if settings.auth is None and settings.service_token is None:
        return has_signing_key(settings)
    return settings.auth in ("open", "jwt")


def signed(settings: Settings, role: Role, sub: str | None, hours: float) -> str:
    """A token by the key of the data directory, which is made when there is none. Exits for what cannot be signed."""
    from gateway.http.tokens import InvalidTokenError, checked_subject
    from gateway.signing import open_signing_key, public_path, sign

    if settings.jwks_url is not None and settings.jwks_path != public_path(settings).absolute():
        _refuse(
            "tokens come from the provider behind TANDEM_JWKS_URL, which has the keys; to sign some here for "
            f"development, unset it or set TANDEM_JWKS_URL={_own_url(settings)}"
        )
    if sub is None and role in (Role.TALENT, Role.CLIENT):
        _refuse(f"--role {role.value} needs --sub, the id of the {role.value}, such as --sub t-4")
    if hours > settings.token_hours:
        _refuse(f"--hours {hours:g} is more than the {settings.token_hours:g} of TANDEM_TOKEN_HOURS; ask for fewer")
    try:
        subject = checked_subject(role.value if sub is None else sub)
    except InvalidTokenError as error:
        _refuse(f"--sub: {error}")
    key = open_signing_key(settings)
    lifetime_seconds = int(hours * 3_600)
    return sign(
        key, settings, role=role.value, subject=subject, now_seconds=int(time.time()), lifetime_seconds=lifetime_seconds
    )


def _refuse(text: str) -> NoReturn:
    typer.echo(f"tandem: {text}", err=True)
    raise typer.Exit(2)


def _service_token(settings: Settings) -> None:
    if settings.service_token is not None:
        typer.echo(settings.service_token.get_secret_value())
        where = "This is the token of TANDEM_SERVICE_TOKEN."
        if settings.auth != "token":
            where += " It is not asked for until TANDEM_AUTH=token is set."
        typer.echo(where, err=True)
        return
    typer.echo(secrets.token_urlsafe(TOKEN_BYTES))
    typer.echo(
        "This is a new token, kept nowhere. Serve with it:\n"
        "  export TANDEM_AUTH=token TANDEM_SERVICE_TOKEN=<token>\n"
        "  tandem serve\n"
        "A running `tandem demo` does not take it: set TANDEM_DATA_DIR to its data directory and ask again.",
        err=True,
    )


def _say_how(settings: Settings, role: Role, hours: float) -> None:
    from gateway.signing import audience, issuer

    typer.echo(
        f"This speaks for the role {role.value} for {hours:g} hours, signed with the key in {settings.data_dir}: for "
        "development.\n`tandem demo` over the same directory takes it."
        + (" TANDEM_AUTH=token wants another: TANDEM_AUTH=token tandem token" if role is Role.SERVICE else "")
        + " Serve for it alone:\n"
        f"  export TANDEM_AUTH=jwt TANDEM_ISSUER={issuer(settings)} TANDEM_AUDIENCE={audience(settings)} \\\n"
        f"    TANDEM_JWKS_URL={_own_url(settings)}\n"
        "  tandem serve",
        err=True,
    )


def _own_url(settings: Settings) -> str:
    from gateway.signing import public_path

    return public_path(settings).absolute().as_uri()
