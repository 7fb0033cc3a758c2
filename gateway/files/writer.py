"""Ranked pairs written to a file, JSON Lines or Parquet by its suffix: whole under its name, or not at all."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, cast

import orjson

from recommender.documents import Kind
from recommender.errors import BadInputError

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA: Final = 1  # of the written columns; in the metadata of a Parquet file
GZIP_LEVEL: Final = 3  # twice as fast as the default for a twentieth more bytes
ROWS_PER_GROUP: Final = 250_000  # of Parquet: some MB each, what readers like

_JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_PARQUET = ".parquet"


class PairWriter(Protocol):
    """Takes in lists, one subject at a time."""

    def write(self, subject_id: str, item_ids: Sequence[str], scores: Sequence[float]) -> None:
        """One row per item: talent_id, job_id, rank from 1, score."""
        ...

    def close(self) -> None:
        """Write what is still held back."""
        ...


def check_output(path: Path) -> None:
    """Raises BadInputError when no file can be written there: unknown suffix, no such directory, a directory."""
    if not path.name.lower().endswith((*_JSON_LINES, _PARQUET)):
        raise BadInputError(f"{path}: the suffix tells the format; allowed: {', '.join((*_JSON_LINES, _PARQUET))}")
    if path.is_dir():
        raise BadInputError(f"{path} is a directory; name a file in it")
    if not path.parent.is_dir():
        raise BadInputError(f"{path}: there is no directory {path.parent}; make it first")


@contextmanager
def open_writer(path: Path, subject_kind: Kind) -> Iterator[PairWriter]:
    """A writer of a new file. The file stands under its name when the block ends well, replacing an older one.

    Until then, and after a failure, nothing of it is seen. Raises BadInputError (see `check_output`), OSError.
    """
    check_output(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            writer = _writer_for(path, subject_kind, file)
            try:
                yield writer
            finally:
                writer.close()  # after a failure too: a Parquet writer left open complains when it is collected
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _writer_for(path: Path, subject_kind: Kind, file: IO[bytes]) -> PairWriter:
    name = path.name.lower()
    if name.endswith(_PARQUET):
        return ParquetPairs(file, subject_kind)
    if name.endswith(".gz"):
        # Neither name nor time inside: the same rows are the same bytes.
        zipped = gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0)
        return JsonLinesPairs(cast(IO[bytes], zipped), subject_kind, owned=True)
    return JsonLinesPairs(file, subject_kind)


class JsonLinesPairs:
    """An object per line."""

    def __init__(self, file: IO[bytes], subject_kind: Kind, *, owned: bool = False) -> None:
        self._file = file
        self._of_talents = subject_kind is Kind.TALENT
        self._owned = owned

    def write(self, subject_id: str, item_ids: Sequence[str], scores: Sequence[float]) -> None:
        """See PairWriter."""
        rows = []
        for rank, (item_id, score) in enumerate(zip(item_ids, scores, strict=True), 1):
            talent_id, job_id = (subject_id, item_id) if self._of_talents else (item_id, subject_id)
            row = {"talent_id": talent_id, "job_id": job_id, "rank": rank, "score": score}
            rows.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        self._file.write(b"".join(rows))

    def close(self) -> None:
        """See PairWriter."""
        if self._owned:
            self._file.close()


class ParquetPairs:
    """Columns, in groups of rows."""

    def __init__(self, file: IO[bytes], subject_kind: Kind) -> None:
        # Imported here: pyarrow takes a tenth of a second, which JSON Lines need not wait for.
        import pyarrow as pa
        from pyarrow import parquet

        self._subject, self._item = ("talent_id", "job_id") if subject_kind is Kind.TALENT else ("job_id", "talent_id")
        self._schema = pa.schema(
            [("talent_id", pa.string()), ("job_id", pa.string()), ("rank", pa.int32()), ("score", pa.float64())],
            metadata={"tandem_schema": str(SCHEMA)},
        )
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._clear()

    def _clear(self) -> None:
        self._subjects: list[str] = []
        self._items: list[str] = []
        self._ranks: list[int] = []
        self._scores: list[float] = []

    def write(self, subject_id: str, item_ids: Sequence[str], scores: Sequence[float]) -> None:
        """See PairWriter."""
        self._subjects += [subject_id] * len(item_ids)
        self._items += item_ids
        self._ranks += range(1, len(item_ids) + 1)
        self._scores += scores
        if len(self._items) >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(self._table())
        self._clear()

    def _table(self) -> pa.Table:
        import pyarrow as pa

        columns = {
            self._subject: self._subjects,
            self._item: self._items,
            "rank": self._ranks,
            "score": self._scores,
        }
        return pa.table(columns, schema=self._schema)

    def close(self) -> None:
        """See PairWriter."""
        if self._items:
            self._flush()
        self._writer.close()
