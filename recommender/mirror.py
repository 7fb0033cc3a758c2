"""Columns of every document in process: structured filters, facets and sort orders without a round trip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from recommender.documents import Changes, Kind
from recommender.filters import Filter


class Mirror:
    """Every live document of one kind, as postings and columns indexed by ordinal."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.revision = 0

    def apply(self, changes: Changes) -> None:
        """Take in what changed; `revision` becomes that of the changes."""
        raise NotImplementedError

    def matching(self, document_filter: Filter, as_of_ms: int) -> BitMap:
        """Ordinals that satisfy every clause. Jobs: no statuses means OPEN; expiry is no clause."""
        raise NotImplementedError

    def eligible(self, as_of_ms: int) -> BitMap:
        """Jobs that are OPEN and not expired at `as_of_ms`; talents that are available."""
        raise NotImplementedError

    def ordinals_of(self, ids: Sequence[str]) -> list[int | None]:
        """Ordinals of the marketplace's own ids; None for one that is not alive here."""
        raise NotImplementedError

    def ids_of(self, ordinals: Sequence[int] | npt.NDArray[np.uint32]) -> list[str]:
        """The marketplace's own ids of live ordinals."""
        raise NotImplementedError

    def id_order(self, ordinals: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
        """A key per ordinal that sorts as the ids' UTF-8 bytes do."""
        raise NotImplementedError

    def posting(self, field: str, value: str) -> BitMap:
        """Ordinals whose `skills`, `category`, `country` or `level` has the value (folded). Not to be changed."""
        raise NotImplementedError
