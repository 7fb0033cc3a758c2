"""Headers of a request as the server gives them: Starlette's mapping takes three calls for each look, and an error for
one that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def header(scope: Mapping[str, Any], name: bytes) -> str | None:
    """The first of a name in lower case; None where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def all_headers(scope: Mapping[str, Any], name: bytes) -> list[str]:
    """All of a name in lower case, in their order."""
    return [str(value, "latin-1") for key, value in scope["headers"] if key == name]
