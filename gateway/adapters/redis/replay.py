"""The log's derived keys, written anew from its events: after a loss of the server, or to mend them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.adapters.redis import scripts
from gateway.adapters.redis.encoding import SCHEMA, decoded_stream, time_text
from gateway.adapters.redis.rows import row_of
from gateway.adapters.redis.server import Server
from recommender.events import Event
from recommender.ports import Appended

BATCH = 250  # events that one script writes
READ_BATCH = 2_000
KEYS_BATCH = 1_000

Append = Callable[[Sequence[Event]], Awaitable[Sequence[Appended]]]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found. events: in the log when it was done.

    moved: events that only the stream had, at places that the archive gave to others; they have new places.
    conflicts: of those, the ones whose id the archive has with other content; they are left out.
    """

    events: int
    moved: int
    conflicts: int


class Replay:
    """Writes ids, histories and counters anew. Until it is done the log refuses to read and to write, also after a
    crash: then another replay has to finish."""

    def __init__(self, server: Server, prefix: str, *, sync: bool) -> None:
        self._server = server
        self._prefix = prefix
        self._meta, self._stream = f"{prefix}meta", f"{prefix}stream"
        self._sync = sync
        self._begin = server.slow.register_script(scripts.BEGIN_REPLAY)
        self._restore_script = server.slow.register_script(scripts.RESTORE)
        self._end = server.slow.register_script(scripts.END_REPLAY)

    async def run(
        self, archive: str, archived: AsyncIterable[Sequence[Event]], archived_seq: int, append: Append
    ) -> Replayed:
        """The archive's events come first, then those of the stream behind them, each at its own place.

        archive: empty when there is none. archived: its events up to archived_seq. append: takes, when everybody may
        write again, what the stream holds of the archive's part: a log that was brought back from a backup may have
        given places there a second time.
        """
        keys = [self._meta, self._stream]
        last = int(await self._server.run_durably(self._begin, keys, [archive, SCHEMA, archived_seq], sync=self._sync))
        await self._clear()
        newest = ""
        count = 0
        async for events in archived:
            newest = max(newest, await self._restore(events))
            count += len(events)
        seq = archived_seq
        while events := await self._read(seq, last):
            newest = max(newest, await self._restore(events))
            count += len(events)
            seq = events[-1].seq
        await self._server.run_durably(self._end, keys, [newest], sync=self._sync)
        outcomes: Counter[Appended] = Counter()
        seq = 0
        while events := await self._read(seq, archived_seq):
            outcomes.update(await append(events))
            seq = events[-1].seq
        moved = outcomes[Appended.ACCEPTED]
        return Replayed(count + moved, moved, outcomes[Appended.CONFLICT])

    async def _clear(self) -> None:
        cursor = 0
        while True:
            cursor, found = await self._server.slow.scan(cursor, match=f"{self._prefix}*", count=KEYS_BATCH)
            derived = [key for key in found if key not in (self._meta.encode(), self._stream.encode())]
            if derived:
                await self._server.slow.unlink(*derived)
            if not cursor:
                return

    async def _restore(self, events: Sequence[Event]) -> str:
        """Returns the newest time among them."""
        for start in range(0, len(events), BATCH):
            arguments: list[Any] = [self._prefix]
            for event in events[start : start + BATCH]:
                row = row_of(event)
                entry = b"%d:%s" % (event.seq, row.content)
                arguments += (row.id_digest, row.content_digest, row.talent_key, row.job_key, entry)
            await self._restore_script([self._meta], arguments)
        return max(time_text(event.occurred_at_ms) for event in events)

    async def _read(self, after_seq: int, until_seq: int) -> list[Event]:
        """Whatever the stream holds, trimmed in name or not."""
        if after_seq >= until_seq:
            return []
        entries: Any = await self._server.slow.xrange(self._stream, f"{after_seq + 1}-0", f"{until_seq}-0", READ_BATCH)
        return decoded_stream(entries)
