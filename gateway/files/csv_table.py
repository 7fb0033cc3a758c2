"""CSV files (RFC 4180, UTF-8, a header line), read record by record."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.files.byte_stream import ByteStream, TooLong, TornStreamError, whole_lines
from gateway.files.table import (
    MAX_FIELD_CHARS,
    MAX_LINE_BYTES,
    MAX_SHOWN_CHARS,
    BadRow,
    BrokenFileError,
    Row,
    check_header,
)
from recommender.errors import BadInputError

# A quote that nobody closes swallows what follows it: no record may grow past this.
_MAX_RECORD_CHARS = 4 * MAX_LINE_BYTES


class _FaultyLine(NamedTuple):
    """A physical line that must not become a row.

    stand_in: what the csv module reads in its place: it opens or closes a quote exactly where the line did.
    """

    stand_in: str
    reason: str
    shown: str


class _RecordTooLongError(csv.Error):
    """A record went on past _MAX_RECORD_CHARS."""


class _Feed:
    """The physical lines that the csv module reads, remembered until their record is complete."""

    def __init__(self, lines: Iterator[str | _FaultyLine]) -> None:
        self._lines = lines
        self._returned: deque[str | _FaultyLine] = deque()
        self.record: list[str | _FaultyLine] = []
        self.fault: str | None = None
        self.next_line = 1
        self._chars = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.record.append(line)
        self.next_line += 1
        if isinstance(line, _FaultyLine):
            self.fault = line.reason
            line = line.stand_in
        self._chars += len(line)
        if self._chars > _MAX_RECORD_CHARS:
            raise _RecordTooLongError("the record is too long")
        return line

    def begin_record(self) -> int:
        """Forget the lines of the record before; the number of the line where the next one begins."""
        self.record.clear()
        self.fault = None
        self._chars = 0
        return self.next_line

    def give_back(self) -> None:
        """Take back all lines of this record but the first: they may be good rows behind a stray quote."""
        self._returned.extendleft(reversed(self.record[1:]))
        self.next_line -= len(self.record) - 1

    def shown(self) -> str:
        """How the record's first line begins."""
        first = self.record[0] if self.record else ""
        return (first if isinstance(first, str) else first.shown).rstrip("\r\n")[:MAX_SHOWN_CHARS]


class CsvTable:
    """One CSV file. Raises BadInputError for a header that cannot be used; an empty file has no rows."""

    def __init__(self, path: Path, required: tuple[str, ...], *, gzipped: bool) -> None:
        self.path = path
        self._stream = ByteStream(path, gzipped=gzipped)
        self._feed = _Feed(_text_lines(self._stream))
        # Strict, so that text behind a closing quote and a quote open at the end are errors and not guesses.
        self._reader = csv.reader(self._feed, strict=True)
        try:
            self.columns = self._read_header(required)
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

    def _read_header(self, required: tuple[str, ...]) -> tuple[str, ...]:
        try:
            header = next((fields for fields in self._reader if fields), None)
        except TornStreamError as error:
            raise BadInputError(f"{self.path}: {error}") from error
        except csv.Error as error:
            raise BadInputError(f"{self.path}: the header is no CSV ({error})") from error
        if self._feed.fault is not None:
            raise BadInputError(f"{self.path}: the header cannot be read: {self._feed.fault}")
        if header is None:
            return ()
        columns = tuple(name.strip() for name in header)
        check_header(self.path, columns, required)
        return columns

    def __iter__(self) -> Iterator[Row | BadRow]:
        feed, reader, columns = self._feed, self._reader, self.columns
        width = len(columns)
        while True:
            line = feed.begin_record()
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadRow(line, _csv_reason(error, len(feed.record)), feed.shown())
                feed.give_back()
                continue
            except TornStreamError as error:
                raise BrokenFileError(line, str(error)) from error
            if feed.fault is not None:
                yield BadRow(line, feed.fault, feed.shown())
            elif len(fields) == width:
                yield Row(line, columns, fields)
            elif len(fields) > 1 or (fields and not fields[0].isspace()):
                yield BadRow(line, f"the row has {len(fields)} fields, the header {width}", fields)


def _csv_reason(error: csv.Error, lines: int) -> str:
    text = str(error)
    if "field larger than" in text:
        return f"a field is longer than {MAX_FIELD_CHARS} characters" + (": is a quote left open?" if lines > 1 else "")
    if "unexpected end of data" in text or isinstance(error, _RecordTooLongError):
        return "a quote is left open"
    return f"no CSV: {text}"


def _text_lines(stream: ByteStream) -> Iterator[str | _FaultyLine]:
    """Physical lines with their ends; those that cannot be text as _FaultyLine."""
    for piece in whole_lines(stream, cr_ends=True):
        if isinstance(piece, TooLong):
            stand_in = '"\n' if piece.has_odd_quotes else "\n"
            yield _FaultyLine(stand_in, f"the line is longer than {MAX_LINE_BYTES} bytes", piece.head)
            continue
        try:
            text = piece.decode()
        except UnicodeDecodeError:
            yield from map(_decoded, piece.splitlines(keepends=True))
        else:
            # newline="" splits at \n, \r and \r\n and nowhere else, as bytes.splitlines does.
            yield from io.StringIO(text, newline="")


def _decoded(line: bytes) -> str | _FaultyLine:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        text = line.decode("utf-8", "replace")
        return _FaultyLine(text, f"not UTF-8: byte {error.start + 1} of the line", text)
