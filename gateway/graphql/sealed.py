"""Opaque texts that we give out and take back unchanged: base64url over bytes and their checksum."""

from __future__ import annotations

import base64
import binascii
from zlib import crc32

_SHORTEST = 8  # two bytes and the checksum; nothing that is sealed has fewer


def seal(body: bytes) -> str:
    """The text that stands for these bytes: one, and no other."""
    return base64.urlsafe_b64encode(body + crc32(body).to_bytes(4, "big")).decode().rstrip("=")


def unseal(text: str, longest: int) -> bytes | None:
    """The bytes that `seal` made the text of; None for any other text or one of more than `longest` characters."""
    if not _SHORTEST <= len(text) <= longest or not text.isascii():
        return None
    try:
        body = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)[:-4]
    except binascii.Error:
        return None
    # Compared as text: the last character has bits that decode to nothing, so several would be read as the same bytes.
    return body if seal(body) == text else None
