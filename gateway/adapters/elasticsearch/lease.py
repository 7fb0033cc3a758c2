"""The right to rebuild a kind's index: one process has it at a time, and what a dead one left behind is undone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from gateway.adapters.elasticsearch.cluster import Cluster
from gateway.adapters.elasticsearch.connection import PART, IndexMovedError
from gateway.adapters.elasticsearch.layout import Layout
from recommender.documents import Kind
from recommender.errors import UnavailableError

BEAT_S = 1.0
# Without a beat for so long, as whoever waits has measured it, a rebuild is dead. No two clocks are compared.
DEAD_AFTER_S = 5.0

MOVES = 5  # times that an index may move while a rebuild is being undone

Entry = tuple[dict[str, Any], int, int]  # what the lease says, and its place in the order of writes


class LeaseLostError(UnavailableError):
    """Another process took this rebuild for dead and has undone it."""

    def __init__(self) -> None:
        super().__init__(PART, "this rebuild paused so long that it was undone by another process; run it again")


class Vigil:
    """What a waiting process has seen of a lease: `entry` when it last looked, None as long as nobody ever had it."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._silent_s = -1.0  # before the first look
        self.entry: Entry | None = None

    async def look(self, waited_s: float) -> None:
        """Look again. waited_s: since the last look."""
        entry = await self._lease.read()
        is_news = self._silent_s < 0 or (entry and entry[1:]) != (self.entry and self.entry[1:])
        self._silent_s = 0.0 if is_news else self._silent_s + waited_s
        self.entry = entry

    @property
    def is_free(self) -> bool:
        """Whether nobody holds it."""
        return self.entry is None or not self.entry[0]["holder"]

    @property
    def is_silent(self) -> bool:
        """Whether nobody has written to it for so long that no living process can hold it."""
        return self._silent_s >= DEAD_AFTER_S


class Lease:
    """The lease of one kind's index, as one process sees it.

    It is a document of the state index, changed by compare-and-set: its holder writes to it every second. Who finds it
    dead takes it over and undoes the rebuild, in an order that stops a holder that was only asleep: first the
    half-built index goes, in one step that fails once it is in use, and without it the sleeper can switch to nothing;
    then the old index takes writes again.
    """

    def __init__(self, cluster: Cluster, layout: Layout, kind: Kind) -> None:
        self._cluster, self._layout, self._kind = cluster, layout, kind
        self._name = f"rebuild-{kind.value}"
        self._holder = secrets.token_hex(8)
        self._writing = asyncio.Lock()
        self._place: tuple[int, int] | None = None  # of what was written last

    async def read(self) -> Entry | None:
        """What it says, and where."""
        return await self._layout.state_of(self._name)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold it for a block. Whatever ends the block early, the rebuild is undone.

        Raises UnavailableError where another process rebuilds.
        """
        await self._acquire()
        beating = asyncio.create_task(self._beat())
        try:
            try:
                yield
            except BaseException as error:
                try:
                    await self.confirm()
                    await self._undo()
                except LeaseLostError:  # then it is undone
                    if isinstance(error, IndexMovedError):
                        raise
                except UnavailableError:  # the cluster is away; the next writer that is held up will undo it
                    raise error from None
                else:
                    await self._release()
                raise
            with suppress(LeaseLostError):  # what was to be done is done
                await self._release()
        finally:
            beating.cancel()

    async def heal(self, silent: Entry | None) -> None:
        """Take it from whoever has been silent for too long and undo what is left, unless another process does."""
        with suppress(LeaseLostError):
            await self._take(silent)
            await self._undo()
            await self._release()

    async def _acquire(self) -> None:
        vigil, waited_s = Vigil(self), 0.0
        await vigil.look(0.0)
        while waited_s <= DEAD_AFTER_S + BEAT_S:
            if vigil.is_free or vigil.is_silent:
                with suppress(LeaseLostError):
                    await self._take(vigil.entry)
                    await self._undo()
                    return
            await asyncio.sleep(BEAT_S)
            await vigil.look(BEAT_S)
            waited_s += BEAT_S
        raise UnavailableError(PART, "another `tandem index` is at work; wait for its end")

    async def _take(self, found: Entry | None) -> None:
        await self._write(self._holder, None if found is None else found[1:])

    async def confirm(self) -> None:
        """Write to it that it is held. Raises LeaseLostError when another process has taken it."""
        async with self._writing:
            if self._place is None:
                raise LeaseLostError
            await self._write(self._holder, self._place)

    async def _release(self) -> None:
        async with self._writing:
            await self._write("", self._place)
            self._place = None

    async def _write(self, holder: str, place: tuple[int, int] | None) -> None:
        self._place = await self._layout.put_state(self._name, {"holder": holder}, place)
        if self._place is None:
            raise LeaseLostError

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self.confirm()
            except LeaseLostError:
                return
            except UnavailableError:
                continue

    async def _undo(self) -> None:
        """Remove every index but the one in use, and let that take writes."""
        for _ in range(MOVES):
            self._layout.forget(self._kind)
            current = await self._layout.index(self._kind)
            try:
                for name in await self._layout.indices(self._kind):
                    if name != current:
                        await self._layout.remove_unused(self._kind, name, kept=current)
                await self.confirm()
                # From here to the request there is no pause: one that came late would let writes into an index that the
                # next holder has blocked. That holder looks for such writes before it switches.
                await self._cluster.block_writes(current, blocked=False)
            except IndexMovedError:
                continue  # the holder was not dead, and has put its index in place
            return
        raise UnavailableError(PART, f"its index lets nothing be changed; is index.blocks.read_only set on {current}?")
