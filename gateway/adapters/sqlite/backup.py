"""A copy of a database that others go on writing to."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from recommender.errors import UnavailableError

PAGES: int = 4_096  # copied between two reports of how far it is


def copy_database(source: Path, target: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Copy what is committed now, whatever is committed meanwhile, into a file of its own without a log beside it.

    on_progress: called with the pages that are copied and all of them. Raises UnavailableError.
    """
    try:
        with (
            closing(
                sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
            ) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            # An open transaction keeps its state; without one every commit of another process would begin it anew.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            reading.backup(
                writing,
                pages=PAGES,
                progress=lambda _, left, all_: on_progress(all_ - left, all_) if on_progress else None,
            )
            writing.execute("PRAGMA journal_mode = DELETE")
            (state,) = writing.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise UnavailableError("backup", f"{source} cannot be copied to {target}: {error}") from error
    if state != "ok":
        raise UnavailableError("backup", f"{source} is damaged: {state}; restore it from an older backup")
