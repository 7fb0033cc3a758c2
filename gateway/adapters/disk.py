"""Files that outlive a power cut: bytes, and the names in a directory, brought to the disk."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_through(path: Path, data: bytes) -> None:
    """Write a file, on the disk on return. Its name is there once its directory was synced."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_through(path: Path, data: bytes) -> None:
    """Put a file into the place of an older one, whole or not at all."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        write_through(draft, data)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Bring a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
