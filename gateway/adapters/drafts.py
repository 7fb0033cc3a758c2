"""Documents while patches are applied to them, and what is left of deleted ones: rules that every catalogue keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.adapters.documents import UPDATED_AT, Stored, content, json_from, patched
from recommender.documents import MAX_ID_BYTES, Kind, Patch, PatchOutcome, Refused
from recommender.errors import BadInputError


def is_id(text: str) -> bool:
    """Whether a text can be an id: 1 to 256 bytes of UTF-8."""
    try:
        return 0 < len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False


def checked_ids(ids: Iterable[str]) -> list[str]:
    """The distinct ids, in order. Raises BadInputError for what cannot be one."""
    distinct = list(dict.fromkeys(ids))
    for text in distinct:
        if not is_id(text):
            raise BadInputError(bad_id(text))
    return distinct


def bad_id(text: str) -> str:
    """Why a text cannot be an id."""
    return f"an id must be 1 to {MAX_ID_BYTES} bytes of UTF-8; got {text[:40]!a}"


@dataclass(slots=True)
class Draft:
    """A document while patches are applied to it.

    ordinal: None as long as it has none. before, after: None as long as it does not exist.
    """

    ordinal: int | None
    before: Stored | None
    after: Stored | None

    def apply(self, kind: Kind, patch: Patch) -> PatchOutcome | Refused:
        """Apply a patch unless it is older than what is there, or makes of it what cannot be stored."""
        current = self.after
        kept_at = None if current is None else current.get(UPDATED_AT)
        if patch.updated_at_ms is not None and kept_at is not None and patch.updated_at_ms < kept_at:
            return PatchOutcome.STALE
        after = patched(kind, current or {}, patch)
        try:
            json_from(after)
        except BadInputError as error:
            return Refused(str(error))
        self.after = after
        if current is None:
            return PatchOutcome.CREATED
        return PatchOutcome.UNCHANGED if content(after) == content(current) else PatchOutcome.UPDATED


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deleted document. updated_at_ms: what a patch must be newer than to revive it."""

    ordinal: int
    updated_at_ms: int | None
    is_erased: bool

    def yields_to(self, patch: Patch) -> bool:
        """Whether a patch revives the document."""
        if self.is_erased or patch.updated_at_ms is None:
            return False
        return self.updated_at_ms is None or patch.updated_at_ms > self.updated_at_ms
