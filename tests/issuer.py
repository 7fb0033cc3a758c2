"""A provider of tokens: its keys, what it signs, and a server that publishes the keys and counts who asks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://id.example.com/", "tandem-api"
NOW = 1_800_000_000


@cache
def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """The RSA key of a number, one for all tests: making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@cache
def ec_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of a number."""
    return ec.generate_private_key(ec.SECP256R1())


def jwk(private: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    """The public half of a key as it is published."""
    kind = RSAAlgorithm if isinstance(private, rsa.RSAPrivateKey) else ECAlgorithm
    public = kind.to_jwk(private.public_key(), as_dict=True)
    return {**public, **({} if kid is None else {"kid": kid}), "use": "sig", **more}


def key_set(*entries: dict[str, Any]) -> bytes:
    """The text of a set of keys."""
    return json.dumps({"keys": list(entries)}).encode()


def both_keys() -> bytes:
    """A set of one RSA key, `r`, and one of P-256, `e`."""
    return key_set(jwk(rsa_key(), "r"), jwk(ec_key(), "e"))


def claims(**more: Any) -> dict[str, Any]:
    """Claims of a talent for an hour from NOW on; None takes one away."""
    usual = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "t1",
        "role": "talent",
        "iat": NOW,
        "exp": NOW + 3_600,
        **more,
    }
    return {name: value for name, value in usual.items() if value is not None}


def token(private: Any = None, kid: str | None = "r", header: dict[str, Any] | None = None, **more: Any) -> str:
    """A token with these claims beside the usual ones."""
    key = private or rsa_key()
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    headers = {**({} if kid is None else {"kid": kid}), **(header or {})}
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers=headers)


@dataclass
class Published:
    """What the server answers with. text: None hangs up on whoever asks."""

    text: bytes | None
    status: int = 200
    asked: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""


@contextmanager
def publishing(text: bytes | None) -> Iterator[Published]:
    """A server of keys on a free port of this machine."""
    published = Published(text)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            published.asked += 1
            if published.text is None:
                self.close_connection = True
                return
            self.send_response(published.status)
            for name, value in published.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(published.text)))
            self.end_headers()
            self.wfile.write(published.text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    published.url = f"http://127.0.0.1:{server.server_address[1]}/keys.json"
    try:
        yield published
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
