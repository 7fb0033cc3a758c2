"""One file of the archive: events as Parquet, with the columns that `tandem import --events` reads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gateway.adapters.parquet.manifest import SCHEMA, MissingFileError, Segment, refused
from recommender.documents import Kind, Side
from recommender.events import Event, EventType
from recommender.ports import SubjectKey

ROW_GROUP_EVENTS = 65_536  # what a writer holds in memory
READ_EVENTS = 8_192
HASH_BYTES = 1 << 20

_COLUMNS = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("actor", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        pa.field("talent_id", pa.string(), nullable=False),
        pa.field("job_id", pa.string(), nullable=False),
        pa.field("occurred_at", pa.timestamp("ms", tz="UTC")),
        pa.field("value", pa.float64()),
        pa.field("recommendation_id", pa.string()),
    ],
    metadata={"tandem.schema": str(SCHEMA)},
)
_TIME = _COLUMNS.get_field_index("occurred_at")
_ID = {Kind.TALENT: "talent_id", Kind.JOB: "job_id"}
_ACTORS = {side.value: side for side in Side}
_TYPES = {kind.value: kind for kind in EventType}


class SegmentWriter:
    """Writes one segment under a temporary name, row group by row group."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = 0
        self._newest_ms: int | None = None
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, _COLUMNS, compression="zstd")
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0

    def add(self, events: Sequence[Event]) -> None:
        """Take events, which have to come in order of seq."""
        if events:
            self.add_batch(_batch(events))

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Take a batch out of another segment."""
        newest: int | None = pc.max(batch.column(_TIME).cast(pa.int64())).as_py() if batch.num_rows else None
        if newest is not None and (self._newest_ms is None or newest > self._newest_ms):
            self._newest_ms = newest
        self.events += batch.num_rows
        self._held.append(batch)
        self._held_rows += batch.num_rows
        if self._held_rows >= ROW_GROUP_EVENTS:
            self._write_row_group()

    def finish(self, first_seq: int, last_seq: int) -> Segment:
        """Bring the file to the disk; returns what a manifest says of it."""
        self._write_row_group()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        with self.path.open("rb") as file:
            size_bytes, sha256 = _checksum(file)
        name = f"events-{first_seq:012d}-{last_seq:012d}-{sha256[:8]}.parquet"
        return Segment(name, first_seq, last_seq, self.events, size_bytes, sha256, self._newest_ms)

    def abandon(self) -> None:
        """Leave nothing behind. May be called after `finish`."""
        if not self._file.closed:
            with suppress(OSError, pa.ArrowException):  # of a full disk, for one; it has been said already
                self._writer.close()
            with suppress(OSError):
                self._file.close()
        self.path.unlink(missing_ok=True)

    def _write_row_group(self) -> None:
        if self._held:
            self._writer.write_table(pa.Table.from_batches(self._held, _COLUMNS))
            self._held, self._held_rows = [], 0


def read_events(directory: Path, segment: Segment, after_seq: int, until_seq: int) -> Iterator[list[Event]]:
    """Events of a segment between two places, in batches. Raises UnavailableError, of it MissingFileError."""
    for batch in read_batches(directory, segment):
        seqs = batch.column(0)
        if seqs[-1].as_py() > after_seq and seqs[0].as_py() <= until_seq:
            inside = pc.and_(pc.greater(seqs, after_seq), pc.less_equal(seqs, until_seq))
            if events := _events(batch.filter(inside)):
                yield events


def read_batches(directory: Path, segment: Segment) -> Iterator[pa.RecordBatch]:
    """The rows of a segment, none of them before its length and checksum were verified."""
    with _verified(directory, segment) as file:
        try:
            parquet = pq.ParquetFile(file)
            if not parquet.schema_arrow.equals(_COLUMNS):
                raise refused(directory / segment.file, "it has other columns than those of the archive")
            for batch in parquet.iter_batches(READ_EVENTS):
                if batch.num_rows:
                    yield batch
        except pa.ArrowException as error:
            raise refused(directory / segment.file, f"it cannot be read ({error})") from error


def verify(directory: Path, segment: Segment) -> None:
    """Raise UnavailableError unless the file is there as it was written."""
    _verified(directory, segment).close()


def names(directory: Path, segment: Segment, subject: SubjectKey) -> bool:
    """Whether any event of a segment is of a subject."""
    with _verified(directory, segment) as file:
        for batch in pq.ParquetFile(file).iter_batches(columns=[_ID[subject.kind]]):
            if pc.any(pc.equal(batch.column(0), subject.id)).as_py():
                return True
    return False


def without(batches: Iterable[pa.RecordBatch], subject: SubjectKey) -> Iterator[pa.RecordBatch]:
    """The rows that are not of a subject."""
    for batch in batches:
        yield batch.filter(pc.not_equal(batch.column(_ID[subject.kind]), subject.id))


def _verified(directory: Path, segment: Segment) -> BinaryIO:
    """The open file, at its beginning: what is read is what was verified."""
    try:
        file = (directory / segment.file).open("rb")
    except FileNotFoundError:
        raise refused(directory / segment.file, "it is missing", MissingFileError) from None
    try:
        size_bytes, sha256 = _checksum(file)
        if size_bytes != segment.size_bytes:
            raise refused(directory / segment.file, f"it is torn: {size_bytes} bytes of {segment.size_bytes}")
        if sha256 != segment.sha256:
            raise refused(directory / segment.file, "it was altered (checksum)")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _checksum(file: BinaryIO) -> tuple[int, str]:
    digest, size_bytes = hashlib.sha256(), 0
    while part := file.read(HASH_BYTES):
        digest.update(part)
        size_bytes += len(part)
    return size_bytes, digest.hexdigest()


def _batch(events: Sequence[Event]) -> pa.RecordBatch:
    columns: list[list[Any]] = [
        [event.seq for event in events],
        [event.event_id for event in events],
        [event.actor.value for event in events],
        [event.type.value for event in events],
        [event.talent_id for event in events],
        [event.job_id for event in events],
        [event.occurred_at_ms for event in events],
        [event.value for event in events],
        [event.recommendation_id for event in events],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _COLUMNS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_COLUMNS)


def _events(batch: pa.RecordBatch) -> list[Event]:
    # As numbers: a datetime holds only the years 1 to 9999.
    columns = [
        (column.cast(pa.int64()) if index == _TIME else column).to_pylist() for index, column in enumerate(batch)
    ]
    return [
        Event(event_id, _ACTORS[actor], _TYPES[kind], talent_id, job_id, occurred_at_ms, value, recommendation_id, seq)
        for seq, event_id, actor, kind, talent_id, job_id, occurred_at_ms, value, recommendation_id in zip(
            *columns, strict=True
        )
    ]
