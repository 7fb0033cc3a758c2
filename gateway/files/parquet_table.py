"""Parquet files, read batch by batch; times of every unit and zone become epoch milliseconds."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.files.table import BrokenFileError, EpochMs, Row, Unreadable, check_header
from recommender.errors import BadInputError

_BATCH_ROWS = 4096
_READ_BUFFER_BYTES = 1 << 20  # streams a column chunk instead of loading a row group whole
_MS_PER = {"s": (1000, 1), "ms": (1, 1), "us": (1, 1000), "ns": (1, 1_000_000)}  # times, then divided by


class ParquetTable:
    """One Parquet file. Its rows count from 1; there is no reading past damage.

    wanted: the only columns to read; None for all.
    Raises BadInputError for a file that is no Parquet, is cut off, or whose columns cannot be used.
    """

    def __init__(
        self, path: Path, required: tuple[str, ...], *, gzipped: bool, wanted: frozenset[str] | None = None
    ) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._source: IO[bytes] = path.open("rb")
        try:
            if gzipped:
                self._source = _unzipped(path, self._source)
            self._file = _open(path, self._source)
            names = tuple(self._file.schema_arrow.names)
            check_header(path, names, required)
        except BaseException:
            self._source.close()
            raise
        self.columns = names if wanted is None else tuple(name for name in names if name in wanted)
        self._total = self._file.metadata.num_rows
        self._read = 0

    @property
    def position(self) -> int:
        """Its size times the share of rows read: columns are not read in order of bytes."""
        return self.size * self._read // self._total if self._total else self.size

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._source.close()

    def __iter__(self) -> Iterator[Row]:
        columns = self.columns
        number = 0
        try:
            for batch in self._file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns), use_threads=False):
                values = [_values(batch.column(name)) for name in columns]
                for row in zip(*values, strict=True):
                    number += 1
                    yield Row(number, columns, row)
                self._read = number
        except (pa.ArrowException, OSError) as error:
            raise BrokenFileError(number + 1, f"the Parquet data is damaged ({_first_line(error)})") from error


def _open(path: Path, source: IO[bytes]) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(source, buffer_size=_READ_BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise BadInputError(f"{path}: no Parquet file, or cut off ({_first_line(error)})") from error


def _unzipped(path: Path, zipped: IO[bytes]) -> IO[bytes]:
    """An unnamed temporary file: Parquet is read from its end, gzip only from its beginning."""
    unzipped = tempfile.TemporaryFile()  # noqa: SIM115 (the table closes it)
    try:
        with zipped, gzip.GzipFile(fileobj=zipped, mode="rb") as source:
            shutil.copyfileobj(source, unzipped)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        unzipped.close()
        raise BadInputError(
            f"{path}: the gzip data is torn or damaged, and a Parquet file cannot be read in part"
        ) from error
    unzipped.seek(0)
    return unzipped


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ")


def _values(column: pa.Array) -> list[Any]:
    """A column's values as Python's, an Unreadable for each that has none."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _times(column, kind.unit)
    if pa.types.is_date(kind):
        return _times(column.cast(pa.timestamp("ms")), "ms")
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # The shortest digits that say the number: 0.1 and not 0.10000000149011612.
        column = column.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
    try:
        values: list[Any] = column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):
        values = [_readable(cell.as_py) for cell in column]
    return values


def _times(column: pa.Array, unit: str) -> list[EpochMs | None]:
    times, by = _MS_PER[unit]
    return [
        None if instant is None else EpochMs(instant * times // by) for instant in column.cast(pa.int64()).to_pylist()
    ]


def _readable(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        return Unreadable(_first_line(error))
