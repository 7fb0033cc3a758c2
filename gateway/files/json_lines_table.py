"""JSON Lines files: one JSON object per line, UTF-8. A key that is not there is an absent column."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from gateway.files.byte_stream import ByteStream, TooLong, TornStreamError, whole_lines
from gateway.files.table import MAX_LINE_BYTES, MAX_SHOWN_CHARS, BadRow, BrokenFileError, Row
from recommender.errors import BadInputError


class JsonLinesTable:
    """One JSON Lines file. Numbers with a fraction come as Decimal, to the last digit.

    Raises BadInputError for a file of which nothing can be read.
    """

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self.path = path
        self._stream = ByteStream(path, gzipped=gzipped)
        self._pieces = whole_lines(self._stream, cr_ends=False)
        try:
            # A file of another encoding, or no gzip at all, is found out before anything is imported.
            self._first = next(self._pieces, b"")
        except TornStreamError as error:
            self.close()
            raise BadInputError(f"{path}: {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of the file on disk."""
        return self._stream.size

    @property
    def position(self) -> int:
        """Bytes of it that have been read so far."""
        return self._stream.position

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._stream.close()

    def __iter__(self) -> Iterator[Row | BadRow]:
        number = 0
        try:
            for piece in chain((self._first,), self._pieces):
                if isinstance(piece, TooLong):
                    number += 1
                    yield BadRow(number, f"the line is longer than {MAX_LINE_BYTES} bytes", piece.head)
                    continue
                for line in piece.removesuffix(b"\n").split(b"\n"):
                    number += 1
                    row = _row(number, line)
                    if row is not None:
                        yield row
        except TornStreamError as error:
            raise BrokenFileError(number + 1, str(error)) from error


def _row(number: int, line: bytes) -> Row | BadRow | None:
    """One line's row, None for a blank line."""
    try:
        # orjson first: it is strict about UTF-8, surrogates and NaN, where the standard library is not.
        value = orjson.loads(line)
        if type(value) is dict:
            # It also rounds: decimals, and integers beyond 64 bits. Those rows are read again, exactly.
            if float in map(type, value.values()):
                value = json.loads(line, parse_float=Decimal)
            return Row(number, tuple(value), tuple(value.values()))
    except (ValueError, RecursionError) as error:
        if not line.strip():
            return None
        return BadRow(number, f"no JSON: {_json_reason(error)}", line.decode("utf-8", "replace")[:MAX_SHOWN_CHARS])
    return BadRow(number, f"a line must be a JSON object; got {_named(value)}", _short(line))


def _json_reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _named(value: Any) -> str:
    return {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _short(line: bytes) -> str:
    return line.decode()[:MAX_SHOWN_CHARS]
