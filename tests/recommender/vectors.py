"""A vector index that looks at every row of a catalogue: it passes the port's contract and misses nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from pyroaring import BitMap

from recommender.documents import Kind
from recommender.errors import UnavailableError
from recommender.ports import Catalogue, NomineeRequest, Nominees, OnRebuild, VectorRows
from recommender.retrieval import ordinals_from_bitmap
from recommender.scoring import Bias, Dense, Terms, score


class ExactVectors:
    """VectorIndex over another port's catalogue, without a lag. hidden: ordinals that it misses; is_down: it raises."""

    def __init__(self, catalogue: Catalogue, recall: float = 1.0) -> None:
        self.calls: Counter[str] = Counter()
        self.asked: list[NomineeRequest] = []
        self.hidden: set[int] = set()
        self.is_down = False
        self._catalogue, self._recall = catalogue, recall
        self._rows: dict[tuple[Kind, str], VectorRows] = {}
        self._revision: dict[tuple[Kind, str], int] = {}

    async def nominate(
        self, kind: Kind, version: str, requests: Sequence[NomineeRequest], as_of_ms: int
    ) -> list[Nominees | None]:
        self.calls["nominate"] += 1
        self.asked += requests
        if self.is_down:
            raise UnavailableError("catalogue", "it is down")
        rows = self._rows.get((kind, version))
        if rows is None:
            return [None] * len(requests)
        matching = await self._catalogue.matching(kind, [(one.filter, one.text) for one in requests], as_of_ms)
        eligible = (await self._catalogue.mirror(kind)).eligible(as_of_ms) & BitMap(rows.side.ordinals)
        answers: list[Nominees | None] = []
        for request, found in zip(requests, matching, strict=True):
            if any(one.min is not None or one.max is not None for one in request.filter.attributes):
                answers.append(None)
                continue
            among = ordinals_from_bitmap((found & eligible) - BitMap(request.excluded) - BitMap(self.hidden))
            terms = Terms(rows.side, dense=(Dense("v", request.vector[:-1]),), bias=(Bias("b", rows.bias),))
            best = among[np.argsort(-score(terms, among), kind="stable")[: request.k]]
            answers.append(Nominees(np.sort(best), self._recall))
        return answers

    async def publish(
        self, kind: Kind, version: str, rows: VectorRows, on_progress: OnRebuild, *, anew: bool = False
    ) -> float | None:
        self.calls["publish"] += 1
        self._rows[kind, version] = rows
        self._revision[kind, version] = (await self._catalogue.mirror(kind)).revision
        on_progress(kind, len(rows.bias), len(rows.bias))
        return self._recall

    async def follow(self, kind: Kind, version: str, rows: VectorRows) -> int | None:
        since = self._revision.get((kind, version))
        if since is None:
            return None
        changes = await self._catalogue.changes(kind, since)
        self._revision[kind, version] = changes.revision
        return len(changes.upserted) + len(changes.deleted)

    async def retire(self, kept: Collection[str]) -> None:
        self._rows = {key: rows for key, rows in self._rows.items() if key[1] in kept}
        self._revision = {key: revision for key, revision in self._revision.items() if key[1] in kept}
