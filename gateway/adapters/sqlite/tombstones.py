"""What is left of deleted documents: a keyed mark of the id, and what may bring the document back."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Sequence

from gateway.adapters.drafts import Tombstone
from recommender.documents import Kind

DDL = (
    "CREATE TABLE tombstones (kind TEXT NOT NULL, mark BLOB NOT NULL, ordinal INTEGER NOT NULL, "
    "revision INTEGER NOT NULL, updated_at_ms INTEGER, erased INTEGER NOT NULL, "
    "PRIMARY KEY (kind, mark)) WITHOUT ROWID",
    "CREATE UNIQUE INDEX tombstones_by_revision ON tombstones (kind, revision)",
    # Marks are made with this key: without it they cannot be matched against a list of ids.
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID",
    "INSERT INTO secrets VALUES ('tombstones', randomblob(32))",
)


def since(connection: sqlite3.Connection, kind: Kind, revision: int, limit: int) -> list[tuple[int, int]]:
    """Revision and ordinal of documents deleted after a revision, oldest first."""
    return connection.execute(
        "SELECT revision, ordinal FROM tombstones WHERE kind = ? AND revision > ? ORDER BY revision LIMIT ?",
        (kind.value, revision, limit),
    ).fetchall()


class Tombstones:
    """Tombstones of one catalogue, found by id."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        (self._key,) = connection.execute("SELECT key FROM secrets WHERE name = 'tombstones'").fetchone()

    def find(self, connection: sqlite3.Connection, kind: Kind, ids: Sequence[str]) -> dict[str, Tombstone]:
        """Tombstones of those of the ids that have one."""
        if not connection.execute("SELECT EXISTS (SELECT 1 FROM tombstones)").fetchone()[0]:
            return {}
        found = {}
        for document_id in ids:
            row = connection.execute(
                "SELECT ordinal, updated_at_ms, erased FROM tombstones WHERE kind = ? AND mark = ?",
                (kind.value, self.mark(kind, document_id)),
            ).fetchone()
            if row is not None:
                found[document_id] = Tombstone(row[0], row[1], bool(row[2]))
        return found

    def put(
        self,
        connection: sqlite3.Connection,
        kind: Kind,
        document_id: str,
        tombstone: Tombstone,
        revision: int,
    ) -> None:
        """Leave a tombstone at a revision."""
        connection.execute(
            "INSERT INTO tombstones (kind, mark, ordinal, revision, updated_at_ms, erased) VALUES (?, ?, ?, ?, ?, ?)",
            (
                kind.value,
                self.mark(kind, document_id),
                tombstone.ordinal,
                revision,
                tombstone.updated_at_ms,
                tombstone.is_erased,
            ),
        )

    def lift(self, connection: sqlite3.Connection, kind: Kind, document_id: str) -> None:
        """Take a tombstone away."""
        connection.execute(
            "DELETE FROM tombstones WHERE kind = ? AND mark = ?", (kind.value, self.mark(kind, document_id))
        )

    def erase(self, connection: sqlite3.Connection, kind: Kind, document_id: str) -> bool:
        """Make a tombstone final; False when there is none."""
        changed = connection.execute(
            "UPDATE tombstones SET erased = 1 WHERE kind = ? AND mark = ?",
            (kind.value, self.mark(kind, document_id)),
        )
        return changed.rowcount == 1

    def mark(self, kind: Kind, document_id: str) -> bytes:
        """What a tombstone knows a document by."""
        return hmac.digest(self._key, f"{kind.value}\0{document_id}".encode(), hashlib.sha256)
