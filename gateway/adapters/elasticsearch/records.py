"""What an index holds of one id, live or deleted, and which revision that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.adapters.documents import Stored, document_from_stored
from gateway.adapters.drafts import Tombstone
from recommender.documents import Document, Kind

# Writes of one index before revisions would run into those of the next: at 10,000 a second it takes three years. The
# product of both stays below 2**53, which every reader of JSON takes for an integer, for 8,000 rebuilds.
REVISIONS_PER_INDEX = 2**40


def base_of(index: str) -> int:
    """The revision before the first write to an index, by the number at the end of its name."""
    return (int(index.rpartition(".")[2]) - 1) * REVISIONS_PER_INDEX


@dataclass(frozen=True, slots=True)
class Record:
    """One id: a live document (`stored`), or what is left of it (`tombstone`, which does not know the id).

    mark: the keyed hash of the id, by which the index knows it. seq_no, primary_term: of the write that was read; None
    for a record that is new.
    """

    mark: str
    ordinal: int
    id: str | None
    stored: Stored | None
    tombstone: Tombstone | None
    revision: int = 0
    seq_no: int | None = None
    primary_term: int | None = None

    def document(self, kind: Kind) -> Document:
        """The live document."""
        assert self.stored is not None and self.id is not None  # noqa: S101
        return document_from_stored(kind, self.ordinal, self.id, self.stored)


def record_from_hit(hit: Mapping[str, Any]) -> Record:
    """A record from a hit of a search or of a get, which says where it stands."""
    body, seq_no = hit["_source"], hit["_seq_no"]
    left = body.get("tombstone")
    return Record(
        mark=hit["_id"],
        ordinal=body["ordinal"],
        id=body.get("id"),
        stored=body["document"] if body["is_live"] else None,
        tombstone=None if left is None else Tombstone(body["ordinal"], left["updated_at_ms"], left["is_erased"]),
        revision=body.get("revision", base_of(hit["_index"]) + seq_no + 1),
        seq_no=seq_no,
        primary_term=hit["_primary_term"],
    )
