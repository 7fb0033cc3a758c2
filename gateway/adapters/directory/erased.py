"""A model without one of its rows, and the numbers of that row in a file that others have mapped."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recommender.coarse import coarse_from_factors
from recommender.documents import Kind
from recommender.model import Descriptions, Model, Neighbours, Side

ROWS = ("factors", "popularity", "lent", "codes")  # the arrays that have a row for each ordinal


def without_row(model: Model, kind: Kind, ordinal: int) -> Model:
    """The same model as if nothing had ever been learnt of one talent or job; itself where nothing was."""
    is_talent = kind is Kind.TALENT
    talents = _without(model.talents, ordinal) if is_talent else model.talents
    jobs = model.jobs if is_talent else _without(model.jobs, ordinal)
    clients = model.clients
    if clients is not None:
        names = ("talents", "suited_talents") if is_talent else ("jobs", "suited_jobs")
        sides = {name: getattr(clients, name) for name in names}
        left = {name: _without(side, ordinal) for name, side in sides.items()}
        clients = replace(clients, **left) if any(left[name] is not sides[name] for name in names) else clients
    hidden = model.hidden.without(kind, ordinal)
    if talents is model.talents and jobs is model.jobs and clients is model.clients and hidden is model.hidden:
        return model
    manifest = replace(model.manifest, is_without=True)
    return replace(model, talents=talents, jobs=jobs, clients=clients, hidden=hidden, manifest=manifest)


def row_of(ordinals: npt.NDArray[np.uint32], ordinal: int) -> int | None:
    """The place of an ordinal among ascending ones."""
    place = int(np.searchsorted(ordinals, ordinal))
    return place if place < len(ordinals) and int(ordinals[place]) == ordinal else None


def _without(side: Side, ordinal: int) -> Side:
    row = row_of(side.ordinals, ordinal)
    if row is None:
        return side
    learnt = side.is_learnt.copy()
    learnt[row] = False
    codes, scales = side.coarse.codes.copy(), side.coarse.scales.copy()
    codes[row], scales[row] = (
        part[0] for part in coarse_from_factors(np.zeros((1, side.factors.shape[1]), np.float32))
    )
    return Side(
        ordinals=side.ordinals,
        factors=_zeroed(side.factors, row),
        popularity=_zeroed(side.popularity, row),
        neighbours=_apart(side.neighbours, row),
        learnt=learnt,
        lent=None if side.lent is None else _zeroed(side.lent, row),
        descriptions=_undescribed(side.descriptions, row),
        codes=(codes, scales),
    )


def _zeroed(array: npt.NDArray[Any], row: int) -> npt.NDArray[Any]:
    left = array.copy()
    left[row] = 0
    return left


def _apart(found: Neighbours, row: int) -> Neighbours:
    """Without what the row leads to, and without what leads to it."""
    if len(found.starts) == 1:
        return found
    kept = found.columns != row
    kept[found.starts[row] : found.starts[row + 1]] = False
    return Neighbours(_starts(found.starts, kept), found.columns[kept], found.strengths[kept])


def _undescribed(said: Descriptions, row: int) -> Descriptions:
    if len(said.starts) == 1:
        return said
    kept = np.ones(len(said.columns), np.bool_)
    kept[said.starts[row] : said.starts[row + 1]] = False
    return replace(said, starts=_starts(said.starts, kept), columns=said.columns[kept], values=said.values[kept])


def _starts(starts: npt.NDArray[np.int64], kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Where the rows begin when some entries are gone."""
    left: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(kept)])[starts].astype(np.int64)
    return left
