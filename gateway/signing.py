"""The key in the data directory that signs tokens for development, and the tokens that it signs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from gateway.adapters.disk import replace_through
from gateway.settings import Settings, SettingsError

PRIVATE_FILE: Final = "token-key.pem"
PUBLIC_FILE: Final = "token-keys.json"
ISSUER: Final = "tandem-development"  # where the settings name none
AUDIENCE: Final = "tandem"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An ES256 key. jwk: its public half as published, with its id."""

    private: ec.EllipticCurvePrivateKey
    jwk: dict[str, Any]


def public_path(settings: Settings) -> Path:
    """Where the public half is, as a JSON Web Key Set."""
    return settings.data_dir / PUBLIC_FILE


def issuer(settings: Settings) -> str:
    """The `iss` of tokens that are signed here."""
    return settings.issuer or ISSUER


def audience(settings: Settings) -> str:
    """The `aud` of tokens that are signed here."""
    return settings.audience or AUDIENCE


def has_signing_key(settings: Settings) -> bool:
    """Whether tokens were signed in the data directory, as `tandem demo` does."""
    return (settings.data_dir / PRIVATE_FILE).exists()


def open_signing_key(settings: Settings) -> SigningKey:
    """The key of the data directory, made when there is none.

    Raises SettingsError for one that others may read or that is none, OSError for a directory that cannot be written.
    """
    path = settings.data_dir / PRIVATE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _make(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SettingsError(
            f"{path} signs tokens and others may read it: delete it for a new one, or `chmod 600 {path}`"
        )
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise SettingsError(f"{path} is no key: delete it, and a new one is made") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise SettingsError(f"{path} is no key of the curve P-256: delete it, and a new one is made")
    jwk = _public_jwk(private)
    _publish(public_path(settings), {"keys": [jwk]})
    return SigningKey(private, jwk)


def sign(
    key: SigningKey, settings: Settings, *, role: str, subject: str, now_seconds: int, lifetime_seconds: int
) -> str:
    """A token for a role, in the form that `TANDEM_AUTH=jwt` takes."""
    claims = {
        "iss": issuer(settings),
        "aud": audience(settings),
        "sub": subject,
        "role": role,
        "iat": now_seconds,
        "exp": now_seconds + lifetime_seconds,
    }
    return jwt.encode(claims, key.private, algorithm="ES256", headers={"kid": key.jwk["kid"]})


def _make(path: Path) -> None:
    """Write a new key whole or not at all; of two that do so at once, the first one's stays."""
    text = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _public_jwk(private: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """The public half. Its id is its thumbprint (RFC 7638), so that a new key has a new one."""
    public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    members = {name: public[name] for name in ("crv", "kty", "x", "y")}
    thumbprint = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**members, "kid": base64.urlsafe_b64encode(thumbprint).decode().rstrip("="), "alg": "ES256", "use": "sig"}


def _publish(path: Path, keys: dict[str, Any]) -> None:
    text = json.dumps(keys) + "\n"
    if path.exists() and path.read_text() == text:
        return
    replace_through(path, text.encode())
