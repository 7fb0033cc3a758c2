"""Rows of documents and their revisions: what the catalogue's transactions read and write, statement by statement.

Every function takes the connection of a transaction that its caller has begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from gateway.adapters.documents import UPDATED_AT, Stored, content, document_from, json_from, stored_from
from gateway.adapters.drafts import Draft
from gateway.adapters.sqlite import text_index, tombstones
from gateway.adapters.term_postings import FIELD_WEIGHTS
from recommender.documents import Changes, Document, Kind

Key = TypeVar("Key", int, str, int | str, bytes)

MOST_PARAMETERS = 512  # of one statement

TABLE = {Kind.TALENT: "talents", Kind.JOB: "jobs"}

_TABLES = tuple(
    statement
    for table in TABLE.values()
    for statement in (
        # AUTOINCREMENT: an ordinal is never given twice, even when the newest document is deleted.
        f"CREATE TABLE {table} (ordinal INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, "
        "document BLOB NOT NULL, revision INTEGER NOT NULL)",
        f"CREATE UNIQUE INDEX {table}_by_revision ON {table} (revision)",
    )
)
DDL = (
    *_TABLES,
    # One counter for all changes; a row holds the last number that its kind took.
    "CREATE TABLE revisions (kind TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO revisions VALUES ('talent', 0), ('job', 0)",
)


def revision_of(connection: sqlite3.Connection, kind: Kind) -> int:
    """The last revision that changed a document of this kind."""
    (revision,) = connection.execute("SELECT revision FROM revisions WHERE kind = ?", (kind.value,)).fetchone()
    return int(revision)


class Revisions:
    """Gives out the next revisions of a transaction to changes of one kind."""

    def __init__(self, connection: sqlite3.Connection, kind: Kind) -> None:
        self._connection, self._kind = connection, kind
        (self._last,) = connection.execute("SELECT max(revision) FROM revisions").fetchone()

    def take(self) -> int:
        """The next revision. To be followed by `keep` before the transaction ends."""
        self._last += 1
        return int(self._last)

    def keep(self) -> None:
        """Record the last one taken."""
        self._connection.execute("UPDATE revisions SET revision = ? WHERE kind = ?", (self._last, self._kind.value))


def documents_by(connection: sqlite3.Connection, kind: Kind, column: str, keys: Iterable[int | str]) -> list[Document]:
    """Documents by `ordinal` or `id`, in no order; unknown ones are left out."""
    return [
        document_from(kind, ordinal, document_id, json)
        for ordinal, document_id, json in _select(connection, kind, "ordinal, id, document", column, list(keys))
    ]


def ordinals_by_id(connection: sqlite3.Connection, kind: Kind, ids: Sequence[str]) -> dict[str, int]:
    """Ordinals of those of the ids that exist."""
    return dict(_select(connection, kind, "id, ordinal", "id", ids))


def changes_since(connection: sqlite3.Connection, kind: Kind, since: int, limit: int) -> Changes:
    """See Catalogue.changes."""
    rows = connection.execute(
        f"SELECT revision, ordinal, id, document FROM {TABLE[kind]} "  # noqa: S608 - a name of ours
        "WHERE revision > ? ORDER BY revision LIMIT ?",
        (since, limit + 1),
    ).fetchall()
    gone = tombstones.since(connection, kind, since, limit + 1)
    reached = revision_of(connection, kind)
    changed = sorted(row[0] for row in (*rows, *gone))
    if len(changed) > limit:
        reached = changed[limit - 1]
    return Changes(
        max(reached, since),
        [document_from(kind, ordinal, name, json) for revision, ordinal, name, json in rows if revision <= reached],
        [ordinal for revision, ordinal in gone if revision <= reached],
    )


def drafts_of(connection: sqlite3.Connection, kind: Kind, ids: Sequence[str]) -> dict[str, Draft]:
    """Drafts of those of the ids that exist."""
    drafts = {}
    for document_id, ordinal, json in _select(connection, kind, "id, ordinal, document", "id", ids):
        stored = stored_from(json)
        drafts[document_id] = Draft(ordinal, stored, stored)
    return drafts


def write(connection: sqlite3.Connection, kind: Kind, drafts: Mapping[str, Draft]) -> None:
    """Write drafts by id, giving ordinals to new documents and a revision to each that changed."""
    table = TABLE[kind]
    revisions = Revisions(connection, kind)
    ordinal = _last_ordinal(connection, table)
    inserts, updates, touches, reindexed = [], [], [], []
    texts: list[tuple[int, Stored]] = []
    for document_id, draft in drafts.items():
        before, after = draft.before, draft.after
        if after is None or after == before:
            continue
        json = json_from(after)
        if before is None:
            if draft.ordinal is None:
                ordinal += 1
                draft.ordinal = ordinal
            inserts.append((draft.ordinal, document_id, json, revisions.take()))
            texts.append((draft.ordinal, after))
        elif content(before) == content(after):
            touches.append((json, draft.ordinal))  # only a newer updated_at: nothing that a reader could see
        else:
            updates.append((json, revisions.take(), draft.ordinal))
            if draft.ordinal is not None and any(before.get(name) != after.get(name) for name in FIELD_WEIGHTS):
                reindexed.append(draft.ordinal)
                texts.append((draft.ordinal, after))
    connection.executemany(
        f"INSERT INTO {table} (ordinal, id, document, revision) VALUES (?, ?, ?, ?)",  # noqa: S608 - a name of ours
        inserts,
    )
    connection.executemany(f"UPDATE {table} SET document = ?, revision = ? WHERE ordinal = ?", updates)  # noqa: S608
    connection.executemany(f"UPDATE {table} SET document = ? WHERE ordinal = ?", touches)  # noqa: S608
    text_index.remove(connection, kind, reindexed)
    text_index.add(connection, kind, texts)
    revisions.keep()


def remove(connection: sqlite3.Connection, kind: Kind, document_id: str) -> tuple[int, int | None, int] | None:
    """Delete a row; its ordinal, its updated_at_ms and the revision of its end. None when there is none."""
    found = _select(connection, kind, "ordinal, document", "id", [document_id])
    if not found:
        return None
    ordinal, json = found[0]
    connection.execute(f"DELETE FROM {TABLE[kind]} WHERE ordinal = ?", (ordinal,))  # noqa: S608 - a name of ours
    text_index.remove(connection, kind, [ordinal])
    revisions = Revisions(connection, kind)
    revision = revisions.take()
    revisions.keep()
    return ordinal, stored_from(json).get(UPDATED_AT), revision


def count(connection: sqlite3.Connection, kind: Kind) -> int:
    """How many documents there are."""
    (found,) = connection.execute(f"SELECT count(*) FROM {TABLE[kind]}").fetchone()  # noqa: S608 - a name of ours
    return int(found)


def stored_rows(connection: sqlite3.Connection, kind: Kind) -> Iterator[tuple[int, Stored]]:
    """Every document's ordinal and stored form."""
    for ordinal, json in connection.execute(f"SELECT ordinal, document FROM {TABLE[kind]}"):  # noqa: S608
        yield ordinal, stored_from(json)


def _last_ordinal(connection: sqlite3.Connection, table: str) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return row[0] if row else 0


def _select(
    connection: sqlite3.Connection, kind: Kind, columns: str, column: str, keys: Sequence[int | str]
) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for chunk in chunks_of(keys):
        query = f"SELECT {columns} FROM {TABLE[kind]} WHERE {column} IN ({placeholders(chunk)})"  # noqa: S608
        rows.extend(connection.execute(query, chunk))
    return rows


def chunks_of(keys: Sequence[Key]) -> Iterator[list[Key]]:
    """Keys in groups whose lengths are powers of two (the last key repeated), so that few statements are prepared."""
    for start in range(0, len(keys), MOST_PARAMETERS):
        chunk = list(keys[start : start + MOST_PARAMETERS])
        length = 1 << (len(chunk) - 1).bit_length()
        yield chunk + chunk[-1:] * (length - len(chunk))


def placeholders(keys: Sequence[Key]) -> str:
    """As many question marks."""
    return ", ".join("?" * len(keys))
