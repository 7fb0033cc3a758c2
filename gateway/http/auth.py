"""Who is let in: nobody until a setting says so, everybody on loopback in `open` mode, or who has the token."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from gateway.graphql.viewer import ENGINEER, SERVICE, Viewer
from gateway.http.problem import HttpProblem
from gateway.settings import Settings, SettingsError, is_loopback

Authenticate = Callable[[HTTPConnection], Viewer]


@dataclass(frozen=True, slots=True)
class Access:
    """The checks that requests pass; each raises HttpProblem.

    viewer:         who asks.
    opens_page:     may the GraphiQL page be opened. A browser cannot send a token to open a page, and the page holds no
                    data: with a token set it opens for everybody, and its queries need the token.
    """

    viewer: Authenticate
    opens_page: Callable[[HTTPConnection], object]


def build_access(settings: Settings) -> Access:
    """The checks that the settings ask for. Raises SettingsError when nobody could pass them, but for a missing one."""
    problem = settings.access_problem()
    if problem is not None:
        raise SettingsError(problem)
    if settings.auth == "open":
        return Access(_open, _open)
    if settings.auth == "token" and settings.service_token is not None:
        return Access(_with_token(settings.service_token.get_secret_value()), lambda _request: None)
    return Access(_closed, _closed)


def _closed(_request: HTTPConnection) -> Viewer:
    raise HttpProblem(
        401,
        "UNAUTHENTICATED",
        "nobody is let in because TANDEM_AUTH is not set: set TANDEM_AUTH=token and TANDEM_SERVICE_TOKEN, or "
        "TANDEM_AUTH=open on a loopback address, and start the server again",
        {"WWW-Authenticate": "Bearer"},
    )


def _open(request: HTTPConnection) -> Viewer:
    """Everybody on this machine, as an engineer. The Host must be this machine's too.

    A page of any site can make a browser resolve the site's own name to 127.0.0.1 (DNS rebinding) and would then be of
    the same origin as this server; it cannot choose the Host header.
    """
    host = request.headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if not is_loopback(name):
        raise HttpProblem(
            403,
            "FORBIDDEN",
            f"TANDEM_AUTH=open serves localhost and loopback addresses only; the Host header is {host[:100]!r}. "
            "Set TANDEM_AUTH=token to be reached by other names",
        )
    return ENGINEER


def _with_token(secret: str) -> Authenticate:
    expected = secret.encode()

    def authenticate(request: HTTPConnection) -> Viewer:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # Headers are latin-1 on the wire; both sides as bytes, compared in a time that tells nothing.
        if scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), expected):
            return SERVICE
        raise HttpProblem(
            401,
            "UNAUTHENTICATED",
            "expected the header `Authorization: Bearer …` with the token of TANDEM_SERVICE_TOKEN",
            {"WWW-Authenticate": 'Bearer error="invalid_token"' if token else "Bearer"},
        )

    return authenticate
