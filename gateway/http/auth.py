"""Who is let in: nobody until a setting says so; then who is on this machine, has the token, or has one of a role."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from gateway import instruments
from gateway.graphql.viewer import ENGINEER, SERVICE, Permission, Viewer
from gateway.http.headers import all_headers, header
from gateway.http.problem import HttpProblem
from gateway.settings import Settings, SettingsError, is_loopback

if TYPE_CHECKING:
    from gateway.http.tokens import TokenVerifier

LONGEST_HOST = 255  # characters of a name, and more than of any address; a longer one is nobody's

Authenticate = Callable[[HTTPConnection], Viewer]


@dataclass(frozen=True, slots=True)
class Access:
    """The checks that requests pass; each raises HttpProblem.

    viewer:         who asks.
    opens_page:     may the GraphiQL page be opened. A browser cannot send a token to open a page, and the page holds no
                    data: with a token set it opens for everybody, and its queries need the token.
    tasks:          what has to run beside the requests.
    """

    viewer: Authenticate
    opens_page: Callable[[HTTPConnection], object]
    tasks: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = ()

    def observer(self, request: HTTPConnection) -> Viewer:
        """Who asks for what is nobody's own. Raises HttpProblem for a talent or a client, too."""
        viewer = self.viewer(request)
        if not viewer.may(Permission.OBSERVE):
            raise HttpProblem(403, "FORBIDDEN", f"{viewer.named} may not {Permission.OBSERVE.value}")
        return viewer


def build_access(
    settings: Settings,
    *,
    now_seconds: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> Access:
    """The checks that the settings ask for. Raises SettingsError when nobody could pass them, but for a missing one."""
    access = _access(settings, now_seconds, monotonic)
    return replace(access, viewer=_counted(access.viewer))


def _access(settings: Settings, now_seconds: Callable[[], float], monotonic: Callable[[], float]) -> Access:
    problem = settings.access_problem()
    if problem is not None:
        raise SettingsError(problem)
    if settings.auth == "open":
        return _open_access(settings, now_seconds, monotonic)
    if settings.auth == "jwt":
        return _jwt_access(settings, now_seconds, monotonic)
    if settings.auth == "token" and settings.service_token is not None:
        return Access(_with_token(settings.service_token.get_secret_value()), _anybody)
    return Access(_closed, _closed)


def _counted(authenticate: Authenticate) -> Authenticate:
    """The same, with those that it refuses counted by why."""

    def counting(request: HTTPConnection) -> Viewer:
        try:
            return authenticate(request)
        except HttpProblem as problem:
            given = "no token" if header(request.scope, b"authorization") is None else "bad token"
            reason = {403: "forbidden", 503: "no keys"}.get(problem.status, given)
            instruments.AUTH_FAILURES.labels(reason).inc()
            raise

    return counting


def _anybody(_request: HTTPConnection) -> None:
    """For a page without data."""


def _closed(_request: HTTPConnection) -> Viewer:
    raise HttpProblem(
        401,
        "UNAUTHENTICATED",
        "nobody is let in because TANDEM_AUTH is not set: set TANDEM_AUTH=token and TANDEM_SERVICE_TOKEN, "
        "TANDEM_AUTH=jwt and TANDEM_JWKS_URL, or TANDEM_AUTH=open on a loopback address, and start the server again",
        {"WWW-Authenticate": "Bearer"},
    )


def _open_access(settings: Settings, now_seconds: Callable[[], float], monotonic: Callable[[], float]) -> Access:
    """Without a token an engineer; with one of `tandem token`, its role; with any other, nobody."""
    from gateway.http.key_set import FileKeys
    from gateway.http.tokens import TokenRules, TokenVerifier
    from gateway.signing import audience, issuer, public_path

    rules = TokenRules(issuer(settings), audience(settings), settings.token_hours * 3_600)
    verifier = TokenVerifier(FileKeys(public_path(settings), monotonic), rules, now_seconds)
    how = "a token that `tandem token` printed for this data directory, or no Authorization header at all"

    def authenticate(request: HTTPConnection) -> Viewer:
        _at_home(request)
        if not any(all_headers(request.scope, b"authorization")):  # a client without a token may send an empty one
            return ENGINEER
        return _verified(request, verifier, how)

    return Access(authenticate, _at_home)


def _at_home(request: HTTPConnection) -> None:
    """The Host must be this machine's.

    A page of any site can make a browser resolve the site's own name to 127.0.0.1 (DNS rebinding) and would then be of
    the same origin as this server; it cannot choose the Host header.
    """
    host = header(request.scope, b"host") or ""
    if not _is_of_this_machine(host[:LONGEST_HOST]):
        raise HttpProblem(
            403,
            "FORBIDDEN",
            f"TANDEM_AUTH=open serves localhost and loopback addresses only; the Host header is {host[:100]!r}. "
            "Set TANDEM_AUTH=token or TANDEM_AUTH=jwt to be reached by other names",
        )


@lru_cache(maxsize=64)  # clients send the same one over and over
def _is_of_this_machine(host: str) -> bool:
    return is_loopback(host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host)


def _jwt_access(settings: Settings, now_seconds: Callable[[], float], monotonic: Callable[[], float]) -> Access:
    from gateway.http.key_set import FetchedKeys, FileKeys, fetch
    from gateway.http.tokens import TokenRules, TokenVerifier

    url = settings.jwks_url or ""
    rules = TokenRules(settings.issuer or "", settings.audience or "", settings.token_hours * 3_600)
    path = settings.jwks_path
    if path is not None:
        keys: FileKeys | FetchedKeys = FileKeys(path, monotonic)
        tasks: tuple[Callable[[], Coroutine[Any, Any, None]], ...] = ()
    else:
        keys = FetchedKeys(partial(fetch, url, monotonic), monotonic)
        tasks = (keys.follow,)
    verifier = TokenVerifier(keys, rules, now_seconds)
    how = "a token of the provider behind TANDEM_JWKS_URL"
    return Access(lambda request: _verified(request, verifier, how), _anybody, tasks)


def _verified(request: HTTPConnection, verifier: TokenVerifier, how: str) -> Viewer:
    """The viewer of the request's token. how: what would be taken, for who is refused."""
    from gateway.http.key_set import NoKeysError
    from gateway.http.tokens import InvalidTokenError

    try:
        return verifier.viewer(_bearer(request, how))
    except InvalidTokenError as error:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise HttpProblem(401, "UNAUTHENTICATED", f"{error}; expected {how}", challenge) from error
    except NoKeysError as error:
        text = f"no token can be checked now: {error}; try again later"
        raise HttpProblem(503, "UNAVAILABLE", text, {"Retry-After": "5"}) from error


def _bearer(request: HTTPConnection, how: str) -> str:
    """What the one header says: of two, another server on the way may have looked at the other one."""
    given = all_headers(request.scope, b"authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        what = "more than one" if len(given) > 1 else "another" if given else "none"
        text = f"expected one header `Authorization: Bearer …` with {how}; got {what}"
        raise HttpProblem(401, "UNAUTHENTICATED", text, {"WWW-Authenticate": "Bearer"})
    return token.strip()


def _with_token(secret: str) -> Authenticate:
    expected = secret.encode()
    how = "the token of TANDEM_SERVICE_TOKEN"

    def authenticate(request: HTTPConnection) -> Viewer:
        # Headers are latin-1 on the wire; both sides as bytes, compared in a time that tells nothing.
        if hmac.compare_digest(_bearer(request, how).encode("latin-1"), expected):
            return SERVICE
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise HttpProblem(401, "UNAUTHENTICATED", f"the token is another one; expected {how}", challenge)

    return authenticate
