"""A file seen as a table: rows in order, each with its place, and the rows that could not even be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from recommender.errors import BadInputError, TandemError

# Bounds that keep a hostile or broken file from filling memory. A longer line or field is a bad row, never an abort.
MAX_LINE_BYTES = 1 << 20
MAX_FIELD_CHARS = 1 << 17  # the csv module's own limit, applied to every format
MAX_SHOWN_CHARS = 200  # of an unreadable row, in the rejects file


class Row(NamedTuple):
    """One row as the file has it.

    line: where it begins: the physical line, from 1, of a text file, the row number, from 1, of a Parquet file.
    columns, values: of the same length; a column that is not in `columns` is absent from this row.
    """

    line: int
    columns: tuple[str, ...]
    values: Sequence[Any]


class BadRow(NamedTuple):
    """One row that is not taken: where it begins, why, and what was read of it (JSON-able, None for nothing)."""

    line: int
    reason: str
    row: Any


class EpochMs(int):
    """A time that is epoch milliseconds already, however small: what Parquet's typed times become."""

    __slots__ = ()


class Unreadable(NamedTuple):
    """A value that is in the file and cannot be decoded; no column takes it."""

    reason: str

    def __repr__(self) -> str:
        return f"an unreadable value ({self.reason})"


class BrokenFileError(TandemError):
    """A file ends or breaks where it should go on. Rows before the place were read; nothing behind it is."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


class Table(Protocol):
    """An open file of rows. Iterating reads it once, in bounded memory; raises BrokenFileError where it breaks."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def size(self) -> int:
        """Bytes of the file on disk."""
        ...

    @property
    def position(self) -> int:
        """Bytes of it that have been read so far."""
        ...

    def __iter__(self) -> Iterator[Row | BadRow]: ...

    def close(self) -> None:
        """Close the file. May be called twice."""
        ...


def check_header(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
    """Raise BadInputError when a column stands twice in a header, or a required one is missing."""
    named = [column for column in columns if column]
    twice = sorted({column for column in named if named.count(column) > 1})
    if twice:
        raise BadInputError(f"{path}: column {_listed(twice)} stands twice in the header")
    missing = [column for column in required if column not in named]
    if missing:
        hint = (
            " (columns are separated by commas)" if len(columns) == 1 and any(c in columns[0] for c in ";\t|") else ""
        )
        subject = f"column {missing[0]} is" if len(missing) == 1 else f"columns {_listed(missing)} are"
        raise BadInputError(f"{path}: {subject} missing; found: {_listed(columns)}{hint}")


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(column or "(no name)" for column in columns[:50])
    return (shown + (f" and {len(columns) - 50} more" if len(columns) > 50 else "")) or "none"
