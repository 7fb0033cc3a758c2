"""A model's rows as vectors in Elasticsearch, beside what each document can be filtered by: one index per version.

An index is filled from the catalogue's own changes and follows them from then on. Every row carries the revision of the
document as its version, so that any number of processes may send the same changes, in any order. The alias of a version
appears when its index is complete and measured: what has no alias does not count.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from elasticsearch import ApiError, NotFoundError
from pyroaring import BitMap

from gateway.adapters.elasticsearch import vector_bodies
from gateway.adapters.elasticsearch.bodies import Body
from gateway.adapters.elasticsearch.cluster import Cluster, failure_of
from gateway.adapters.elasticsearch.connection import IndexMovedError
from gateway.adapters.elasticsearch.following import Follower
from gateway.adapters.elasticsearch.layout import Layout
from gateway.adapters.elasticsearch.records import Record
from recommender.documents import Kind
from recommender.nomination import LEAST, longest_of, recall_of, unit_query, unit_rows
from recommender.ports import NomineeRequest, Nominees, OnRebuild, VectorRows
from recommender.scoring import Bias, Dense, Terms

PAGE: Final = 2_000  # documents that are sent at once
SAMPLES_AT_ONCE: Final = 20  # lists that are asked for in one round trip while recall is measured
PASSES: Final = 20  # over what has changed while the index was filled
ABANDONED_LOOKS: Final = 120  # at an unfinished index in which nothing moves: who was filling it has died
CONFLICT: Final = 409
NARROW_SHARE: Final = 0.1  # of the rows: the filter under which recall is measured a second time

# Whole float32 vectors in a graph: quantised ones lose small differences between rows of very unequal length, and what
# they save is a quarter of what the documents take anyway. docs/decisions/0012-retrieval-plans.md has the figures.
INDEX_OPTIONS: Final[Mapping[str, Any]] = {"type": "hnsw"}
# Per nominee: the graph is searched for so many more than are wanted.
CANDIDATES_PER_NOMINEE: Final = 2


@dataclass(frozen=True, slots=True)
class Complete:
    """An index that may be asked, and its measured recall."""

    index: str
    recall: float


class ElasticsearchVectors:
    """VectorIndex in the namespace and cluster of a catalogue, by that catalogue's connection."""

    def __init__(self, cluster: Cluster, layout: Layout, followers: Mapping[Kind, Follower]) -> None:
        self._cluster, self._layout, self._followers = cluster, layout, followers
        self._prefix = layout.vectors
        self._known: dict[tuple[Kind, str], Complete | None] = {}
        self._stalled: dict[str, tuple[int, int]] = {}  # unfinished index → its activity so far, looks without any

    def _alias(self, kind: Kind, version: str) -> str:
        # Names of indices know no capitals, versions do.
        digest = hashlib.sha256(version.encode()).hexdigest()[:16]
        return f"{self._prefix}-{kind.value}.{digest}"

    # ---- Asking ----------------------------------------------------------------------------------------------------

    async def nominate(
        self, kind: Kind, version: str, requests: Sequence[NomineeRequest], as_of_ms: int
    ) -> list[Nominees | None]:
        """See VectorIndex. One round trip. Raises UnavailableError."""
        return await self._cluster.connection.run(self._nominate(kind, version, requests, as_of_ms))

    async def _nominate(
        self, kind: Kind, version: str, requests: Sequence[NomineeRequest], as_of_ms: int
    ) -> list[Nominees | None]:
        answers: list[Nominees | None] = [None] * len(requests)
        searches: dict[int, Body] = {}
        for place, request in enumerate(requests):
            filters = vector_bodies.clauses(
                kind,
                request.filter,
                request.text,
                request.excluded,
                as_of_ms,
                lambda document_id: self._layout.mark(kind, document_id),
            )
            if filters is not None:
                searches[place] = _nearest(request.vector, request.k, filters)
        if (kind, version) not in self._known:
            self._known[kind, version] = await self._find(kind, version)
        known = self._known[kind, version]
        if known is None or not searches:
            return answers
        try:
            pages = await self._cluster.search(known.index, list(searches.values()), only=("sort",))
        except IndexMovedError:
            self._known.pop((kind, version), None)
            return answers
        for place, hits in zip(searches, pages, strict=True):
            answers[place] = Nominees(np.array([hit["sort"][0] for hit in hits], dtype=np.uint32), known.recall)
        return answers

    async def _find(self, kind: Kind, version: str) -> Complete | None:
        """The index behind a version's alias."""
        alias = self._alias(kind, version)
        try:
            found = await self._cluster.connection.ask(lambda client: client.indices.get_mapping(index=alias))
        except IndexMovedError:
            return None
        ((name, body),) = found.items()
        said = body["mappings"].get("_meta", {}).get("tandem", {})
        if said.get("schema") != vector_bodies.SCHEMA or said.get("model") != version:
            return None
        return Complete(name, float(said["recall"]))

    # ---- Filling and following -------------------------------------------------------------------------------------

    async def publish(
        self, kind: Kind, version: str, rows: VectorRows, on_progress: OnRebuild, *, anew: bool = False
    ) -> float | None:
        """See VectorIndex. An unfinished index in which nothing moves for ABANDONED_LOOKS calls is begun again.

        Raises UnavailableError; what was begun is then removed.
        """
        return await self._cluster.connection.run(self._publish(kind, version, rows, on_progress, anew))

    async def _publish(
        self, kind: Kind, version: str, rows: VectorRows, on_progress: OnRebuild, anew: bool
    ) -> float | None:
        before = await self._find(kind, version)
        if before is not None and not anew:
            self._known[kind, version] = before
            return before.recall
        alias = self._alias(kind, version)
        number = 1 if before is None else 1 + int(before.index.rpartition(".")[2])
        name = f"{alias}.{number:06d}"
        body = vector_bodies.index(kind, version, rows.side.factors.shape[1] + 2, INDEX_OPTIONS)
        if anew or await self._is_abandoned(name):
            await self._delete([name])
        if not await self._create(name, body):
            return None
        try:
            indexed = await self._fill(kind, name, rows, on_progress)
            recall = await self._measure(name, rows, indexed)
            meta = vector_bodies.measured(body["mappings"]["_meta"], recall)
            actions: list[Body] = [{"add": {"index": name, "alias": alias}}]
            if before is not None:
                actions.append({"remove_index": {"index": before.index}})
            await self._cluster.connection.ask(
                lambda client: client.indices.put_mapping(index=name, meta=meta), is_request=False
            )
            await self._cluster.connection.ask(
                lambda client: client.indices.update_aliases(actions=actions), is_request=False
            )
        except IndexMovedError:  # somebody else has begun anew
            return None
        except BaseException:
            await self._delete([name])
            raise
        self._known[kind, version] = Complete(name, recall)
        return recall

    async def _create(self, name: str, body: Body) -> bool:
        """Make an index; False when it is there already."""
        pattern = f"{self._prefix}-*"

        async def create(client: Any) -> bool:
            await client.indices.put_index_template(name=self._prefix, body=vector_bodies.template(pattern))
            try:
                await client.indices.create(index=name, body=body)
            except ApiError as error:
                if error.error == "resource_already_exists_exception":
                    return False
                raise
            return True

        return await self._cluster.connection.ask(create, is_request=False)

    async def _is_abandoned(self, name: str) -> bool:
        """Whether an unfinished index has stood still for long, as seen by the calls so far."""
        try:
            stats = await self._cluster.connection.ask(
                lambda client: client.indices.stats(index=name, metric="indexing,search,merge"), is_request=False
            )
        except IndexMovedError:
            return False
        parts = stats["_all"]["primaries"]
        if parts["merges"]["current"]:
            return False
        activity = parts["indexing"]["index_total"] + parts["search"]["query_total"]
        seen, looks = self._stalled.get(name, (activity, 0))
        self._stalled[name] = (activity, looks + 1 if seen == activity else 0)
        return self._stalled[name][1] >= ABANDONED_LOOKS

    async def _fill(self, kind: Kind, name: str, rows: VectorRows, on_progress: OnRebuild) -> BitMap:
        """Send every live document that has a row, and what changes meanwhile; the ordinals that were sent."""
        indexed, revision = BitMap(), 0
        for _ in range(PASSES):
            passed = 0
            while True:
                records, reached = await self._changed(kind, revision)
                live = await self._send(kind, name, rows, records)
                indexed = (indexed - BitMap([record.ordinal for record in records])) | live
                revision, passed = max(reached, revision), passed + len(records)
                on_progress(kind, min(len(indexed), len(rows.bias)), len(rows.bias))
                if len(records) < PAGE:
                    break
            if passed < PAGE:
                break
        await self._write(vector_bodies.followed(name, revision))
        await self._cluster.refresh(name)
        return indexed

    async def _changed(self, kind: Kind, since: int) -> tuple[list[Record], int]:
        """A page of what has changed in the catalogue, and how far nothing is missing in it."""
        try:
            return await self._followers[kind].records(since, PAGE)
        except IndexMovedError:
            self._layout.forget(kind)  # a rebuild has put another index in place
            return await self._followers[kind].records(since, PAGE)

    async def _send(self, kind: Kind, name: str, rows: VectorRows, records: Sequence[Record]) -> BitMap:
        """Write the rows of live documents, clear those of others; the ordinals that now have one."""
        ordinals = np.array([record.ordinal for record in records], dtype=np.uint32)
        row_of = rows.side.rows(ordinals)
        known = np.flatnonzero(row_of >= 0)
        vectors = unit_rows(rows, row_of[known], longest_of(rows))
        lines: list[Body] = []
        live = BitMap()
        for place, vector in zip(known.tolist(), vectors.tolist(), strict=True):
            record = records[place]
            if record.stored is None:
                lines += vector_bodies.no_row(name, record)
            else:
                lines += vector_bodies.row(name, kind, record, vector)
                live.add(record.ordinal)
        await self._write(lines)
        return live

    async def _write(self, lines: Sequence[Body]) -> None:
        for item in await self._cluster.bulk(lines) if lines else ():
            if "error" in item and item["status"] != CONFLICT:  # a conflict: somebody has brought this state already
                raise failure_of(item["error"]["type"], item["status"])

    async def _measure(self, name: str, rows: VectorRows, indexed: BitMap) -> float:
        """Recall of the samples, the worse of two means: without a filter, and under one that a tenth of them pass."""
        everything = np.asarray(indexed.to_array(), dtype=np.uint32)
        start = len(everything) // 3
        narrow = everything[start : start + max(1, round(NARROW_SHARE * len(everything)))]
        recalls = []
        for among in (everything, narrow):
            if not len(among):
                continue
            clause = {"range": {"ordinal": {"gte": int(among[0]), "lte": int(among[-1])}}}
            found = []
            for start in range(0, len(rows.samples), SAMPLES_AT_ONCE):
                samples = rows.samples[start : start + SAMPLES_AT_ONCE]
                searches = [_nearest(sample, LEAST, [clause]) for sample in samples]
                pages = await self._cluster.search(name, searches, is_request=False, only=("sort",))
                for sample, hits in zip(samples, pages, strict=True):
                    nominees = np.array([hit["sort"][0] for hit in hits], dtype=np.uint32)
                    terms = Terms(rows.side, dense=(Dense("interest", sample[:-1]),), bias=(Bias("bias", rows.bias),))
                    found.append(await asyncio.to_thread(recall_of, terms, among, nominees))
            if found:
                recalls.append(float(np.mean(found)))
        return min(recalls, default=1.0)

    async def follow(self, kind: Kind, version: str, rows: VectorRows) -> int | None:
        """See VectorIndex. Visible to the next search when it returns. Raises UnavailableError."""
        return await self._cluster.connection.run(self._follow(kind, version, rows))

    async def _follow(self, kind: Kind, version: str, rows: VectorRows) -> int | None:
        known = self._known[kind, version] = await self._find(kind, version)
        if known is None:
            return None
        revision = await self._followed(known.index)
        if revision is None:
            return None
        taken = 0
        while True:
            records, reached = await self._changed(kind, revision)
            await self._send(kind, known.index, rows, records)
            taken, revision = taken + len(records), max(reached, revision)
            if len(records) < PAGE:
                break
        if taken:
            await self._write(vector_bodies.followed(known.index, revision))
            await self._cluster.refresh(known.index)
        return taken

    async def _followed(self, name: str) -> int | None:
        """Up to what revision of the catalogue an index has followed; None when it is gone."""

        async def get(client: Any) -> int | None:
            try:
                answer = await client.get(index=name, id=vector_bodies.STATE)
            except NotFoundError:
                return None
            return int(answer["_source"]["followed"]["revision"])

        return await self._cluster.connection.ask(get, is_request=False)

    async def retire(self, kept: Collection[str]) -> None:
        """See VectorIndex; unfinished ones, too. Raises UnavailableError."""
        await self._cluster.connection.run(self._retire(kept))

    async def _retire(self, kept: Collection[str]) -> None:
        found = await self._cluster.connection.ask(
            lambda client: client.indices.get(index=f"{self._prefix}-*", filter_path="*.aliases"), is_request=False
        )
        wanted = {self._alias(kind, version) for kind in Kind for version in kept}
        await self._delete([name for name in found if name.rpartition(".")[0] not in wanted])
        self._known = {key: known for key, known in self._known.items() if key[1] in kept}

    async def _delete(self, names: Sequence[str]) -> None:
        if names:
            await self._cluster.connection.ask(
                lambda client: client.indices.delete(index=list(names), ignore_unavailable=True), is_request=False
            )


def _nearest(vector: npt.NDArray[np.float64], k: int, filters: Sequence[Body]) -> Body:
    candidates = min(vector_bodies.MOST_CANDIDATES, CANDIDATES_PER_NOMINEE * k)
    return vector_bodies.nearest(unit_query(vector).tolist(), k, candidates, filters)
