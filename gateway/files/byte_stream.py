"""Bytes of a file as they come, unzipped on the way, cut into whole lines."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gateway.files.table import MAX_LINE_BYTES, MAX_SHOWN_CHARS
from recommender.errors import BadInputError

BLOCK_BYTES = 1 << 17  # large enough that the work per block vanishes, small beside MAX_LINE_BYTES
_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class TornStreamError(Exception):
    """The stream ends or breaks in the middle; its text says how."""


class TooLong(NamedTuple):
    """A line over MAX_LINE_BYTES that was skipped: how it begins, and whether its quotes leave one open."""

    head: str
    has_odd_quotes: bool


class ByteStream:
    """One file from its beginning to its end. Close it."""

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        """Raises OSError when the file cannot be opened."""
        self.path = path
        self._raw = path.open("rb")
        self._unzipped = gzip.GzipFile(fileobj=self._raw, mode="rb") if gzipped else None
        self.size = os.fstat(self._raw.fileno()).st_size

    @property
    def position(self) -> int:
        """Bytes read from the disk so far (zipped ones, where the file is zipped)."""
        return self.size if self._raw.closed else self._raw.tell()

    def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises TornStreamError."""
        try:
            # read1, because read would throw away what it had when the stream turns out torn.
            return (self._unzipped or self._raw).read1(BLOCK_BYTES)
        except EOFError as error:
            raise TornStreamError("the gzip data ends too early: the file is torn") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise TornStreamError(f"the gzip data is damaged ({error})") from error
        except OSError as error:
            raise TornStreamError(f"it cannot be read ({error.strerror or error})") from error

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._unzipped is not None:
            self._unzipped.close()
        self._raw.close()


def whole_lines(stream: ByteStream, *, cr_ends: bool) -> Iterator[bytes | TooLong]:
    """The stream in pieces of whole lines, ends included, without a byte order mark.

    A line over MAX_LINE_BYTES comes as one TooLong. Only the last piece may lack its line's end.
    cr_ends: a lone carriage return ends a line too.
    Raises TornStreamError after every line that was whole; BadInputError for UTF-16.
    """
    tail = b""
    block = _first_block(stream)
    while block:
        block = tail + block
        cut = block.rfind(b"\n") + 1
        if not cut and cr_ends:
            # The very last byte may be the first half of a CRLF.
            cut = block.rfind(b"\r", 0, len(block) - 1) + 1
        tail = block[cut:]
        if cut:
            yield from _bounded(block[:cut])
        if len(tail) > MAX_LINE_BYTES:
            too_long, tail = _skip_line(stream, tail)
            yield too_long
        block = stream.read()
    if tail:
        yield from _bounded(tail)


def _first_block(stream: ByteStream) -> bytes:
    """The first bytes of a stream without its byte order mark; BadInputError for UTF-16."""
    block = b""
    while len(block) < len(_BOM) and (more := stream.read()):
        block += more
    if block.startswith(_UTF16_BOMS):
        raise BadInputError(f"{stream.path}: the file is UTF-16; save it as UTF-8")
    return block.removeprefix(_BOM) or stream.read()


def _bounded(piece: bytes) -> Iterator[bytes | TooLong]:
    """A piece of whole lines, those over the limit replaced."""
    if len(piece) <= MAX_LINE_BYTES:
        yield piece
        return
    for line in piece.split(b"\n")[: -1 if piece.endswith(b"\n") else None]:
        yield line + b"\n" if len(line) < MAX_LINE_BYTES else _too_long(line, line.count(b'"'))


def _skip_line(stream: ByteStream, head: bytes) -> tuple[TooLong, bytes]:
    """Read on to the end of a line that is too long; what is behind it comes back."""
    quotes = head.count(b'"')
    while block := stream.read():
        cut = block.find(b"\n") + 1
        quotes += block.count(b'"', 0, cut or len(block))
        if cut:
            return _too_long(head, quotes), block[cut:]
    return _too_long(head, quotes), b""


def _too_long(head: bytes, quotes: int) -> TooLong:
    return TooLong(head[: 4 * MAX_SHOWN_CHARS].decode("utf-8", "replace")[:MAX_SHOWN_CHARS], quotes % 2 == 1)
