"""Documents as objects of this process, in front of a cache or a catalogue on a server."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from recommender.documents import Document, Kind
from recommender.mirror import Mirror

MOST_BYTES: Final = 64_000_000  # some 20,000 documents

# What Python adds: some twenty fields. Measured with tracemalloc.
DOCUMENT_OVERHEAD: Final = 1_200
TEXT_OVERHEAD: Final = 56


class KeptDocuments:
    """The documents that were read last, each with a revision that it is no older than. Used on one event loop.

    What comes back is the object that was put, for as long as the mirror knows of no later change: so what others made
    of it (a GraphQL object, its part of an answer) still stands, and nothing is asked, sent or decoded again.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[Kind, int], tuple[int, Document, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """Of what is kept now, about."""
        return self._bytes

    def get(self, mirror: Mirror, ordinals: Sequence[int]) -> dict[int, Document]:
        """Those of the documents that are here and have not changed since. One that has changed is kept no longer."""
        kind, found = mirror.kind, dict[int, Document]()
        for ordinal, changed_at in zip(ordinals, mirror.changed_at(ordinals), strict=True):
            kept = self._kept.get((kind, ordinal))
            if kept is None:
                continue
            # A document that the mirror never had is nobody's to vouch for.
            if 0 < changed_at <= kept[0]:
                self._kept.move_to_end((kind, ordinal))
                found[ordinal] = kept[1]
            elif changed_at > kept[0]:
                self.forget(kind, [ordinal])
        return found

    def put(self, mirror: Mirror, revision: int, documents: Sequence[Document]) -> None:
        """Keep documents that have every change up to a revision, unless they have changed or gone since.

        One that is here already stays the object that it is.
        """
        kind = mirror.kind
        changed_at = mirror.changed_at([document.ordinal for document in documents])
        for document, changed in zip(documents, changed_at, strict=True):
            key = (kind, document.ordinal)
            before = self._kept.get(key)
            if changed > revision or (before is not None and before[0] > revision):
                continue
            if before is not None and before[1] == document:
                self._kept[key] = (revision, before[1], before[2])
                continue
            self.forget(kind, [document.ordinal])
            size = document_bytes(document)
            if size <= self._most_bytes // 8:  # one must not drive out all the others
                self._kept[key] = (revision, document, size)
                self._bytes += size
        while self._bytes > self._most_bytes:
            kind, ordinal = next(iter(self._kept))
            self.forget(kind, [ordinal])

    def forget(self, kind: Kind, ordinals: Iterable[int]) -> None:
        """Keep documents no longer."""
        for ordinal in ordinals:
            gone = self._kept.pop((kind, ordinal), None)
            self._bytes -= 0 if gone is None else gone[2]

    def forget_id(self, kind: Kind, document_id: str) -> None:
        """The same by the marketplace's own id; looks at every document."""
        named = [at for (of, at), (_, document, _) in self._kept.items() if of is kind and document.id == document_id]
        self.forget(kind, named)


def document_bytes(document: Document) -> int:
    """Memory that a document takes: at most two bytes for a letter of the usual scripts."""
    texts = [document.title or "", document.description or "", *document.skills]
    for name, value in document.attributes.items():
        texts += [name, value]
    return DOCUMENT_OVERHEAD + sum(TEXT_OVERHEAD + 2 * len(text) for text in texts)
