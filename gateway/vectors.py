"""Keeps the serving model's vector index: made where missing, current with the catalogue, old ones removed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from recommender.documents import Kind
from recommender.errors import NoModelError, TandemError
from recommender.ports import OnRebuild, VectorIndex
from recommender.versions import LoadedModel

FOLLOW_SECONDS = 1.0
KEPT_VERSIONS = 2  # the serving model's and that before it, which lists that were begun with it still ask for

_log = structlog.get_logger("tandem.vectors")


def _quietly(_kind: Kind, _done: int, _of: int) -> None:
    """Nobody is looking."""


async def publish_vectors(
    index: VectorIndex, loaded: LoadedModel, least_rows: int, on_progress: OnRebuild = _quietly, *, anew: bool = False
) -> dict[Kind, float | None]:
    """Make the indices of a model that has enough rows to be worth one; the recall of each, None for one that another
    process is making. Raises UnavailableError."""
    version = loaded.model.manifest.version
    recalls = {}
    for kind in Kind:
        rows = loaded.vector_rows(kind)
        if len(rows.bias) >= least_rows:
            recalls[kind] = await index.publish(kind, version, rows, on_progress, anew=anew)
    return recalls


async def keep_vectors(
    index: VectorIndex,
    serving: Callable[[], LoadedModel],
    least_rows: int,
    every_seconds: float = FOLLOW_SECONDS,
) -> None:
    """Follow the catalogue with the index of the model that serves, for ever. What fails is logged and tried again."""
    seen: deque[str] = deque(maxlen=KEPT_VERSIONS)
    while True:
        try:
            await keep_once(index, serving(), least_rows, seen)
        except NoModelError:
            pass  # nothing is published yet
        except TandemError as error:
            _log.error("vectors not kept", reason=str(error))
        except Exception as error:  # noqa: BLE001 — this task must outlive whatever a server can answer
            _log.error("vectors not kept", error=type(error).__name__)
        await asyncio.sleep(every_seconds)


async def keep_once(index: VectorIndex, loaded: LoadedModel, least_rows: int, seen: deque[str]) -> None:
    """One look: follow what is there, make what is missing, then remove what is neither this model's nor the last's.

    seen: versions that served, the newest last; gets this one.
    """
    version = loaded.model.manifest.version
    if version not in seen:
        seen.append(version)
    made = False
    for kind in Kind:
        rows = loaded.vector_rows(kind)
        if len(rows.bias) < least_rows or await index.follow(kind, version, rows) is not None:
            continue
        recall = await index.publish(kind, version, rows, _quietly)
        if recall is not None:
            made = True
            _log.info("vectors made", version=version, kind=kind.value, recall=round(recall, 4))
    if made:
        await index.retire(seen)
