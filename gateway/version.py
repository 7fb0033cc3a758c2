"""Which version of Tandem this is."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def version() -> str:
    """As installed; "source" where it is not."""
    try:
        return metadata.version("tandem")
    except metadata.PackageNotFoundError:
        return "source"
