"""What an event archive says of itself: its segments with their checksums, and how far it reaches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recommender.errors import UnavailableError

PART = "event archive"
MANIFEST = "manifest.json"
SCHEMA = 1


class MissingFileError(UnavailableError):
    """A file that a manifest names is not there: lost, or replaced since the manifest was read."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One file: every event that is left of first_seq to last_seq, both within."""

    file: str
    first_seq: int
    last_seq: int
    events: int
    size_bytes: int
    sha256: str
    newest_ms: int | None  # time of its newest event


@dataclass(frozen=True, slots=True)
class Mark:
    """When events up to a place in the log came into the archive; retention counts from then."""

    last_seq: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One state of an archive. `archive` names it for good; segments are in order and leave no gap."""

    archive: str
    segments: tuple[Segment, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def last_seq(self) -> int:
        """The archive holds what is left of the log up to here."""
        return self.segments[-1].last_seq if self.segments else 0

    @property
    def events(self) -> int:
        """How many events it holds."""
        return sum(segment.events for segment in self.segments)

    @property
    def size_bytes(self) -> int:
        """How long its files are together."""
        return sum(segment.size_bytes for segment in self.segments)

    @property
    def newest_ms(self) -> int | None:
        """Time of its newest event."""
        return max((one.newest_ms for one in self.segments if one.newest_ms is not None), default=None)

    def reached_by(self, at_ms: int) -> int:
        """How far the archive reached at a time; 0 when it did not exist."""
        return max((mark.last_seq for mark in self.marks if mark.at_ms <= at_ms), default=0)

    def trimmed(self, seq: int) -> Manifest:
        """Without the marks that no trimming asks for again."""
        return replace(self, marks=tuple(mark for mark in self.marks if mark.last_seq > seq))


def encoded(manifest: Manifest) -> bytes:
    """The manifest as it is stored, with its own checksum."""
    document = {
        "schema": SCHEMA,
        "archive": manifest.archive,
        "segments": [asdict(segment) for segment in manifest.segments],
        "marks": [asdict(mark) for mark in manifest.marks],
    }
    return (json.dumps(document | {"sha256": _digest(document)}, indent=1) + "\n").encode()


def decoded(path: Path, data: bytes) -> Manifest:
    """The manifest of stored bytes. Raises UnavailableError when they are torn, altered or of another schema."""
    try:
        document: dict[str, Any] = json.loads(data)
        schema, claimed = document.get("schema"), document.pop("sha256", None)
    except (ValueError, AttributeError, RecursionError):
        raise refused(path, "it is torn or altered") from None
    if schema != SCHEMA:
        raise UnavailableError(
            PART, f"{path} has schema {schema!r} and this version reads schema {SCHEMA}; use the version that wrote it"
        )
    if claimed != _digest(document):
        raise refused(path, "it was altered (checksum)")
    return Manifest(
        archive=document["archive"],
        segments=tuple(Segment(**one) for one in document["segments"]),
        marks=tuple(Mark(**one) for one in document["marks"]),
    )


def refused(path: Path, why: str, kind: type[UnavailableError] = UnavailableError) -> UnavailableError:
    """A file of the archive that cannot be used, and what to do."""
    return kind(PART, f"{path} is refused: {why}; bring it back from a backup")


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
