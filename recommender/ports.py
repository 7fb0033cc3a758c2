"""What the recommender needs of the world. Every adapter passes the contract tests in `tests/contracts`.

All of it is async and batched: n subjects are one call. Results are in the order of the arguments. Everything may raise
UnavailableError; what else is raised is said here.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from recommender.degradation import DegradedReason
from recommender.documents import Changes, Document, Kind, Patch, PatchOutcome, Refused
from recommender.events import Event
from recommender.filters import Filter
from recommender.mirror import Mirror
from recommender.model import Model, Ordinals, Side
from recommender.query import Strategy
from recommender.search import Facet, FacetRequest, SearchPage, SearchRequest


class Catalogue(Protocol):
    """Documents: the authority for what exists, what it says and what it matches.

    Every document has an ordinal, given at first sight and never reused.
    """

    async def mirror(self, kind: Kind) -> Mirror:
        """The in-process columns of one kind, brought up to the catalogue's revision in one round trip."""
        ...

    async def matching(
        self, kind: Kind, requests: Sequence[tuple[Filter, str | None]], as_of_ms: int, *, is_current: bool = False
    ) -> list[BitMap]:
        """Ordinals of the documents that match each (filter, text). `as_of_ms` is the now of relative clauses.

        Expiry is no part of it: see `Mirror.eligible`. A text whose terms are none matches everything.
        is_current: the caller has asked for `mirror` just now, so that filters alone need no look at what has changed.
        """
        ...

    async def facets(self, kind: Kind, requests: Sequence[FacetRequest], as_of_ms: int) -> list[list[Facet]]:
        """Counts over the whole filtered set. A facet over `any` or a list clause ignores its own clause."""
        ...

    async def search(self, kind: Kind, requests: Sequence[SearchRequest], as_of_ms: int) -> list[SearchPage]:
        """Sorted pages; see SearchRequest. Total order: sort value, then id bytes; missing values last."""
        ...

    async def get_many(
        self, kind: Kind, ordinals: Sequence[int] = (), ids: Sequence[str] = ()
    ) -> list[Document | None]:
        """Documents by ordinals, then by ids. Unknown or deleted is None; duplicates are answered each."""
        ...

    async def changes(self, kind: Kind, since: int, limit: int = 10_000) -> Changes:
        """What changed after revision `since` (0: everything), oldest change first, at most `limit` documents.

        Read on from `Changes.revision` until nothing comes.
        """
        ...


# Called now and then, from any thread, with a kind, how many of its records are done and how many there are.
OnRebuild = Callable[[Kind, int, int], None]


class CatalogueWriter(Protocol):
    """Changes to the catalogue. Durable and visible to the next read of any process when the call returns."""

    async def upsert(self, kind: Kind, patches: Sequence[Patch]) -> Sequence[PatchOutcome | Refused]:
        """Apply each patch, in order; see Patch. A patch for an unknown id creates the document.

        A bad patch (an id that is none, text that is not Unicode) is Refused and takes no other with it.
        """
        ...

    async def ensure(self, kind: Kind, ids: Sequence[str]) -> list[int]:
        """Ordinals of ids, creating bare documents for unknown ones (a deleted one keeps its tombstone)."""
        ...

    async def delete(
        self, kind: Kind, document_id: str, *, erase: bool = False, at_ms: int | None = None
    ) -> str | None:
        """Remove a document, leaving a tombstone; returns a receipt id, None when there was nothing to remove.

        After `erase` no upsert revives the id; otherwise an upsert does whose `updated_at` is newer than the document's
        and than `at_ms`, the time of the deletion where the caller knows it.
        """
        ...

    async def erased(self, kind: Kind, ids: Sequence[str]) -> list[int | None]:
        """The ordinal of each id that was erased, None for any other."""
        ...

    async def rebuild(self, on_progress: OnRebuild | None = None) -> int:
        """Rebuild the text index from the documents; returns how many were indexed.

        Raises RefusedDocumentsError, and leaves the old index as it is, where documents cannot be indexed.
        """
        ...


class Appended(enum.Enum):
    """What became of one appended event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # same id, same content: nothing was written
    CONFLICT = "conflict"  # same id, other content: nothing was written


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """Whose history: a talent's or a job's, by the marketplace's own id."""

    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class LogState:
    """How far the log reaches: the last sequence number (0 when empty) and the newest known time."""

    last_seq: int
    newest_ms: int | None


class EventLog(Protocol):
    """What happened, append-only. An event is durable when `append` returns."""

    async def append(self, events: Sequence[Event]) -> list[Appended]:
        """Write events in order, once per event_id; content is everything but `seq`. One transaction."""
        ...

    async def history(
        self, subjects: Sequence[SubjectKey], until_seq: int | None = None, *, impressions: bool | int = False
    ) -> list[list[Event]]:
        """Each subject's events up to `until_seq`, by seq; IMPRESSIONs only when asked. Unknown: empty.

        impressions: all of them, or a number: of so many of the subject's newest.
        """
        ...

    async def versions(self, subjects: Sequence[SubjectKey]) -> list[int]:
        """Seq of each subject's newest event that is not an IMPRESSION; 0 when there is none."""
        ...

    def scan(self, after_seq: int = 0, until_seq: int | None = None) -> AsyncIterator[Sequence[Event]]:
        """All events in order of seq, in batches, in bounded memory."""
        ...

    async def state(self) -> LogState:
        """How far the log reaches."""
        ...

    async def forget(self, subject: SubjectKey) -> int:
        """Erase every event of one subject; returns how many."""
        ...


@dataclass(frozen=True, slots=True)
class ServedItem:
    """One row of one served list. Its recommendation id is `<request_id>.<rank>`."""

    rank: int
    ordinal: int
    score: float
    strategy: str
    propensity: float = 1.0  # chance that this item was put at this rank; 1 without exploration


@dataclass(frozen=True, slots=True)
class ServedList:
    """One served page, for attribution: who was shown what, by which model, where."""

    request_id: str
    served_at_ms: int
    subject: SubjectKey | None  # None for a profile or an anonymous person
    kind: Kind  # of the items
    model_version: str
    placement: str | None
    items: Sequence[ServedItem]


class ServingLog(Protocol):
    """What was shown, so that outcomes can be credited. Kept from the first version: it cannot be back-filled."""

    async def append(self, served: Sequence[ServedList]) -> None:
        """Keep the lists. Durable against a crash of the process when it returns."""
        ...

    async def get_many(self, request_ids: Sequence[str]) -> list[ServedList | None]:
        """Served lists by request id."""
        ...

    def scan(self) -> AsyncIterator[Sequence[ServedList]]:
        """Every served list, oldest first, in batches."""
        ...


class ModelStore(Protocol):
    """Published models, immutable, and which one serves."""

    def versions(self) -> list[str]:
        """Every complete version, oldest first."""
        ...

    def current(self) -> str | None:
        """The version that serves; None when none is published. Cheap: called every second."""
        ...

    def load(self, version: str) -> Model:
        """Open and verify one version. Raises ModelRefusedError (torn, altered, not finite), KeyError (unknown)."""
        ...

    def publish(self, model: Model, *, make_current: bool = True) -> None:
        """Write a version atomically, then point to it unless the pointer is pinned by a rollback."""
        ...

    def promote(self, version: str, *, pin: bool = False) -> None:
        """Point to a version after verifying it; `pin` keeps later publications from moving the pointer.

        Promoting without `pin` lifts a pin. Raises KeyError, ModelRefusedError.
        """
        ...


class Lost(enum.Enum):
    """Why a cache has no answer. None of it is an error."""

    ABSENT = "absent"
    CLAIMED = "claimed"  # absent, and another process is making it
    GARBAGE = "garbage"  # something is there, but torn, altered, of another key or of another schema


@dataclass(frozen=True, slots=True, eq=False)
class CachedMutual:
    """What the others wanted of a list's subject, see interest.Interest; and how much it counted."""

    rows: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float64]
    vector: npt.NDArray[np.float64]
    suited: npt.NDArray[np.float64]
    weight: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CachedList:
    """One list as it was once computed: all that its order rests on besides the model, and its best by score.

    made_at_ms: when. revision: all changes of items up to it are in it. basis: see kept_lists.basis.
    rows, weights, vector: the interest behind it, empty without one. traits: field, value and units of what an item may
    share with the subject; shared, units: the items that share something, ascending, and how much.
    suited, mutual: what belongs to the interest where the clients have one of their own.
    best, scores: the best items by score that match and are eligible, in order, whatever the subject has done with
    them. is_whole: there were no more. degraded: what could not help with it; such a list is in no cache.
    """

    made_at_ms: int
    revision: int
    basis: str
    strategy: Strategy
    rows: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float64]
    vector: npt.NDArray[np.float64]
    traits: tuple[tuple[str, str, int], ...]
    shared: npt.NDArray[np.uint32]
    units: npt.NDArray[np.float64]
    best: npt.NDArray[np.uint32]
    scores: npt.NDArray[np.float64]
    is_whole: bool
    suited: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    mutual: CachedMutual | None = None
    degraded: frozenset[DegradedReason] = frozenset()


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """A document as it was once read; all its changes up to a revision are in it."""

    revision: int
    document: Document


class ListCache(Protocol):
    """Ranked lists by key, kept for a while. What a key holds, and whether a list still counts, is its user's affair.

    Whatever is kept may be gone at any time, and what is too large is not kept: neither is an error. A list comes back
    as it was put, bit for bit, or not at all.
    """

    async def get_lists(self, keys: Sequence[str], claim_ms: int) -> list[CachedList | Lost]:
        """The list of each key. One that is ABSENT is now the caller's to make; see `claim`."""
        ...

    async def put_lists(self, lists: Mapping[str, CachedList], ttl_ms: int) -> None:
        """Keep lists, in the place of what was there, for at most `ttl_ms`, and give up the claims to their keys."""
        ...

    async def claim(self, keys: Sequence[str], claim_ms: int) -> list[bool]:
        """Whether each key is now this process's to make, be there a list or not: False while another's claim stands.

        A claim ends after `claim_ms`: its holder may have died. Within a process claims do not keep anybody out.
        """
        ...

    async def release(self, keys: Sequence[str]) -> None:
        """Give up claims without a list. Those of others stay."""
        ...


class DocumentCache(Protocol):
    """Documents by ordinal, kept for a while; like lists they may be gone at any time."""

    async def get_documents(self, kind: Kind, ordinals: Sequence[int]) -> list[CachedDocument | Lost]:
        """The document of each ordinal."""
        ...

    async def put_documents(self, kind: Kind, documents: Sequence[CachedDocument], ttl_ms: int) -> None:
        """Keep documents for at most `ttl_ms`."""
        ...

    async def forget_documents(self, kind: Kind, ordinals: Sequence[int]) -> None:
        """Keep documents no longer, for whoever shares the cache."""
        ...


class Cache(ListCache, DocumentCache, Protocol):
    """Both, in one store."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorRows:
    """What an index of one side of a model is made of: its rows, what is added to each one's product, sample queries.

    Shapes: bias (rows,); samples (any number, width + 1).
    """

    side: Side
    bias: npt.NDArray[np.float64]
    samples: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NomineeRequest:
    """The best k by product with a vector among what matches filter and text, is eligible and is not excluded.

    vector: (width + 1,), the last one for the bias. excluded: ordinals.
    """

    vector: npt.NDArray[np.float64]
    filter: Filter
    text: str | None
    excluded: Sequence[int]
    k: int


@dataclass(frozen=True, slots=True, eq=False)
class Nominees:
    """Ordinals, ascending, and the share of the true best that such nominees were measured to hold."""

    ordinals: Ordinals
    recall: float


class VectorIndex(Protocol):
    """Near vectors under a filter, in an index for each kind and model version. Beside documents and mirror it may lag:
    a nominee is only one once it has been looked at again, and a document that changed just now may not be one yet."""

    async def nominate(
        self, kind: Kind, version: str, requests: Sequence[NomineeRequest], as_of_ms: int
    ) -> list[Nominees | None]:
        """Nominees for each request, at most k; None where there is no index of that version yet or any more, and for
        a filter that the index cannot evaluate."""
        ...

    async def publish(
        self, kind: Kind, version: str, rows: VectorRows, on_progress: OnRebuild, *, anew: bool = False
    ) -> float | None:
        """Make the index of a version and measure its recall, which it returns; until that is done there is none.

        One that is there stays unless `anew`; then it is replaced in one step. None: another process is making it.
        """
        ...

    async def follow(self, kind: Kind, version: str, rows: VectorRows) -> int | None:
        """Take in what has changed in the catalogue; how many documents. None when there is no index of the version."""
        ...

    async def retire(self, kept: Collection[str]) -> None:
        """Remove the indices of every version but these."""
        ...
