"""Counts that several processes keep together, so that one look at any of them is a look at all."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"  # the library's name for it
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 — a full disk must not keep anybody from counting


@contextmanager
def shared_directory() -> Iterator[Path]:
    """Where processes begun within it keep their counts; gone with the last of them."""
    place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="tandem-counts-", dir=place))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def share(directory: Path, place: int) -> None:
    """Keep the counts of this process with the others'. To be called before gateway.instruments is imported.

    place: of the process among those that share the work. Who takes the place of one that ended goes on with its
    counts, so that sums never fall and files don't pile up, however many processes come and go.
    """
    if "gateway.instruments" in sys.modules:
        raise RuntimeError("something has been counted for this process alone already")
    os.environ[DIRECTORY] = str(directory)
    forget(directory, place)
    values.ValueClass = values.MultiProcessValue(lambda: place)  # type: ignore[no-untyped-call]


def forget(directory: Path, place: int) -> None:
    """Take what was true of a process while it ran (its memory, its requests in flight) out of the sums."""
    mark_process_dead(place, str(directory))  # type: ignore[no-untyped-call]
