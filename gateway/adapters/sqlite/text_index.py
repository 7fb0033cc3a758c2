"""Full-text postings in FTS5: which documents have a term, and how much that says about each."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

import numpy as np
from pyroaring import BitMap

from gateway.adapters.documents import Stored
from gateway.adapters.term_postings import HEAVIEST, TermPostings, TextMatch, relevance_by_term
from recommender.columns import bitmap_of
from recommender.documents import Kind
from recommender.text import terms

TERMS_KEPT = 512  # bitmaps of recently asked terms; one over 156,000 documents takes at most 20 kB

_TABLE = {Kind.TALENT: "talents_text", Kind.JOB: "jobs_text"}


def _create(table: str) -> str:
    """FTS5 sees terms that are already ours.

    Its `ascii` tokenizer splits them at spaces only: all non-ASCII counts as a letter, and our terms hold no other
    ASCII than letters, digits and `_.+#`. Each is prefixed with its relevance in this document, so that one posting
    answers both what matches and how well, and FTS5 need store neither columns nor positions.
    """
    options = "detail = none, columnsize = 0, tokenize = \"ascii tokenchars '_.+#'\""
    return f"CREATE VIRTUAL TABLE {table} USING fts5(terms, {options})"


DDL = tuple(_create(table) for table in _TABLE.values())


def indexed_terms(stored: Stored) -> str:
    """The text of a document as FTS5 gets it: distinct terms, each behind its relevance."""
    return " ".join(f"{weight}{term}" for term, weight in relevance_by_term(stored).items())


def add(connection: sqlite3.Connection, kind: Kind, rows: Iterable[tuple[int, Stored]]) -> None:
    """Index documents that are not in the index: (ordinal, stored form). One without text takes no room."""
    texts = ((ordinal, indexed_terms(stored)) for ordinal, stored in rows)
    connection.executemany(
        f"INSERT INTO {_TABLE[kind]} (rowid, terms) VALUES (?, ?)",  # noqa: S608 - a name of ours
        ((ordinal, text) for ordinal, text in texts if text),
    )


def remove(connection: sqlite3.Connection, kind: Kind, ordinals: Iterable[int]) -> None:
    """Take documents out of the index; one that is not in it is left out."""
    connection.executemany(
        f"DELETE FROM {_TABLE[kind]} WHERE rowid = ?",  # noqa: S608 - a name of ours
        [(ordinal,) for ordinal in ordinals],
    )


def recreate(connection: sqlite3.Connection, kind: Kind) -> None:
    """Start the index of one kind anew, empty."""
    connection.execute(f"DROP TABLE {_TABLE[kind]}")
    connection.execute(_create(_TABLE[kind]))


class TextIndex:
    """Reads postings of one kind of document, and keeps those of recent terms as long as nothing changes."""

    def __init__(self, kind: Kind) -> None:
        self._table = _TABLE[kind]
        self._lock = Lock()
        self._revision = -1
        self._recent: OrderedDict[str, TermPostings] = OrderedDict()

    def match(self, connection: sqlite3.Connection, revision: int, text: str | None) -> TextMatch | None:
        """Documents with every term of the text; None when it has no terms and so asks nothing.

        connection: in a snapshot of the catalogue at `revision`.
        """
        wanted = terms(text or "")
        return TextMatch([self._postings(connection, revision, term) for term in wanted]) if wanted else None

    def _postings(self, connection: sqlite3.Connection, revision: int, term: str) -> TermPostings:
        with self._lock:
            if revision > self._revision:
                self._recent.clear()
                self._revision = revision
            if revision == self._revision and (known := self._recent.get(term)) is not None:
                self._recent.move_to_end(term)
                return known
        postings = self._read(connection, term)
        with self._lock:
            if revision == self._revision:
                self._recent[term] = postings
                if len(self._recent) > TERMS_KEPT:
                    self._recent.popitem(last=False)
        return postings

    def _read(self, connection: sqlite3.Connection, term: str) -> TermPostings:
        by_relevance = []
        for weight in range(1, HEAVIEST + 1):
            # One string of all rowids is ten times cheaper to fetch than a row each. The quotes make the term a string
            # of FTS5's query language, in which nothing else is special; a term holds no quote.
            (joined,) = connection.execute(
                f"SELECT group_concat(rowid) FROM {self._table} WHERE {self._table} MATCH ?",  # noqa: S608
                (f'"{weight}{term}"',),
            ).fetchone()
            if joined is not None:
                by_relevance.append((weight, bitmap_of(np.fromstring(joined, dtype=np.uint32, sep=","))))
        return TermPostings(BitMap.union(BitMap(), *(documents for _, documents in by_relevance)), tuple(by_relevance))
