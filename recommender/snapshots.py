"""What fixes the order of one list while it is paged, and how a cursor proves that it belongs to it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from recommender.content import WeightedTrait
from recommender.errors import BadInputError
from recommender.interest import Interest
from recommender.model import Ordinals
from recommender.newcomers import NewRows
from recommender.ports import CachedList
from recommender.query import ListQuery, Pins, Position, Strategy
from recommender.retrieval import After
from recommender.scoring import Scores, Sparse

KEPT: Final = 2_000  # of some 10 KB each, where a vector gives the order
KEPT_BYTES: Final = 256_000_000  # shared content is 12 bytes for each item that shares something
LIFE_MS: Final = 86_400_000  # cursors live 24 hours


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """The re-ranked top of a list, in order, and the last place of it by score: behind that the score rules."""

    ordinals: Ordinals
    scores: Scores
    ids: tuple[str, ...]
    boundary: After | None  # None: there was nothing behind it
    recall: float | None = None  # None: it is of the true top


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that a list's order depends on besides the pinned model and the documents themselves.

    interest: with COLLABORATIVE, of a history; vector alone counts for a similar list (then rows are empty).
    traits, content: what an item may share with the subject, and what each item did share when the list began.
    kept: the list as it is cached, where it is: its best are known.
    newcomers: items that had come after the model when the list began, and what they are like.
    """

    strategy: Strategy
    interest: Interest | None
    traits: tuple[WeightedTrait, ...] = ()
    content: Sparse | None = None
    prefix: Prefix | None = None
    kept: CachedList | None = None
    newcomers: NewRows | None = None

    @property
    def fingerprint(self) -> str:
        """Tells whether a snapshot that was rebuilt is the one a cursor was issued from.

        Vectors are left out: another processor may differ in their last bit. The score of the cursor's item tells.
        So is shared content: every job that is posted adds to it, and would end every list of another process.
        """
        prefix = b"" if self.prefix is None else self.prefix.ordinals.tobytes()
        told: tuple[object, ...] = (self.strategy, self.traits)
        if self.interest is not None and self.interest.mutual is not None:
            told = (*told, self.interest.mutual_weight)
        return _digest(repr(told).encode() + prefix)

    @property
    def content_bytes(self) -> int:
        """Size of the shared content."""
        return 0 if self.content is None else self.content.ordinals.nbytes + self.content.values.nbytes


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def list_identity(query: ListQuery) -> str:
    """A digest of everything that two pages of one list share; nobody can make two lists that have the same one."""
    parts = (query.mode, query.subject_kind, query.subject_id, query.profile, query.text, query.filter, query.options)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def query_digest(query: ListQuery) -> str:
    """The part of it that a cursor carries."""
    return list_identity(query)[:16]


def position_digest(query: ListQuery, snapshot: Snapshot) -> str:
    """What a position of the list carries: whose it is, and what its order came from."""
    return f"{query_digest(query)}.{snapshot.fingerprint}"


def check_position(query: ListQuery, after: Position) -> None:
    """Raises BadInputError when the position was issued for another list."""
    if after.digest.partition(".")[0] != query_digest(query):
        raise BadInputError(
            "after: this cursor belongs to another list; use one of the same subject, query, filter and options"
        )


class Snapshots:
    """The newest snapshots of this process, by the pins and digest of the positions that were issued from them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Pins, str], Snapshot] = OrderedDict()
        self._content_bytes = 0

    def get(self, pins: Pins, digest: str, now_ms: int) -> Snapshot | None:
        """The snapshot behind a position; None when it was dropped or is older than its cursors live."""
        found = self._kept.get((pins, digest))
        if found is None or now_ms - pins.as_of_ms > LIFE_MS:
            return None
        self._kept.move_to_end((pins, digest))
        return found

    def put(self, pins: Pins, digest: str, snapshot: Snapshot) -> None:
        """Keep a snapshot, dropping those that were not used for longest while there is too much."""
        before = self._kept.pop((pins, digest), None)
        self._content_bytes += snapshot.content_bytes - (0 if before is None else before.content_bytes)
        self._kept[pins, digest] = snapshot
        while len(self._kept) > KEPT or (self._content_bytes > KEPT_BYTES and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            self._content_bytes -= gone.content_bytes
