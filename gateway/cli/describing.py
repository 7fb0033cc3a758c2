"""What the catalogue's documents say, read for those commands that learn from it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import scipy.sparse as sp

    from gateway.cli.evaluate import Steps
    from gateway.wiring import Stores
    from recommender.documents import Kind
    from recommender.features import DescribedItems
    from recommender.interactions import EventTable


@dataclass(frozen=True, eq=False)
class Features:
    """The features of every live document of each kind, and the ordinals of their ids."""

    items: Mapping[Kind, DescribedItems]
    ordinals: Mapping[Kind, Mapping[str, int]]

    def of(self, table: EventTable) -> dict[Kind, sp.csr_matrix]:
        """Rows of the table's talents and jobs in the order of its ids, empty for one without a document."""
        from recommender.documents import Kind

        return {Kind.TALENT: self._at(Kind.TALENT, table.talent_ids), Kind.JOB: self._at(Kind.JOB, table.job_ids)}

    def _at(self, kind: Kind, ids: Sequence[str]) -> sp.csr_matrix:
        import numpy as np

        known = self.ordinals[kind]
        return self.items[kind].at(np.array([known.get(name, 0) for name in ids], dtype=np.uint32))  # 0 is nobody's


async def read_features(stores: Stores, shown: Steps) -> Features:
    """Of the whole catalogue. Holds some 8 bytes a feature and the ids, and no document."""
    from recommender.documents import Kind
    from recommender.features import FeatureTable

    items, ordinals = {}, {}
    for kind in Kind:
        table, revision = FeatureTable(), 0
        of_kind: dict[str, int] = {}
        while True:
            changes = await stores.catalogue.changes(kind, revision)
            if not changes.upserted and not changes.deleted:
                break
            revision = changes.revision
            of_kind |= {document.id: document.ordinal for document in changes.upserted}
            await asyncio.to_thread(table.add, changes.upserted)
            shown.show(f"Reading what {kind.value}s say", len(table), len(table))
        items[kind], ordinals[kind] = await asyncio.to_thread(table.build), of_kind
    return Features(items, ordinals)
