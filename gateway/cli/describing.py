"""What the catalogue's documents say, read for those commands that learn from it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.cli.evaluate import Steps
    from gateway.wiring import Stores
    from recommender.documents import Kind
    from recommender.features import DescribedItems


async def read_features(stores: Stores, shown: Steps) -> dict[Kind, DescribedItems]:
    """The features of every live document of each kind. Holds some 8 bytes a feature, and no document."""
    from recommender.documents import Kind
    from recommender.features import FeatureTable

    found = {}
    for kind in Kind:
        table, revision = FeatureTable(), 0
        while True:
            changes = await stores.catalogue.changes(kind, revision)
            if not changes.upserted and not changes.deleted:
                break
            revision = changes.revision
            await asyncio.to_thread(table.add, changes.upserted)
            shown.show(f"Reading {kind.value}s", len(table), len(table))
        found[kind] = await asyncio.to_thread(table.build)
    return found
