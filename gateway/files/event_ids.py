"""Ids for events that come without one: a hash of what the row says, and its number among equal rows of the file."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Sequence

import orjson

from gateway.files.rows import EventRow

_CACHE_KIB = 65_536  # SQLite keeps this much in memory and the rest in a temporary file


class EventIds:
    """Numbers the events of one file, in bounded memory. Close it.

    The hash covers what the row means, not how it is spelled: actor, type, talent_id, job_id, occurred_at in
    milliseconds, value and recommendation_id. So the same row has the same id in CSV, JSON Lines and Parquet, in any
    order and in chunks of any size; n equal rows of one file are n events, and equal rows of two files are one.
    """

    def __init__(self) -> None:
        # The empty name is SQLite's for a private database in a temporary file that it removes itself.
        self._seen = sqlite3.connect("", isolation_level=None)
        self._seen.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._seen.execute("PRAGMA journal_mode = OFF")
        # 64 bits of the hash are enough here: a collision only makes a first occurrence a second one.
        self._seen.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY, times INTEGER NOT NULL)")
        self._seen.execute("CREATE TEMP TABLE chunk (hash INTEGER PRIMARY KEY, times INTEGER NOT NULL)")

    def assign(self, rows: Sequence[EventRow]) -> list[str]:
        """An id for each row, which follows those that were assigned before."""
        digests = [hashlib.blake2b(_content(row), digest_size=16).digest() for row in rows]
        hashes = [int.from_bytes(digest[:8], "big", signed=True) for digest in digests]
        times = self._count(Counter(hashes))
        ids = []
        for digest, key in zip(digests, hashes, strict=True):
            number = times[key] = times.get(key, 0) + 1
            ids.append(f"row-{digest.hex()}-{number}")
        return ids

    def _count(self, chunk: Counter[int]) -> dict[int, int]:
        """Add a chunk's rows; how often each had been seen before it, where it had."""
        seen = self._seen
        seen.execute("BEGIN")
        # Sorted, so that the tree is walked once from left to right.
        seen.executemany("INSERT INTO chunk VALUES (?, ?)", sorted(chunk.items()))
        before = dict(seen.execute("SELECT hash, seen.times FROM chunk JOIN seen USING (hash)"))
        seen.execute(
            "INSERT INTO seen SELECT hash, times FROM chunk WHERE true"
            " ON CONFLICT (hash) DO UPDATE SET times = times + excluded.times"
        )
        seen.execute("DELETE FROM chunk")
        seen.execute("COMMIT")
        return before

    def close(self) -> None:
        """Remove the temporary file. May be called twice."""
        self._seen.close()


def _content(row: EventRow) -> bytes:
    return orjson.dumps(
        [
            row.actor.value,
            row.type.value,
            row.talent_id,
            row.job_id,
            row.occurred_at_ms,
            row.value,
            row.recommendation_id,
        ]
    )
