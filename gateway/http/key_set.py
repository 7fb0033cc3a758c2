"""The keys that tokens are checked with: a JSON Web Key Set, out of a file or fetched in the background.

No request waits for a key. What was read last stays good for a day, so that a provider that is down locks nobody out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.exceptions import PyJWTError

from recommender.errors import TandemError

FETCHED_EVERY_SECONDS: Final = 300.0
COOLDOWN_SECONDS: Final = 30.0  # between two fetches, however many tokens name keys that are not there
STALE_SECONDS: Final = 86_400.0  # keys that nobody could confirm for so long are not believed any more
TIMEOUT_SECONDS: Final = 5.0
LOOKED_EVERY_SECONDS: Final = 1.0  # at a file, which is read on the spot
MAX_BYTES: Final = 1_000_000
MAX_KEYS: Final = 100
RSA_BITS: Final = range(2_048, 8_193)  # shorter ones are broken, longer ones take milliseconds each time

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey
KeyId: TypeAlias = tuple[str | None, str]  # with the algorithm: keys of two kinds may share an id (RFC 7517, 4.5)

_log = structlog.get_logger("tandem.keys")


class NoKeysError(TandemError):
    """No key has been read yet, or none for a day: nobody can be told from anybody else."""


class KeySetError(TandemError):
    """What came is no key set that could be used."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key with the one algorithm that it is for."""

    algorithm: str
    key: PublicKey


class KeySource(Protocol):
    """Where keys are looked up. generation: another number once the keys are others."""

    generation: int

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """The key of an id and algorithm; without an id, the only one of the algorithm. Raises NoKeysError."""
        ...


class _Keys:
    """Keys by id, and since when they are known."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.generation = 0
        self._monotonic = monotonic
        self._keys: dict[KeyId, VerifyingKey] = {}
        self._read_at = float("-inf")

    @property
    def is_empty(self) -> bool:
        """Whether nothing was read yet."""
        return not self._keys

    def _take(self, text: bytes) -> None:
        keys = keys_from(text)
        if keys.keys() != self._keys.keys() or any(_numbers(keys[kid]) != _numbers(self._keys[kid]) for kid in keys):
            self.generation += 1
        self._keys, self._read_at = keys, self._monotonic()

    def _lookup(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        if self._monotonic() - self._read_at > STALE_SECONDS:
            raise NoKeysError("the keys that tokens are checked with could not be read")
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for key in self._keys.values() if key.algorithm == algorithm]
        return fitting[0] if len(fitting) == 1 else None


class FileKeys(_Keys):
    """Keys in a file, which is looked at again when a second has gone by."""

    def __init__(self, path: Path, monotonic: Callable[[], float]) -> None:
        super().__init__(monotonic)
        self._path = path
        self._looked_at = float("-inf")
        self._problem = ""

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """See KeySource."""
        now = self._monotonic()
        if now - self._looked_at > LOOKED_EVERY_SECONDS:
            self._looked_at = now
            self._look()
        return self._lookup(kid, algorithm)

    def _look(self) -> None:
        problem = ""
        try:
            with self._path.open("rb") as file:
                self._take(file.read(MAX_BYTES + 1))
        except (OSError, KeySetError) as error:
            problem = str(error)
            if problem != self._problem:
                _log.warning("keys not read", reason=problem)
        self._problem = problem


class FetchedKeys(_Keys):
    """Keys behind an address, which `follow` fetches. fetch: the set's text, in a thread of its own."""

    def __init__(self, fetch: Callable[[], bytes], monotonic: Callable[[], float]) -> None:
        super().__init__(monotonic)
        self._fetch = fetch
        self._missed: asyncio.Event | None = None

    def find(self, kid: str | None, algorithm: str) -> VerifyingKey | None:
        """See KeySource. A key that is not there is fetched for, later, and for all who miss one together."""
        found = self._lookup(kid, algorithm)
        if found is None and self._missed is not None:
            self._missed.set()
        return found

    async def follow(
        self, every_seconds: float = FETCHED_EVERY_SECONDS, cooldown_seconds: float = COOLDOWN_SECONDS
    ) -> None:
        """Fetch for ever: now and then, and when a key was missed; before the first success more and more rarely."""
        self._missed = asyncio.Event()
        pause = min(1.0, cooldown_seconds)
        while True:
            self._missed.clear()
            fetched = await self._refresh()
            if self.is_empty:
                await asyncio.sleep(pause)
                pause = min(2 * pause, cooldown_seconds)
                continue
            await asyncio.sleep(cooldown_seconds)
            if fetched:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._missed.wait(), every_seconds)

    async def _refresh(self) -> bool:
        try:
            self._take(await asyncio.to_thread(self._fetch))
        except (OSError, HTTPException, KeySetError) as error:
            _log.warning("keys not fetched", reason=str(error)[:300], kept=len(self._keys))
        except Exception as error:  # noqa: BLE001 — this task must outlive whatever a provider can send
            _log.error("keys not fetched", error=type(error).__name__, kept=len(self._keys))
        else:
            return True
        return False


def fetch(url: str, monotonic: Callable[[], float]) -> bytes:
    """What is behind an http or https address. No redirect is followed: it may lead anywhere, and away from TLS.

    It takes twice TIMEOUT_SECONDS at the most, however slowly a provider sends its headers, for which the time-out of
    a socket begins anew with every byte. Raises OSError, HTTPException, KeySetError.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(),
        _Https(context=ssl.create_default_context()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    until = monotonic() + TIMEOUT_SECONDS
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 — the settings' own
    with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
        parts, size = [], 0
        while part := answer.read1(65_536):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES or monotonic() > until:
                raise KeySetError(f"the key set is over {MAX_BYTES} bytes or took over {TIMEOUT_SECONDS:.0f} s")
    return b"".join(parts)


class _Ending(HTTPConnection):
    """A connection that ends some time after it began, whatever comes over it."""

    def connect(self) -> None:
        super().connect()
        ending = threading.Timer(TIMEOUT_SECONDS, _end, [self.sock])
        ending.daemon = True
        ending.start()


class _EndingTls(_Ending, HTTPSConnection):
    """The same by TLS."""


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Ending, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_EndingTls, request, context=self._context)  # type: ignore[attr-defined]


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended by itself
        connection.shutdown(socket.SHUT_RDWR)


def keys_from(text: bytes) -> dict[KeyId, VerifyingKey]:
    """The usable keys of a JSON Web Key Set by id and algorithm. Raises KeySetError when there is none.

    Usable: a public key for signatures, of RSA or P-256. Symmetric keys never are: who can check could sign.
    """
    try:
        entries = json.loads(text)["keys"] if len(text) <= MAX_BYTES else None
    except (ValueError, KeyError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise KeySetError("this is no JSON Web Key Set (RFC 7517)")
    found: dict[KeyId, VerifyingKey] = {}
    for entry in entries[:MAX_KEYS]:
        kid = entry.get("kid") if isinstance(entry, Mapping) else None
        key = _usable(entry) if isinstance(kid, str | None) else None
        if key is not None:
            found.setdefault((kid, key.algorithm), key)
    if not found:
        raise KeySetError("the key set has no public key for RS256 or ES256")
    return found


def _usable(entry: Any) -> VerifyingKey | None:
    if not isinstance(entry, Mapping) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    algorithm = {"RSA": "RS256", "EC": "ES256"}.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or "d" in entry:
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm).key
    except (PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size in RSA_BITS:
        return VerifyingKey(algorithm, key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return VerifyingKey(algorithm, key)
    return None


def _numbers(key: VerifyingKey) -> Any:
    return key.algorithm, key.key.public_numbers()
