"""The event log of production: the newest events in Redis, all older ones in an archive of Parquet files as well."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gateway.adapters.parquet.archive import EventArchive
from gateway.adapters.parquet.manifest import Manifest
from gateway.adapters.redis.events import Archiving, RedisEventLog
from gateway.adapters.redis.replay import Replayed
from gateway.adapters.redis.server import Facts, Timeouts
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.events import Event
from recommender.ports import Appended, LogState, SubjectKey

GROUP = "archive"  # the consumer group of compaction
DAY_MS = 86_400_000

Item = TypeVar("Item")
# Called with how far the log is archived, and how far it reached when the compaction began.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction found and left.

    added: events that came into the archive. trimmed: how far the stream is trimmed, of which removed places now.
    waits_for: the consumer group that has still to read what would have gone from the stream.
    """

    manifest: Manifest
    added: int
    trimmed: int
    removed: int
    waits_for: str | None


class CompactedEventLog:
    """`recommender.ports.EventLog` over a Redis log and the archive of its old events.

    The archive's manifest says which events are in it, and nothing else does: they are read from there, all later ones
    from the stream. Ids and histories stay in Redis whole, so that no request waits for a file.
    """

    def __init__(self, log: RedisEventLog, archive: EventArchive) -> None:
        self._log = log
        self._archive = archive

    @classmethod
    def open(
        cls, url: str, *, namespace: str, archive: Path, timeouts: Timeouts | None = None, may_be_lost: bool = False
    ) -> CompactedEventLog:
        """Connect as RedisEventLog.open does, to a log whose archive is, or will be, in a directory.

        may_be_lost: also when the log has lost events that the archive has, so that `replay` can bring them back.
        Raises UnavailableError. An archive that is not there is missed only by what reads it.
        """
        archived = EventArchive(archive)
        log = RedisEventLog.open(url, namespace=namespace, timeouts=timeouts)
        try:
            manifest = None if may_be_lost else archived.manifest()
            if manifest is not None and manifest.last_seq:
                _check_log(log, log.opened_with, archived, manifest)
        except BaseException:
            log.close()
            raise
        return cls(log, archived)

    @property
    def facts(self) -> Facts:
        """What the server says of itself."""
        return self._log.facts

    def close(self) -> None:
        """Finish what was handed in, then close the connections. May be called twice."""
        self._log.close()

    async def check(self) -> Manifest | None:
        """The archive's state. Raises UnavailableError when it is not this log's, or when either has lost events."""
        manifest, kept = await asyncio.to_thread(self._archive.manifest), await self._log.archiving()
        if kept.archive is None and (manifest is None or not manifest.last_seq):
            return None
        if manifest is None or kept.archive not in (None, manifest.archive):
            raise _refused(self._archive, "is not the one of the log; set TANDEM_ARCHIVE_URL to the place of that one")
        _check_log(self._log, kept, self._archive, manifest)
        if kept.trimmed > manifest.last_seq:
            raise _refused(
                self._archive,
                f"ends with event {manifest.last_seq:,} and the log goes on with {kept.trimmed + 1:,}; bring back the "
                "newest files of the archive",
            )
        return manifest

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """See the port; an id is known for good, wherever its event is."""
        return await self._log.append(events)

    async def history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool | int = False
    ) -> list[list[Event]]:
        """See the port."""
        return await self._log.history(subjects, until_seq, impressions=impressions)

    async def versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        """See the port."""
        return await self._log.versions(subjects)

    async def state(self) -> LogState:
        """See the port."""
        return await self._log.state()

    async def scan(self, after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        """See the port. Ends with what the log held when the scan began."""
        last = (await self._log.archiving()).last_seq
        last = last if until_seq is None else min(last, until_seq)
        while after_seq < last:
            manifest = await self.check()
            archived = min(last, manifest.last_seq) if manifest else 0
            if after_seq < archived:
                async for events in _in_threads(self._archive.read(after_seq, archived)):
                    yield events
                after_seq = archived
            # Ends when it is read, or when the stream was trimmed beyond: those events are in the archive by now.
            while after_seq < last and (found := await self._log.range(after_seq, last)) is not None:
                if not found:
                    return
                yield found
                after_seq = found[-1].seq

    async def forget(self, subject: SubjectKey) -> int:
        """See the port. Waits for a compaction's step. No byte of the events stays in the files of either.

        The archive goes first: whatever breaks off, the log still knows what is to be erased when asked again.
        """
        async with self._archive.locked():
            manifest = await self.check()
            if manifest is None:
                return await self._log.forget(subject)
            await asyncio.to_thread(self._archive.forget, subject)
            after = await asyncio.to_thread(self._archive.manifest)
            return await self._log.forget(
                subject, archive=manifest.archive, archived_newest_ms=after.newest_ms if after else None
            )

    def forget_kept(self, kind: Kind, ids: Sequence[str]) -> None:
        """Drop what is kept in memory of subjects that are gone."""
        self._log.forget_kept(kind, ids)

    async def compact(self, now_ms: int, stream_days: float, on_progress: OnProgress | None = None) -> Compacted:
        """Bring every event that the log holds now into the archive, then trim the stream of what is long in it.

        stream_days: how long an event stays in the stream after it was archived. May be killed at any time, and run by
        several at once: what is archived is so once.
        """
        until = (await self._log.archiving()).last_seq
        added, begun = 0, -1
        while True:
            async with self._archive.locked():
                manifest = await self.check()
                kept = await self._log.archiving()
                if begun < 0:
                    begun = kept.trimmed
                if manifest is None:
                    manifest = Manifest(uuid.uuid4().hex)
                    await asyncio.to_thread(self._archive.publish, manifest)
                    await self._log.claim(manifest.archive)
                if manifest.last_seq < until:
                    before = manifest.events
                    manifest = await self._step(manifest.trimmed(kept.trimmed), until, now_ms)
                    added += manifest.events - before
                if on_progress is not None:
                    on_progress(min(manifest.last_seq, until), until)
                if manifest.last_seq >= until:
                    trimmed, waits_for = await self._trim(manifest, kept.trimmed, now_ms - int(stream_days * DAY_MS))
                    return Compacted(manifest, added, trimmed, trimmed - begun, waits_for)

    async def replay(self) -> Replayed:
        """Write everything in Redis but the stream anew from the archive and the stream.

        After a loss of Redis this brings back all that was archived; after a loss of nothing it changes nothing.
        """
        async with self._archive.locked():
            manifest, kept = await asyncio.to_thread(self._archive.manifest), await self._log.archiving()
            if kept.archive is not None and (manifest is None or kept.trimmed > manifest.last_seq):
                await self.check()  # says what is missing
            if manifest is None:
                return await self._log.replay("", _in_threads(iter(())), 0)
            await asyncio.to_thread(self._archive.verify, 0)
            archived = _in_threads(self._archive.read(0, manifest.last_seq))
            return await self._log.replay(manifest.archive, archived, manifest.last_seq)

    async def _step(self, manifest: Manifest, until: int, now_ms: int) -> Manifest:
        """One segment more, or the last one filled up. Reads at least to `until` unless the segment is full before."""
        extension = await asyncio.to_thread(self._archive.begin, manifest)
        try:
            last_seq = manifest.last_seq
            async for events in self._log.consume(GROUP, last_seq, extension.room):
                await asyncio.to_thread(extension.add, events)
                last_seq = events[-1].seq
            # With room left everything up to `until` was read; what the stream does not have there was erased.
            last_seq = max(last_seq, until) if extension.room > 0 else last_seq
            # Waits for the server's disk: a place that a crash takes back would be given to another event.
            await self._log.claim(manifest.archive)
            return await asyncio.to_thread(extension.publish, last_seq, now_ms)
        finally:
            extension.abandon()

    async def _trim(self, manifest: Manifest, trimmed: int, at_ms: int) -> tuple[int, str | None]:
        target = manifest.reached_by(at_ms)
        if target <= trimmed:
            return trimmed, None
        await asyncio.to_thread(self._archive.verify, trimmed)
        return await self._log.trim(manifest.archive, GROUP, target)


async def _in_threads(items: Iterator[Item]) -> AsyncIterator[Item]:
    """What an iterator gives that reads files, without keeping the loop."""
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item


def _check_log(log: RedisEventLog, kept: Archiving, archive: EventArchive, manifest: Manifest) -> None:
    """Raise UnavailableError when the archive has events that the log does not know."""
    if kept.archive is None or kept.last_seq < manifest.last_seq:
        raise _refused(
            archive,
            f"reaches to event {manifest.last_seq:,} and the log at {log.address} to {kept.last_seq:,}: it has lost "
            "events; bring its data back, or run `tandem replay`, which writes the log anew from the archive",
        )


def _refused(archive: EventArchive, why: str) -> UnavailableError:
    return UnavailableError("event archive", f"{archive.path} {why}")
