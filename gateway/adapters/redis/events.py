"""The event log in Redis or Valkey: durable when acknowledged, read by subject, followed by consumers, erasable.

Keys, all behind the prefix `{<namespace>:events}:`

meta          hash: schema, seq (the last one given), newest (time), erasures (how often something was forgotten),
              rewritten (erasures that the append-only file no longer shows), archive, trimmed (seq up to which the
              stream was cut), replaying (while the keys below are written anew)
stream        stream: entry `<seq>-0` with one field, the event
id:<4 hex>    hashes: digest of an event id → digest of its content; 65,536 of them, so that each stays compact
t:… j:…       lists: a talent's, a job's deeds, oldest first, as `<seq>:<event>`
ti:… ji:…     lists: a talent's, a job's impressions
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from redis.commands.core import AsyncScript
from redis.exceptions import ResponseError

from gateway.adapters.redis import scripts
from gateway.adapters.redis.append_queue import AppendQueue
from gateway.adapters.redis.encoding import (
    PART,
    SCHEMA,
    decoded_entry,
    decoded_stream,
    id_digest,
    time_from_text,
    time_text,
)
from gateway.adapters.redis.io_thread import IoThread
from gateway.adapters.redis.replay import Replay, Replayed
from gateway.adapters.redis.rows import EventRow, history_key, row_of
from gateway.adapters.redis.server import Facts, Server, Timeouts
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.events import Event, check_events, is_event_id
from recommender.ports import Appended, LogState, SubjectKey

CONNECTIONS = 32  # per pool and process
OPENED_AT_START = 4
WRITERS = 8  # appends under way at once; each holds a connection while the disk syncs
APPEND_BATCH = 250  # events that one script writes: it keeps the server from everybody else for some 2.5 ms
WHOLE_APPEND = 500  # up to here an append is one step: no request brings more events
SCAN_BATCH = 2_000
COPY_BATCH = 500  # entries at a time: about a millisecond in which the server does nothing else
COPY_SECONDS = 600  # then what a process that died has begun to copy goes
FORGET_BATCH = 100
REWRITE_POLL_SECONDS = 0.1
TRIM_BATCH = 10_000  # entries that one step removes: it keeps the server from everybody else meanwhile
CONSUMER = "compactor"
DECODED_KEPT = 50_000  # events of histories, with their bytes some 500 each
DECODED_SECONDS = 600.0  # then all are decoded anew: one that was read while it was erased stays no longer

_OUTCOMES = {"a": Appended.ACCEPTED, "d": Appended.DUPLICATE, "c": Appended.CONFLICT}
_OTHER = {Kind.TALENT: Kind.JOB, Kind.JOB: Kind.TALENT}


@dataclass(frozen=True, slots=True)
class Archiving:
    """The archive that a log belongs to, how far its stream is trimmed, and the last seq that it gave."""

    archive: str | None
    trimmed: int
    last_seq: int


class RedisEventLog:
    """`recommender.ports.EventLog` over one Redis or Valkey server. Ids are compared byte by byte.

    An append of more than WHOLE_APPEND events takes several steps, in order: when one of them fails the earlier ones
    are written, the append isn't acknowledged, and the same append again finds them to be duplicates.
    """

    def __init__(self, thread: IoThread, server: Server, facts: Facts, namespace: str, opened_with: Archiving) -> None:
        self.facts = facts
        self.opened_with = opened_with
        self.address = server.address
        self._thread = thread
        self._server = server
        self._prefix = f"{{{namespace}:events}}:"
        self._meta, self._stream = f"{self._prefix}meta", f"{self._prefix}stream"
        # A history comes whole each time, and all but its end was decoded before: into the same objects.
        self._decoded = lru_cache(DECODED_KEPT)(decoded_entry)
        self._decoded_until_s = 0.0
        self._queue = AppendQueue(self._write, part=PART, writers=WRITERS, most=APPEND_BATCH)
        self._append_script = server.slow.register_script(scripts.APPEND)
        self._forget_script = server.slow.register_script(scripts.FORGET)
        self._copy_script = server.slow.register_script(scripts.COPY_STREAM)
        self._exchange_script = server.slow.register_script(scripts.EXCHANGE_STREAM)
        self._newest_script = server.slow.register_script(scripts.RESTORE_NEWEST)
        self._histories_script = server.quick.register_script(scripts.HISTORIES)
        self._versions_script = server.quick.register_script(scripts.VERSIONS)
        self._claim_script = server.slow.register_script(scripts.CLAIM)
        self._seek_script = server.slow.register_script(scripts.SEEK)
        self._trim_script = server.slow.register_script(scripts.TRIM)

    @classmethod
    def open(cls, url: str, *, namespace: str, timeouts: Timeouts | None = None) -> RedisEventLog:
        """Connect and check the server. Writes nothing.

        url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS. Raises UnavailableError when the
        server can't be reached, could lose events by its configuration, or holds a log of another schema.
        """
        timeouts = timeouts or Timeouts()
        thread = IoThread(PART)
        server: Server | None = None
        try:
            # The pools belong to the thread's loop from the beginning.
            server, facts, opened_with = thread.run_blocking(_open(url, namespace, timeouts))
            return cls(thread, server, facts, namespace, opened_with)
        except BaseException:
            thread.close(_nothing() if server is None else server.close())
            raise

    def close(self) -> None:
        """Finish what was handed in, then close the connections. May be called twice."""
        self._thread.close(self._close())

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """See the port. Raises BadInputError, and writes nothing, when an event cannot be kept as it is."""
        check_events(events)
        return await self._thread.run(self._append(events)) if events else []

    async def history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool | int = False
    ) -> list[list[Event]]:
        """See the port."""
        return await self._thread.run(self._history(subjects, until_seq, impressions)) if subjects else []

    async def versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        """See the port."""
        return await self._thread.run(self._versions(subjects)) if subjects else []

    async def scan(self, after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        """See the port. Ends with what the log held when the scan began. Raises UnavailableError for trimmed events."""
        last = (await self.state()).last_seq
        last = last if until_seq is None else min(last, until_seq)
        while after_seq < last and (events := await self.range(after_seq, last)) != []:
            if events is None:
                raise _other_archive(self.address)
            yield events
            after_seq = events[-1].seq

    async def state(self) -> LogState:
        """See the port. `last_seq` never goes back, whatever is erased: a model's watermark stays meaningful."""
        return await self._thread.run(self._state())

    async def forget(
        self, subject: SubjectKey, *, archive: str | None = None, archived_newest_ms: int | None = None
    ) -> int:
        """See the port. The append-only file is rewritten before this returns: no byte of the events stays in it.

        archive, archived_newest_ms: the archive that the events were erased from before, and the newest time in it.
        """
        return (
            await self._thread.run(self._forget(subject, archive, archived_newest_ms)) if is_event_id(subject.id) else 0
        )

    def forget_kept(self, kind: Kind, ids: Sequence[str]) -> None:
        """Drop what is kept in memory of subjects that are gone: all events, as the server is not far."""
        self._decoded.cache_clear()

    async def range(self, after_seq: int, until_seq: int) -> list[Event] | None:
        """Some events behind a place, in order; none are left up to until_seq when it is empty.

        None: the stream no longer reaches back so far.
        """
        return await self._thread.run(self._range(after_seq, until_seq))

    async def archiving(self) -> Archiving:
        """What went into which archive. Waits longer than a request would."""
        with self._server.failures():
            return await self._thread.run(_archiving(self._server, self._meta))

    async def claim(self, archive: str) -> None:
        """Belong to an archive from now on, durably. Raises UnavailableError when the log belongs to another."""
        await self._thread.run(self._claim(archive))

    async def consume(self, group: str, after_seq: int, most: int) -> AsyncIterator[Sequence[Event]]:
        """Follow the stream behind a place, as a consumer group that one consumer at a time reads.

        At least once: the group begins where the caller's own record says that its work ended, whatever was delivered
        to somebody who died before recording it. Ends with what the stream holds now, or after about `most` events.
        """
        await self._thread.run(self._seek(group, after_seq))
        while most > 0 and (events := await self._thread.run(self._read_group(group, min(most, SCAN_BATCH)))):
            yield events
            most -= len(events)

    async def trim(self, archive: str, group: str, until_seq: int) -> tuple[int, str | None]:
        """Remove events up to a place from the stream; ids and histories stay.

        Returns how far it is trimmed now, and which consumer group has still to read what would have gone.
        """
        return await self._thread.run(self._trim(archive, group, until_seq))

    async def replay(self, archive: str, archived: AsyncIterable[Sequence[Event]], archived_seq: int) -> Replayed:
        """Write ids, histories and counters anew from the events of the archive and of the stream; see Replay."""
        return await self._thread.run(self._replay(archive, archived, archived_seq))

    async def _close(self) -> None:
        await self._queue.finish()
        await self._server.close()

    async def _append(self, events: Sequence[Event]) -> list[Appended]:
        """The steps of a large append do without the disk, but for the last: it waits for all that came before."""
        outcomes: list[Appended] = []
        step = WHOLE_APPEND if len(events) <= WHOLE_APPEND else APPEND_BATCH
        for start in range(0, len(events), step):
            rows = [row_of(event) for event in events[start : start + step]]
            is_last = start + step >= len(events)
            outcomes += await (self._queue.submit(rows) if is_last else self._write(rows, sync=False))
        return outcomes

    async def _write(self, rows: Sequence[EventRow], *, sync: bool = True) -> list[Appended]:
        arguments: list[Any] = [self._prefix, SCHEMA]
        for row in rows:
            arguments += (row.id_digest, row.content_digest, row.talent_key, row.job_key, row.time, row.content)
        with self._server.failures():
            letters: bytes = await self._run_durably(self._append_script, arguments, sync=sync)
        return [_OUTCOMES[letter] for letter in letters.decode()]

    async def _run_durably(self, script: AsyncScript, arguments: Sequence[Any], *, sync: bool = True) -> Any:
        """Run a script over meta and stream, and wait for the disk."""
        try:
            return await self._server.run_durably(
                script, [self._meta, self._stream], arguments, sync=sync and self.facts.has_waitaof
            )
        except ResponseError as error:
            raise self._translated(error) from error

    def _translated(self, error: ResponseError) -> Exception:
        """Ours, for what the scripts refuse."""
        if "SCHEMA" in str(error):
            return _other_schema(self.address, str(error).rpartition(" ")[2])
        if "ARCHIVE" in str(error):
            return _other_archive(self.address)
        return error

    async def _history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None, impressions: bool | int
    ) -> list[list[Event]]:
        shown = (False, True) if impressions else (False,)
        newest = 0 if impressions is True else -int(impressions)
        keys = [
            history_key(subject.kind, subject.id, is_impression)
            for subject in subjects
            if is_event_id(subject.id)
            for is_impression in shown
        ]
        begins = [newest if is_impression else 0 for _ in keys[:: len(shown)] for is_impression in shown]
        entries = iter(await self._run(self._histories_script, keys, begins))
        if time.monotonic() > self._decoded_until_s:
            self._decoded.cache_clear()
            self._decoded_until_s = time.monotonic() + DECODED_SECONDS
        found: list[list[Event]] = []
        for subject in subjects:
            events: list[Event] = []
            if is_event_id(subject.id):
                for _ in shown:
                    events += map(self._decoded, next(entries))
                if impressions:
                    events.sort(key=lambda event: event.seq)
            found.append(events if until_seq is None else [event for event in events if event.seq <= until_seq])
        return found

    async def _versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        keys = [history_key(subject.kind, subject.id, False) for subject in subjects if is_event_id(subject.id)]
        found = iter(await self._run(self._versions_script, keys))
        return [int(next(found)) if is_event_id(subject.id) else 0 for subject in subjects]

    async def _run(self, script: AsyncScript, keys: Sequence[str], arguments: Sequence[int] = ()) -> list[Any]:
        """A script over histories."""
        if not keys:
            return []
        with self._server.failures():
            found: list[Any] = await script([self._meta, *(self._prefix + key for key in keys)], arguments)
        return found

    async def _range(self, after_seq: int, until_seq: int) -> list[Event] | None:
        """What is trimmed meanwhile must not look like a gap, so how far it is trimmed is asked last."""
        with self._server.failures():
            both = self._server.slow.pipeline(transaction=False)
            both.xrange(self._stream, f"{after_seq + 1}-0", f"{until_seq}-0", SCAN_BATCH)
            both.hget(self._meta, "trimmed")
            entries, trimmed = await both.execute()
        return None if after_seq < int(trimmed or 0) else decoded_stream(entries)

    async def _state(self) -> LogState:
        with self._server.failures():
            seq, newest = await _awaited(self._server.quick.hmget(self._meta, ["seq", "newest"]))
        return LogState(int(seq or 0), time_from_text(newest))

    async def _forget(self, subject: SubjectKey, archive: str | None, archived_newest_ms: int | None) -> int:
        """Each step erases some events everywhere, so that one which is cut short leaves a whole log behind."""
        count = 0
        with self._server.failures():
            if (await _archiving(self._server, self._meta)).archive != archive:
                raise _other_archive(self.address)
            if await _awaited(self._server.slow.hexists(self._meta, "replaying")):
                raise ResponseError("REPLAYING")
            for is_impression in (False, True):
                key = history_key(subject.kind, subject.id, is_impression)
                while entries := await _awaited(self._server.slow.lrange(self._prefix + key, 0, FORGET_BATCH - 1)):
                    count += await self._erase(subject.kind, key, is_impression, cast("list[bytes]", entries))
            if await _awaited(self._server.slow.hexists(self._meta, "stale")):
                await self._restore_newest(time_text(archived_newest_ms))
            await self._rewrite_if_erased()
        return count

    async def _erase(self, kind: Kind, key: str, is_impression: bool, entries: Sequence[bytes]) -> int:
        arguments: list[Any] = [self._prefix]
        for entry in entries:
            event, other = decoded_entry(entry), _OTHER[kind]
            other_key = history_key(other, event.id_of(other), is_impression)
            arguments += (
                id_digest(event.event_id),
                event.seq,
                key,
                other_key,
                time_text(event.occurred_at_ms),
                entry,
            )
        return int(await self._forget_script([self._meta, self._stream], arguments))

    async def _restore_newest(self, archived: str) -> None:
        """The newest time of what is left. Whatever is written or erased meanwhile makes it begin again."""
        while True:
            seq, erasures, trimmed = await _awaited(self._server.slow.hmget(self._meta, ["seq", "erasures", "trimmed"]))
            after_seq, newest = int(trimmed or 0), archived
            while events := await self._range(after_seq, int(seq or 0)):
                newest = max(newest, *(time_text(event.occurred_at_ms) for event in events))
                after_seq = events[-1].seq
            if await self._newest_script([self._meta], [seq, erasures, newest]):
                return

    async def _rewrite_if_erased(self) -> None:
        """Write the append-only file anew when the old one may hold what was erased, by whomever."""
        erasures, rewritten = await _awaited(self._server.slow.hmget(self._meta, ["erasures", "rewritten"]))
        if erasures != rewritten:
            if not await self._copy_stream():
                return  # tried again by the next erasure
            await self._rewrite()
            await _awaited(self._server.slow.hset(self._meta, "rewritten", erasures))

    async def _copy_stream(self) -> bool:
        """Put a copy into the stream's place, as a deleted entry stays in its node's memory, and so in every dump.

        False while a group of somebody else has entries to acknowledge.
        """
        while True:
            copy, first_seq = f"{self._stream}:{secrets.token_hex(8)}", 0
            while last := (await self._copy_script([self._stream, copy], [first_seq, COPY_BATCH, COPY_SECONDS])):
                first_seq = int(last.partition(b"-")[0]) + 1
            outcome: bytes = await self._exchange_script([self._stream, copy], [first_seq])
            await self._server.slow.unlink(copy)
            if outcome != b"again":
                return outcome == b"done"

    async def _rewrite(self) -> None:
        while True:
            try:
                await self._server.slow.bgrewriteaof()
                break
            except ResponseError as error:
                if "already in progress" not in str(error):
                    raise
            await asyncio.sleep(REWRITE_POLL_SECONDS)  # that one may have begun before the erasure
        while True:
            info = await self._server.slow.info("persistence")
            if not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]:
                break
            await asyncio.sleep(REWRITE_POLL_SECONDS)
        if info["aof_last_bgrewrite_status"] != "ok":
            raise UnavailableError(
                PART, f"{self.address}: its append-only file could not be written anew; free space, then erase again"
            )

    async def _claim(self, archive: str) -> None:
        with self._server.failures():
            found: bytes = await self._run_durably(self._claim_script, [archive, SCHEMA])
        if found.decode() != archive:
            raise _other_archive(self.address)

    async def _replay(self, archive: str, archived: AsyncIterable[Sequence[Event]], archived_seq: int) -> Replayed:
        replay = Replay(self._server, self._prefix, sync=self.facts.has_waitaof)
        with self._server.failures():
            try:
                return await replay.run(archive, archived, archived_seq, self._append)
            except ResponseError as error:
                raise self._translated(error) from error

    async def _seek(self, group: str, after_seq: int) -> None:
        with self._server.failures():
            trimmed = int(await self._seek_script([self._meta, self._stream], [group, after_seq]))
        if trimmed > after_seq:
            raise UnavailableError(
                PART,
                f"{self.address}: events {after_seq + 1:,} to {trimmed:,} are trimmed from the stream and not in the "
                "archive; bring the archive's files back",
            )

    async def _read_group(self, group: str, most: int) -> list[Event]:
        """Without a list of what is pending: the caller's record takes its place (docs/decisions/0010)."""
        with self._server.failures():
            found = await self._server.slow.xreadgroup(group, CONSUMER, {self._stream: ">"}, count=most, noack=True)
        return decoded_stream(_entries(found))

    async def _trim(self, archive: str, group: str, until_seq: int) -> tuple[int, str | None]:
        before = -1
        with self._server.failures():
            while True:
                try:
                    trimmed, holder = await self._trim_script(
                        [self._meta, self._stream], [archive, group, until_seq, TRIM_BATCH]
                    )
                except ResponseError as error:
                    raise self._translated(error) from error
                if int(trimmed) in (before, until_seq):
                    return int(trimmed), holder.decode() or None
                before = int(trimmed)


async def _open(url: str, namespace: str, timeouts: Timeouts) -> tuple[Server, Facts, Archiving]:
    server = Server(url, part=PART, timeouts=timeouts, connections=CONNECTIONS)
    meta = f"{{{namespace}:events}}:meta"
    try:
        facts = await server.open(OPENED_AT_START)
        with server.failures():
            schema = await _awaited(server.slow.hget(meta, "schema"))
            if schema is not None and int(schema) != SCHEMA:
                raise _other_schema(server.address, schema)
            archiving = await _archiving(server, meta)
    except BaseException:
        await server.close()
        raise
    return server, facts, archiving


async def _archiving(server: Server, meta: str) -> Archiving:
    archive, trimmed, seq = await _awaited(server.slow.hmget(meta, ["archive", "trimmed", "seq"]))
    return Archiving(None if archive is None else archive.decode(), int(trimmed or 0), int(seq or 0))


async def _nothing() -> None:
    pass


async def _awaited(answer: Awaitable[Any] | Any) -> Any:
    """redis-py types its answers for both of its clients at once."""
    return await answer


def _other_schema(address: str, found: bytes | str) -> UnavailableError:
    text = found.decode() if isinstance(found, bytes) else found
    return UnavailableError(
        PART,
        f"{address} has schema {text} and this version reads schema {SCHEMA}; use the version that wrote it, or import "
        "again under another TANDEM_NAMESPACE",
    )


def _other_archive(address: str) -> UnavailableError:
    return UnavailableError(
        PART, f"{address}: its old events are in another archive; set TANDEM_ARCHIVE_URL to the place of that one"
    )


def _entries(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream in what XREADGROUP gives: a mapping in RESP3, a list of pairs in RESP2."""
    if not found:
        return []
    if isinstance(found, dict):
        (batches,) = found.values()
        return [entry for batch in batches for entry in batch]
    return list(found[0][1])
