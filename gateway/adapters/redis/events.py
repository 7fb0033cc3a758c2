"""The event log in Redis or Valkey: durable when acknowledged, read by subject, followed by consumers, erasable.

Keys, all behind the prefix `{<namespace>:events}:`

meta          hash: schema, seq (the last one given), newest (time), erasures (how often something was forgotten)
stream        stream: entry `<seq>-0` with one field, the event
id:<4 hex>    hashes: digest of an event id → digest of its content; 65,536 of them, so that each stays compact
t:… j:…       lists: a talent's, a job's deeds, oldest first, as `<seq>:<event>`
ti:… ji:…     lists: a talent's, a job's impressions
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, cast

from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError, ResponseError

from gateway.adapters.redis import scripts
from gateway.adapters.redis.append_queue import AppendQueue, EventRow
from gateway.adapters.redis.encoding import (
    PART,
    SCHEMA,
    content_digest,
    decoded,
    decoded_entry,
    encoded,
    id_digest,
    time_from_text,
    time_text,
)
from gateway.adapters.redis.io_thread import IoThread
from gateway.adapters.redis.server import Facts, Server, Timeouts
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.events import Event, EventType, check_events, is_event_id
from recommender.ports import Appended, LogState, SubjectKey

CONNECTIONS = 32  # per pool and process
OPENED_AT_START = 4
WRITERS = 8  # appends under way at once; each holds a connection while the disk syncs
APPEND_BATCH = 250  # events that one script writes: it keeps the server from everybody else for some 2.5 ms
WHOLE_APPEND = 500  # up to here an append is one step: no request brings more events
SCAN_BATCH = 2_000
FORGET_BATCH = 100
REWRITE_POLL_SECONDS = 0.1
CLAIM_AFTER_MS = 60_000  # a consumer that has been silent so long is taken for dead
BLOCK_MS = 1_000

_OUTCOMES = {"a": Appended.ACCEPTED, "d": Appended.DUPLICATE, "c": Appended.CONFLICT}
_SUBJECT = {Kind.TALENT: "t", Kind.JOB: "j"}
_OTHER = {Kind.TALENT: Kind.JOB, Kind.JOB: Kind.TALENT}


class RedisEventLog:
    """`recommender.ports.EventLog` over one Redis or Valkey server. Ids are compared byte by byte.

    An append of more than WHOLE_APPEND events takes several steps, in order: when one of them fails the earlier ones
    are written, the append isn't acknowledged, and the same append again finds them to be duplicates.
    """

    def __init__(self, thread: IoThread, server: Server, facts: Facts, namespace: str, timeouts: Timeouts) -> None:
        self.facts = facts
        self.address = server.address
        self._thread = thread
        self._server = server
        self._timeouts = timeouts
        self._prefix = f"{{{namespace}:events}}:"
        self._meta, self._stream = f"{self._prefix}meta", f"{self._prefix}stream"
        self._queue = AppendQueue(self._write, part=PART, writers=WRITERS, most=APPEND_BATCH)
        self._append_script = server.slow.register_script(scripts.APPEND)
        self._forget_script = server.slow.register_script(scripts.FORGET)
        self._newest_script = server.slow.register_script(scripts.RESTORE_NEWEST)
        self._histories_script = server.quick.register_script(scripts.HISTORIES)
        self._versions_script = server.quick.register_script(scripts.VERSIONS)

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
            server, facts = thread.run_blocking(_open(url, namespace, timeouts))
            return cls(thread, server, facts, namespace, timeouts)
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
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool = False
    ) -> list[list[Event]]:
        """See the port."""
        return await self._thread.run(self._history(subjects, until_seq, impressions)) if subjects else []

    async def versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        """See the port."""
        return await self._thread.run(self._versions(subjects)) if subjects else []

    async def scan(self, after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        """See the port. Ends with what the log held when the scan began."""
        last = (await self.state()).last_seq
        last = last if until_seq is None else min(last, until_seq)
        while after_seq < last and (events := await self._thread.run(self._range(after_seq, last))):
            yield events
            after_seq = events[-1].seq

    async def state(self) -> LogState:
        """See the port. `last_seq` never goes back, whatever is erased: a model's watermark stays meaningful."""
        return await self._thread.run(self._state())

    async def forget(self, subject: SubjectKey) -> int:
        """See the port. The append-only file is rewritten before this returns: no byte of the events stays in it."""
        return await self._thread.run(self._forget(subject)) if is_event_id(subject.id) else 0

    async def consume(
        self, group: str, consumer: str, *, batch: int = 1_000, claim_after_ms: int = CLAIM_AFTER_MS
    ) -> AsyncIterator[Sequence[Event]]:
        """Follow the log from its start, as one of the consumers of a group, for ever.

        Each event comes to one consumer of the group, at least once: a batch counts as done when the next one is asked
        for. One that was not done comes again, to this consumer when it starts anew, or to another when this one has
        been silent for `claim_after_ms`. So an event may come twice and late; its seq says where it belongs.
        """
        await self._thread.run(self._create_group(group))
        start = "0"  # first what this consumer left undone, then what is new
        while True:
            ids, events, is_own = await self._thread.run(
                self._read_group(group, consumer, start, batch, claim_after_ms)
            )
            if is_own and not ids:
                start = ">"
            if events:
                yield events
            if ids:
                await self._thread.run(self._acknowledge(group, ids))

    async def _close(self) -> None:
        await self._queue.finish()
        await self._server.close()

    async def _append(self, events: Sequence[Event]) -> list[Appended]:
        """The steps of a large append do without the disk, but for the last: it waits for all that came before."""
        outcomes: list[Appended] = []
        step = WHOLE_APPEND if len(events) <= WHOLE_APPEND else APPEND_BATCH
        for start in range(0, len(events), step):
            rows = [_row(event) for event in events[start : start + step]]
            is_last = start + step >= len(events)
            outcomes += await (self._queue.submit(rows) if is_last else self._write(rows, sync=False))
        return outcomes

    async def _write(self, rows: Sequence[EventRow], *, sync: bool = True) -> list[Appended]:
        arguments: list[Any] = [self._prefix, SCHEMA]
        for row in rows:
            arguments += (row.id_digest, row.content_digest, row.talent_key, row.job_key, row.time, row.content)
        with self._server.failures():
            letters = await self._run_append(arguments, sync and self.facts.has_waitaof)
        return [_OUTCOMES[letter] for letter in letters.decode()]

    async def _run_append(self, arguments: Sequence[Any], sync: bool) -> bytes:
        """Run the script and wait for the disk, in one round trip: the wait is for the writes of its connection."""
        pipeline = self._server.slow.pipeline(transaction=False)
        pipeline.evalsha(self._append_script.sha, 2, self._meta, self._stream, *arguments)
        if sync:
            pipeline.execute_command("WAITAOF", 1, 0, self._timeouts.sync_ms)
        written, *synced = await pipeline.execute(raise_on_error=False)
        if isinstance(written, NoScriptError):  # the server was restarted, or its scripts were flushed
            await self._server.slow.script_load(scripts.APPEND)
            return await self._run_append(arguments, sync)
        if isinstance(written, ResponseError) and "SCHEMA" in str(written):
            raise _other_schema(self.address, str(written).rpartition(" ")[2])
        for answer in (written, *synced):
            if isinstance(answer, Exception):
                raise answer
        if synced and int(synced[0][0]) < 1:
            raise UnavailableError(
                PART,
                f"{self.address}: the disk did not take the events within {self._timeouts.sync_ms} ms; send them again",
            )
        return cast(bytes, written)

    async def _history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None, impressions: bool
    ) -> list[list[Event]]:
        shown = (False, True) if impressions else (False,)
        keys = [
            _history_key(subject.kind, subject.id, is_impression)
            for subject in subjects
            if is_event_id(subject.id)
            for is_impression in shown
        ]
        entries = iter(await self._run(self._histories_script, keys))
        found: list[list[Event]] = []
        for subject in subjects:
            events: list[Event] = []
            if is_event_id(subject.id):
                for _ in shown:
                    events += [decoded_entry(entry) for entry in next(entries)]
                if impressions:
                    events.sort(key=lambda event: event.seq)
            found.append(events if until_seq is None else [event for event in events if event.seq <= until_seq])
        return found

    async def _versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        keys = [_history_key(subject.kind, subject.id, False) for subject in subjects if is_event_id(subject.id)]
        found = iter(await self._run(self._versions_script, keys))
        return [int(next(found)) if is_event_id(subject.id) else 0 for subject in subjects]

    async def _run(self, script: AsyncScript, keys: Sequence[str]) -> list[Any]:
        """A script over histories."""
        if not keys:
            return []
        with self._server.failures():
            found: list[Any] = await script([self._prefix + key for key in keys])
        return found

    async def _range(self, after_seq: int, last: int) -> list[Event]:
        with self._server.failures():
            entries: Any = await self._server.slow.xrange(self._stream, f"{after_seq + 1}-0", f"{last}-0", SCAN_BATCH)
        return [decoded(_seq(place), fields[b"e"]) for place, fields in entries]

    async def _state(self) -> LogState:
        with self._server.failures():
            seq, newest = await _awaited(self._server.quick.hmget(self._meta, ["seq", "newest"]))
        return LogState(int(seq or 0), time_from_text(newest))

    async def _forget(self, subject: SubjectKey) -> int:
        """Each step erases some events everywhere, so that one which is cut short leaves a whole log behind."""
        count = 0
        with self._server.failures():
            for is_impression in (False, True):
                key = _history_key(subject.kind, subject.id, is_impression)
                while entries := await _awaited(self._server.slow.lrange(self._prefix + key, 0, FORGET_BATCH - 1)):
                    count += await self._erase(subject.kind, key, is_impression, cast("list[bytes]", entries))
            if await _awaited(self._server.slow.hexists(self._meta, "stale")):
                await self._restore_newest()
            if count:
                await self._rewrite()
        return count

    async def _erase(self, kind: Kind, key: str, is_impression: bool, entries: Sequence[bytes]) -> int:
        arguments: list[Any] = [self._prefix]
        for entry in entries:
            event, other = decoded_entry(entry), _OTHER[kind]
            other_key = _history_key(other, event.id_of(other), is_impression)
            arguments += (
                id_digest(event.event_id),
                event.seq,
                key,
                other_key,
                time_text(event.occurred_at_ms),
                entry,
            )
        return int(await self._forget_script([self._meta, self._stream], arguments))

    async def _restore_newest(self) -> None:
        """The newest time of what is left. Whatever is written or erased meanwhile makes it begin again."""
        while True:
            seq, erasures = await _awaited(self._server.slow.hmget(self._meta, ["seq", "erasures"]))
            after_seq, newest = 0, ""
            while events := await self._range(after_seq, int(seq or 0)):
                newest = max(newest, *(time_text(event.occurred_at_ms) for event in events))
                after_seq = events[-1].seq
            if await self._newest_script([self._meta], [seq, erasures, newest]):
                return

    async def _rewrite(self) -> None:
        """Write the append-only file anew: the old one holds what was erased."""
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
                return
            await asyncio.sleep(REWRITE_POLL_SECONDS)

    async def _create_group(self, group: str) -> None:
        with self._server.failures():
            try:
                await self._server.slow.xgroup_create(self._stream, group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def _read_group(
        self, group: str, consumer: str, start: str, batch: int, claim_after_ms: int
    ) -> tuple[list[bytes], list[Event], bool]:
        """Ids to acknowledge, their events (erased ones have none), and whether they were this consumer's before."""
        client, stream = self._server.slow, self._stream
        with self._server.failures():
            if start == ">":
                _, entries, *_ = await client.xautoclaim(stream, group, consumer, claim_after_ms, count=batch)
                if not entries:
                    found = await client.xreadgroup(group, consumer, {stream: ">"}, count=batch, block=BLOCK_MS)
                    entries = _entries(found)
            else:
                entries = _entries(await client.xreadgroup(group, consumer, {stream: start}, count=batch))
        events = [decoded(_seq(place), fields[b"e"]) for place, fields in entries if fields]
        return [place for place, _ in entries], events, start != ">"

    async def _acknowledge(self, group: str, ids: Sequence[bytes]) -> None:
        with self._server.failures():
            await self._server.slow.xack(self._stream, group, *ids)


async def _open(url: str, namespace: str, timeouts: Timeouts) -> tuple[Server, Facts]:
    server = Server(url, part=PART, timeouts=timeouts, connections=CONNECTIONS)
    try:
        facts = await server.open(OPENED_AT_START)
        with server.failures():
            schema = await _awaited(server.slow.hget(f"{{{namespace}:events}}:meta", "schema"))
            if schema is not None and int(schema) != SCHEMA:
                raise _other_schema(server.address, schema)
    except BaseException:
        await server.close()
        raise
    return server, facts


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


def _row(event: Event) -> EventRow:
    content = encoded(event)
    is_impression = event.type is EventType.IMPRESSION
    return EventRow(
        id_digest=id_digest(event.event_id),
        content_digest=content_digest(content),
        talent_key=_history_key(Kind.TALENT, event.talent_id, is_impression),
        job_key=_history_key(Kind.JOB, event.job_id, is_impression),
        time=time_text(event.occurred_at_ms),
        content=content,
    )


def _history_key(kind: Kind, subject_id: str, is_impression: bool) -> str:
    return f"{_SUBJECT[kind]}{'i' if is_impression else ''}:{subject_id}"


def _seq(place: bytes) -> int:
    return int(place.partition(b"-")[0])


def _entries(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream in what XREADGROUP gives: a mapping in RESP3, a list of pairs in RESP2."""
    if not found:
        return []
    if isinstance(found, dict):
        (batches,) = found.values()
        return [entry for batch in batches for entry in batch]
    return list(found[0][1])
