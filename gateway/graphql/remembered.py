"""What was made of an object, for as long as the same object comes again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gateway.graphql.selections import ANSWERS

MOST = 4_096  # objects of each kind, some kilobytes each

Source = TypeVar("Source")
Made = TypeVar("Made")
_ALL: list[dict[int, tuple[Any, Any]]] = []


def forget_remembered() -> None:
    """Keep nothing that was made so far: one of the objects is gone for good."""
    for kept in _ALL:
        kept.clear()


def remembered(make: Callable[[Source], Made]) -> Callable[[Source], Made]:
    """The function, which makes the same thing only once of an object that does not change.

    By identity: a document of the cache is one object until it changes, and comparing it costs more than making it.
    What is made is shared between requests, so nobody may change it. What a selection says of it is kept with it, see
    selections.py.
    """
    kept: dict[int, tuple[Source, Made]] = {}
    _ALL.append(kept)

    def once(source: Source) -> Made:
        found = kept.get(id(source))
        if found is not None:  # it holds its source, so no other object has this identity
            return found[1]
        if len(kept) >= MOST:
            del kept[next(iter(kept))]
        made = make(source)
        setattr(made, ANSWERS, {})
        kept[id(source)] = (source, made)
        return made

    return once
