"""JSON Web Tokens: who signed one, for whom, and until when it speaks for them."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError

from gateway.graphql.viewer import ROLES, Viewer
from gateway.http.key_set import KeySource
from recommender.documents import MAX_ID_BYTES
from recommender.errors import TandemError

ALGORITHMS: Final = ("RS256", "ES256")
MAX_BYTES: Final = 8_192
LEEWAY_SECONDS: Final = 30  # by which our clock and the issuer's may differ
KEPT: Final = 10_000  # viewers whose token was checked, some 400 bytes each
KEPT_SECONDS: Final = 60  # then it is checked again, in case that its key was taken back
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})  # others are signed to say something else
_STAMPS: Final = ("exp", "iat")
# Decoders skip what is not in their alphabet: without this one token would have many texts.
_FORM: Final = re.compile(r"[\w-]+(\.[\w-]+){2}", re.ASCII)


class InvalidTokenError(TandemError):
    """A token that opens nothing. The text says why, and quotes none of it."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say. most_seconds: the longest that it may live, from `iat` to `exp`."""

    issuer: str
    audience: str
    most_seconds: float


class TokenVerifier:
    """Checks tokens, each in full about once a minute."""

    def __init__(self, keys: KeySource, rules: TokenRules, now_seconds: Callable[[], float]) -> None:
        self._keys = keys
        self._rules = rules
        self._now_seconds = now_seconds
        self._jws = PyJWS(algorithms=list(ALGORITHMS))
        self._kept: OrderedDict[bytes, tuple[Viewer, float]] = OrderedDict()
        self._generation = keys.generation

    def viewer(self, token: str) -> Viewer:
        """Who the token speaks for. Raises InvalidTokenError, NoKeysError."""
        if len(token) > MAX_BYTES or not token.isascii():
            raise InvalidTokenError(f"a token has at most {MAX_BYTES} bytes of ASCII")
        if _FORM.fullmatch(token) is None:
            raise InvalidTokenError("expected a JSON Web Token: three parts in base64url, without padding")
        now = self._now_seconds()
        self._forget_after_a_change()
        digest = hashlib.sha256(token.encode()).digest()
        kept = self._kept.get(digest)
        if kept is not None and now < kept[1]:
            return kept[0]
        viewer, until = self._checked(token, now)
        self._forget_after_a_change()  # which the check may have found
        self._kept[digest] = viewer, min(until, now + KEPT_SECONDS)
        self._kept.move_to_end(digest)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return viewer

    def _forget_after_a_change(self) -> None:
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._kept.clear()

    def _checked(self, token: str, now: float) -> tuple[Viewer, float]:
        header = _strict_object(_header(token), "header")
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS:
            raise InvalidTokenError("the token must be signed by RS256 or ES256")
        if not isinstance(kid, str | None):
            raise InvalidTokenError("the token's `kid` must be text")
        if "crit" in header or "b64" in header or str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise InvalidTokenError("the token's header says that it is something else than a plain JWT")
        key = self._keys.find(kid, algorithm)
        if key is None:
            raise InvalidTokenError("the token is signed by a key that is not known here")
        try:
            payload = self._jws.decode_complete(token, key.key, algorithms=[key.algorithm])["payload"]
        except (PyJWTError, ValueError, RecursionError) as error:
            raise InvalidTokenError("the token's signature does not fit") from error
        return self._viewer_of(_strict_object(payload, "claims"), now)

    def _viewer_of(self, claims: dict[str, Any], now: float) -> tuple[Viewer, float]:
        expires, issued = (_stamp(claims, name) for name in _STAMPS)
        if expires + LEEWAY_SECONDS <= now:
            raise InvalidTokenError("the token has expired")
        if issued - LEEWAY_SECONDS > now or ("nbf" in claims and _stamp(claims, "nbf") - LEEWAY_SECONDS > now):
            raise InvalidTokenError("the token is not valid yet")
        if not 0 < expires - issued <= self._rules.most_seconds:
            hours = self._rules.most_seconds / 3_600
            raise InvalidTokenError(f"the token lives longer than the {hours:g} hours of TANDEM_TOKEN_HOURS")
        if claims.get("iss") != self._rules.issuer:
            raise InvalidTokenError("the token's `iss` is not that of TANDEM_ISSUER")
        audience = claims.get("aud")
        if self._rules.audience not in (audience if isinstance(audience, list) else [audience]):
            raise InvalidTokenError("the token's `aud` is not that of TANDEM_AUDIENCE")
        role = claims.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise InvalidTokenError(f"the token's `role` must be one of {', '.join(ROLES)}")
        until = expires + LEEWAY_SECONDS
        return Viewer((role,), checked_subject(claims.get("sub")), until_ms=int(until * 1000)), until


def _header(token: str) -> bytes:
    text = token.partition(".")[0]
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise InvalidTokenError("the token's header is torn") from error


def _strict_object(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object in UTF-8 without a name that stands twice: two readers might take another of its values."""
    try:
        found = json.loads(text.decode(), object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidTokenError(f"the token's {what} must be a JSON object in which no name stands twice") from error
    if not isinstance(found, dict):
        raise InvalidTokenError(f"the token's {what} must be a JSON object")
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _stamp(claims: dict[str, Any], name: str) -> float:
    """A time in seconds since 1970."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise InvalidTokenError(f"the token needs `{name}`, in seconds since 1970")
    return float(value)


def checked_subject(value: object) -> str:
    """An id as the marketplace has them, without what no id has: a NUL ends a text in other programs.

    Raises InvalidTokenError.
    """
    try:
        size = len(value.encode()) if isinstance(value, str) else 0
    except UnicodeEncodeError:
        size = 0
    if not isinstance(value, str) or not 1 <= size <= MAX_ID_BYTES or "Cc" in map(unicodedata.category, value):
        raise InvalidTokenError(f"the token needs `sub`, an id of 1 to {MAX_ID_BYTES} bytes without control characters")
    return value
