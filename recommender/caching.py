"""The cache as the recommender uses it: who computes what is missing, who waits for it, and what a failing cache means.

A cache that cannot be reached is no error: what it would have had is computed. A list or a document that something
could not help with is not kept, as there will be a better one.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from recommender.degradation import CURRENT, degraded
from recommender.documents import Document
from recommender.errors import UnavailableError
from recommender.kept_documents import KeptDocuments
from recommender.mirror import Mirror
from recommender.ports import Cache, CachedDocument, CachedList, Catalogue, Lost

T = TypeVar("T")

# A list is exact however old it is; but the longer ago, the more documents are scored anew with every hit. After
# SOFT_MS one request makes it anew while the others still take the old one.
SOFT_MS: Final = 300_000
HARD_MS: Final = 3_600_000
CLAIM_MS: Final = 10_000  # far above what a list takes in a burst; whoever has not come back by then has died
POLL_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 0.3  # with another process, where no deadline says how long there is
PATIENCE_SHARE: Final = 0.5  # of the time that is left: in the rest the list can be made here
MOST_AWAITED: Final = 1_000  # lists of which it is remembered
MOST_MEANWHILE: Final = 100  # lists that are kept here
MEANWHILE_MS: Final = 5_000  # and for how long, once others come


class Unmade(enum.Enum):
    """Why a turn has ended without a list."""

    FAILED = "failed"  # it cannot be made, or not be kept
    LEFT = "left"  # by who was to see to it: somebody else may


@dataclass(eq=False, slots=True)
class Turn:
    """A list that is not there yet. One turn of each key in a process owns it; the others share its answer.

    leads: whether this turn's holder is to make the list. The owner that does not lead waits for another process.
    """

    key: str
    answer: asyncio.Future[CachedList | Unmade]
    owns: bool
    leads: bool = False


class Caching:
    """A cache with single flight. `counts` by what and outcome only ever grow; all of it on one event loop.

    near: documents that are kept as objects, where the cache is on a server.

    Outcomes of lists: hit, miss, garbage, shared (with a computation of this process), awaited (from another process),
    refreshed (made anew in good time), computed, alone (made beside others, and for nobody else). Of documents: hit,
    miss, garbage. Of the cache: failed.
    """

    def __init__(self, cache: Cache, clock_ms: Callable[[], int], near: KeptDocuments | None = None) -> None:
        self._cache = cache
        self._near = near
        self._clock_ms = clock_ms
        self._flights: dict[str, Turn] = {}
        # What was made here just now: a burst that makes the cache late, to take it or to give it, would make it again.
        self._meanwhile: dict[str, CachedList] = {}
        self._awaited_enough: set[str] = set()  # lists that are made here next, although another process claims them
        self.counts: Counter[tuple[str, str]] = Counter()

    async def look_up(self, keys: Sequence[str]) -> list[CachedList | Turn]:
        """The list of each key, or a turn for it. Every turn has to be ended by `publish`, `wait` or `give_up`."""
        turns = {key: self._turn(key) for key in dict.fromkeys(keys)}
        mine = [turn for turn in turns.values() if turn.owns]
        try:
            found = await self._ask(mine)
            answers: dict[str, CachedList | Turn] = dict(turns)
            due = []
            for turn, kept in zip(mine, found, strict=True):
                if isinstance(kept, CachedList) and self._age_ms(kept) < HARD_MS:
                    answers[turn.key] = kept
                    if self._age_ms(kept) < SOFT_MS:
                        self._answer(turn, kept)
                    else:
                        due.append((turn, kept))
                else:
                    self.counts["lists", "garbage" if kept is Lost.GARBAGE else "miss"] += 1
                    turn.leads = kept is not Lost.CLAIMED or turn.key in self._awaited_enough
                    self._awaited_enough.discard(turn.key)
            won = await self._claim([turn.key for turn, _ in due])
            for (turn, kept), is_ours in zip(due, won, strict=True):
                if is_ours:
                    turn.leads, answers[turn.key] = True, turn
                    self.counts["lists", "refreshed"] += 1
                else:
                    self._answer(turn, kept)
        except BaseException as error:
            self.abandon(mine, error)
            raise
        self.counts["lists", "hit"] += sum(isinstance(answers[key], CachedList) for key in keys)
        return _once_each(keys, answers)

    async def take_turns(self, keys: Sequence[str]) -> list[Turn]:
        """Turns for lists that are there but no longer hold."""
        turns = {key: self._turn(key) for key in dict.fromkeys(keys)}
        mine = [turn for turn in turns.values() if turn.owns]
        try:
            for turn, is_ours in zip(mine, await self._claim([turn.key for turn in mine]), strict=True):
                turn.leads = is_ours
        except BaseException as error:
            self.abandon(mine, error)
            raise
        self.counts["lists", "stale"] += len(keys)
        return _once_each(keys, turns)

    async def publish(self, made: Sequence[tuple[Turn, CachedList]]) -> None:
        """Hand over lists that were made: at once to who waits in this process, then to the cache.

        A degraded one is for who waits alone.
        """
        lists = {}
        for turn, kept in made:
            self.counts["lists", "computed"] += 1
            self._answer(turn, kept)
            if not kept.degraded:
                lists[turn.key] = kept
        poor = [turn.key for turn, kept in made if kept.degraded]
        if poor:
            await self._try(lambda: self._cache.release(poor), None)
        if lists:
            recent = {key: kept for key, kept in self._meanwhile.items() if self._age_ms(kept) < MEANWHILE_MS}
            self._meanwhile = dict([*recent.items(), *lists.items()][-MOST_MEANWHILE:])
            await self._try(lambda: self._cache.put_lists(lists, HARD_MS), None)

    async def give_up(self, turns: Sequence[Turn]) -> None:
        """End turns without a list."""
        self._end(turns, Unmade.FAILED)
        led = [turn.key for turn in turns if turn.leads]
        if led:
            await self._try(lambda: self._cache.release(led), None)

    def abandon(self, turns: Sequence[Turn], error: BaseException) -> None:
        """End turns without a list and without a word to other processes, who will find out by the claims' end."""
        self._end(turns, Unmade.LEFT if isinstance(error, asyncio.CancelledError) else Unmade.FAILED)

    async def wait(self, turns: Sequence[Turn]) -> list[CachedList | Unmade]:
        """The lists that others make, or why they did not.

        To be called when the caller has made all that is its own to make: so nobody waits in a circle.
        """
        theirs = [turn for turn in turns if turn.owns]
        try:
            await self._poll(theirs)
        except BaseException as error:
            self.abandon(theirs, error)
            raise
        self._end(theirs, Unmade.FAILED)
        answers = [await asyncio.shield(turn.answer) for turn in turns]
        for turn, answer in zip(turns, answers, strict=True):
            if isinstance(answer, CachedList):
                self.counts["lists", "awaited" if turn.owns else "shared"] += 1
        return answers

    async def documents(
        self, catalogue: Catalogue, mirror: Mirror, ordinals: Sequence[int], ids: Sequence[str] = ()
    ) -> list[Document | None]:
        """Documents by ordinal, as fresh as the mirror, from the cache where they have not changed since; then by id.

        The catalogue is asked at most once.
        """
        distinct = list(dict.fromkeys(ordinals))
        answers: dict[int, Document | None] = {}
        if self._near is not None:
            answers |= self._near.get(mirror, distinct)
        far = [ordinal for ordinal in distinct if ordinal not in answers]
        if far:
            nothing: list[CachedDocument | Lost] = [Lost.ABSENT] * len(far)
            kept = await self._try(lambda: self._cache.get_documents(mirror.kind, far), nothing)
            for ordinal, found, changed_at in zip(far, kept, mirror.changed_at(far), strict=True):
                # A document that the mirror never had is nobody's to vouch for.
                if isinstance(found, CachedDocument) and 0 < changed_at <= found.revision:
                    answers[ordinal] = found.document
                    if self._near is not None:
                        self._near.put(mirror, found.revision, [found.document])
                else:
                    self.counts["documents", "garbage" if found is Lost.GARBAGE else "miss"] += 1
        self.counts["documents", "hit"] += len(answers)
        missing = [ordinal for ordinal in far if ordinal not in answers]
        by_id: list[Document | None] = []
        if missing or ids:
            revision = mirror.revision  # read before the documents: they are at least as new
            read = await catalogue.get_many(mirror.kind, missing, ids)
            answers |= dict(zip(missing, read, strict=False))
            by_id = read[len(missing) :]
            new = [CachedDocument(revision, document) for document in read[: len(missing)] if document is not None]
            if new and not degraded():
                if self._near is not None:
                    self._near.put(mirror, revision, [kept.document for kept in new])
                await self._try(lambda: self._cache.put_documents(mirror.kind, new, HARD_MS), None)
        return [answers[ordinal] for ordinal in ordinals] + by_id

    def _turn(self, key: str) -> Turn:
        flight = self._flights.get(key)
        if flight is not None:
            return Turn(key, flight.answer, owns=False)
        turn = self._flights[key] = Turn(key, asyncio.get_running_loop().create_future(), owns=True)
        return turn

    def _answer(self, turn: Turn, kept: CachedList | Unmade) -> None:
        if self._flights.get(turn.key) is turn:
            del self._flights[turn.key]
        if not turn.answer.done():
            turn.answer.set_result(kept)

    def _end(self, turns: Sequence[Turn], why: Unmade) -> None:
        for turn in turns:
            if turn.owns:
                self._answer(turn, why)

    def _age_ms(self, kept: CachedList) -> int:
        return self._clock_ms() - kept.made_at_ms

    async def _ask(self, turns: Sequence[Turn]) -> list[CachedList | Lost]:
        keys = [turn.key for turn in turns]
        nothing: list[CachedList | Lost] = [Lost.ABSENT] * len(keys)
        found = await self._try(lambda: self._cache.get_lists(keys, CLAIM_MS), nothing) if keys else []
        late = {
            key: self._meanwhile[key]
            for key, kept in zip(keys, found, strict=True)
            if kept is Lost.ABSENT and key in self._meanwhile
        }
        if late:
            await self._try(lambda: self._cache.put_lists(late, HARD_MS), None)
        return [late.get(key, kept) for key, kept in zip(keys, found, strict=True)]

    async def _claim(self, keys: Sequence[str]) -> list[bool]:
        return await self._try(lambda: self._cache.claim(keys, CLAIM_MS), [True] * len(keys)) if keys else []

    async def _poll(self, turns: Sequence[Turn]) -> None:
        """Ask until the other process has put the list, has given up, or has taken too long."""
        waiting = list(turns)
        try:
            async with asyncio.timeout(_patience_seconds()):
                while waiting:
                    await asyncio.sleep(POLL_SECONDS)
                    for turn, kept in zip(waiting, await self._ask(waiting), strict=True):
                        if isinstance(kept, CachedList):
                            self._answer(turn, kept)
                        elif kept is not Lost.CLAIMED:
                            self._answer(turn, Unmade.FAILED)
                    waiting = [turn for turn in waiting if not turn.answer.done()]
        except TimeoutError:
            if len(self._awaited_enough) > MOST_AWAITED:
                self._awaited_enough.clear()
            self._awaited_enough |= {turn.key for turn in waiting}

    async def _try(self, call: Callable[[], Awaitable[T]], otherwise: T) -> T:
        try:
            return await call()
        except UnavailableError:
            self.counts["cache", "failed"] += 1
            return otherwise


def _patience_seconds() -> float:
    """How long to wait for another process."""
    current = CURRENT.get()
    if current is None or math.isinf(current.until_s):
        return PATIENCE_SECONDS
    return PATIENCE_SHARE * (current.until_s - asyncio.get_running_loop().time())


def _once_each(keys: Sequence[str], answers: Mapping[str, T]) -> list[T]:
    """The answer of each key. Where one stands twice only the first gets the turn that owns it."""
    found: list[Any] = []
    for place, key in enumerate(keys):
        answer: Any = answers[key]
        is_second = isinstance(answer, Turn) and key in keys[:place]
        found.append(Turn(key, answer.answer, owns=False) if is_second else answer)
    return found
