"""The archive of old events: Parquet files in a directory, of which `manifest.json` names those that count.

A file never changes. A new one is written under a temporary name, brought to the disk and renamed; then the manifest
is replaced the same way, so that the archive is in the old state or in the new one. Readers take no lock.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from gateway.adapters.disk import sync, write_through
from gateway.adapters.parquet.manifest import (
    MANIFEST,
    PART,
    Manifest,
    Mark,
    MissingFileError,
    Segment,
    decoded,
    encoded,
)
from gateway.adapters.parquet.segments import SegmentWriter, names, read_batches, read_events, verify, without
from recommender.errors import UnavailableError
from recommender.events import Event
from recommender.ports import SubjectKey

SEGMENT_EVENTS = 500_000  # some 10 MB; what one step of a compaction writes, and an erasure may have to wait for
LOCK = ".lock"
LOCK_POLL_SECONDS = 0.01
TEMPORARY = ".tmp-"
SUFFIX = ".parquet"


class EventArchive:
    """Events up to a place in the log, by seq. Writers hold `locked`; everything else may be called at any time.

    Everything raises UnavailableError when a file cannot be read or written, or is not as it was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def manifest(self) -> Manifest | None:
        """Its state; None when nothing was ever archived here."""
        path = self.path / MANIFEST
        with _failures():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        return decoded(path, data)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """One writer at a time, over all processes; the lock goes with its process. Makes the directory."""
        with _failures():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK).open("w")
        with lock:
            while not _take(lock.fileno()):  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(LOCK_POLL_SECONDS)
            yield

    def read(self, after_seq: int, until_seq: int) -> Iterator[list[Event]]:
        """Events between two places, in order, in batches, whatever is compacted or erased meanwhile."""
        manifest = self.manifest()
        while manifest is not None:
            segment = next((one for one in manifest.segments if one.last_seq > after_seq), None)
            if segment is None or after_seq >= until_seq:
                return
            try:
                with _failures():
                    for events in read_events(self.path, segment, after_seq, until_seq):
                        yield events
                        after_seq = events[-1].seq
                after_seq = segment.last_seq
            except MissingFileError:
                before, manifest = segment, self.manifest()
                if manifest is None or before in manifest.segments:
                    raise

    def verify(self, after_seq: int) -> None:
        """Read every file that holds events after a place, and compare its checksum."""
        manifest = self.manifest()
        with _failures():
            for segment in manifest.segments if manifest else ():
                if segment.last_seq > after_seq:
                    verify(self.path, segment)

    def begin(self, manifest: Manifest) -> Extension:
        """More events behind the last. A segment that is not full is written again together with them."""
        with _failures():
            self._sweep(manifest)
            last = manifest.segments[-1] if manifest.segments else None
            started = last if last is not None and last.events < SEGMENT_EVENTS else None
            return Extension(self, manifest, started)

    def forget(self, subject: SubjectKey) -> None:
        """Erase the events of a subject: files that hold some are written again without them, the old ones removed."""
        manifest = self.manifest()
        if manifest is None:
            return
        with _failures():
            self._sweep(manifest)
            kept = tuple(
                self._written_without(segment, subject) if names(self.path, segment, subject) else segment
                for segment in manifest.segments
            )
            if kept != manifest.segments:
                self.publish(replace(manifest, segments=kept))

    def publish(self, manifest: Manifest) -> None:
        """Put another manifest in the place of the one that is there, and remove the files that it does not name."""
        with _failures():
            sync(self.path)
            temporary = self.temporary()
            write_through(temporary, encoded(manifest))
            temporary.replace(self.path / MANIFEST)
            sync(self.path)
            self._sweep(manifest)

    def temporary(self) -> Path:
        """A new, empty file beside the others."""
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=self.path)
        os.fchmod(descriptor, 0o644)  # mkstemp gives it to its owner alone; another user may train
        os.close(descriptor)
        return Path(name)

    def _written_without(self, segment: Segment, subject: SubjectKey) -> Segment:
        writer = SegmentWriter(self.temporary())
        try:
            for batch in without(read_batches(self.path, segment), subject):
                writer.add_batch(batch)
            written = writer.finish(segment.first_seq, segment.last_seq)
            writer.path.rename(self.path / written.file)
        finally:
            writer.abandon()
        return written

    def _sweep(self, manifest: Manifest) -> None:
        """Remove what a writer that died has left, and what the manifest no longer names."""
        named = {segment.file for segment in manifest.segments}
        for path in self.path.iterdir():
            if path.name.startswith(TEMPORARY) or (path.suffix == SUFFIX and path.name not in named):
                path.unlink()


class Extension:
    """One step of a compaction: events that become part of the archive together, when it is published."""

    def __init__(self, archive: EventArchive, manifest: Manifest, started: Segment | None) -> None:
        self._archive = archive
        self._manifest = manifest
        self._started = started
        self._writer = SegmentWriter(archive.temporary())
        if started is not None:
            for batch in read_batches(archive.path, started):
                self._writer.add_batch(batch)

    @property
    def room(self) -> int:
        """How many events the segment still takes."""
        return SEGMENT_EVENTS - self._writer.events

    def add(self, events: Sequence[Event]) -> None:
        """Take events, in order of seq."""
        with _failures():
            self._writer.add(events)

    def publish(self, last_seq: int, at_ms: int) -> Manifest:
        """The archive reaches to last_seq from now on; returns its manifest."""
        before = self._manifest
        kept = before.segments if self._started is None else before.segments[:-1]
        first_seq = kept[-1].last_seq + 1 if kept else 1
        with _failures():
            segment = self._writer.finish(first_seq, last_seq)
            self._writer.path.rename(self._archive.path / segment.file)
        after = replace(before, segments=(*kept, segment), marks=(*before.marks, Mark(last_seq, at_ms)))
        self._archive.publish(after)
        return after

    def abandon(self) -> None:
        """Leave nothing behind. May be called after `publish`."""
        self._writer.abandon()


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _failures() -> Iterator[None]:
    """Turn the operating system's refusals into ours."""
    try:
        yield
    except OSError as error:
        subject = f"{error.filename}: " if error.filename else ""
        raise UnavailableError(PART, f"{subject}{error.strerror or error}; free or repair the disk") from error
