"""Erasing a talent or a job for good, wherever something of it is kept."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from gateway.adapters.disk import replace_through
from gateway.forgetting import ErasableServingLog
from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.ports import Cache, CatalogueWriter, EventLog, SubjectKey

_log = structlog.get_logger("tandem.erasure")

SETTLED_S: Final = 2.0  # several times the deadline of a request, and the wait of a write for the disk


class ErasableModels(Protocol):
    """Published models, as far as erasing from them goes."""

    def erase(self, kind: Kind, ordinal: int, own_id: str) -> int:
        """Publish every version anew without one row; how many had it."""
        ...


@dataclass(frozen=True, slots=True)
class Remains:
    """What is kept besides the catalogue and the event log. rejects: the file of the rows that an import refused.

    settled_s: how long what was begun before a tombstone may still write, such as an event that was found good.
    """

    serving_log: ErasableServingLog
    models: ErasableModels
    cache: Cache
    rejects: Path
    settled_s: float = SETTLED_S


async def erase(
    subject: SubjectKey, catalogue: CatalogueWriter, events: EventLog, remains: Remains | None, at_ms: int
) -> str | None:
    """Erase a subject; its receipt, the same however often it is asked, or None for one that never was.

    The tombstone comes first: whatever breaks off, nothing brings the subject back, and asking again goes on. Then
    those who looked before it was there are waited for, so that nothing is written behind what is erased.
    Raises UnavailableError.
    """
    receipt = await catalogue.delete(subject.kind, subject.id, erase=True, at_ms=at_ms)
    if receipt is None:
        await events.forget(subject)
        return None
    (ordinal,) = await catalogue.ensure(subject.kind, [subject.id])  # which a tombstone keeps
    if remains is not None:
        # Before the events: on one server, the file that is written anew is then without the document, too. A cache
        # that is not there gives nothing away either, and forgets within an hour.
        with suppress(UnavailableError):
            await remains.cache.forget_documents(subject.kind, [ordinal])
        await asyncio.sleep(remains.settled_s)
    count = await events.forget(subject)
    lists = versions = rows = 0
    if remains is not None:
        lists = await remains.serving_log.forget(subject, ordinal)
        versions = await asyncio.to_thread(remains.models.erase, subject.kind, ordinal, subject.id)
        rows = await asyncio.to_thread(_without_rejects, remains.rejects, subject.id)
    _log.info("erased", receipt=receipt, events=count, lists=lists, models=versions, rejected_rows=rows)
    return receipt


def _without_rejects(path: Path, own_id: str) -> int:
    """Write a file of refused rows anew without those that name an id; how many."""
    if not path.is_file():
        return 0
    spelt = {own_id, json.dumps(own_id)[1:-1]}
    lines = path.read_text().splitlines(keepends=True)
    left = [line for line in lines if not any(one in line for one in spelt)]
    if len(left) < len(lines):
        replace_through(path, "".join(left).encode())
    return len(lines) - len(left)
