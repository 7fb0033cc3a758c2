"""Ids: the marketplace's own, checked, and the Relay ids that wrap them.

A Relay id is one letter for the type and the own id, sealed. The checksum makes the two kinds
tell each other apart: a string that happens to be a Relay id by chance is one in four billion.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import strawberry

from gateway.graphql.errors import WrongIdKindError
from gateway.graphql.sealed import seal, unseal
from recommender.documents import MAX_ID_BYTES
from recommender.errors import BadInputError

MAX_IDS = 1_000  # in one list of a filter


class NodeType(enum.Enum):
    """What a Relay id can name, and its letter in one."""

    TALENT = "T"
    JOB = "J"
    CLIENT = "C"


_TYPE_OF_LETTER = {kind.value.encode(): kind for kind in NodeType}
_FIRST_LETTERS = frozenset(seal(letter)[0] for letter in _TYPE_OF_LETTER)
_MAX_RELAY_LENGTH = (1 + MAX_ID_BYTES + 4) * 4 // 3 + 3


def relay_id(node_type: NodeType, own_id: str) -> strawberry.ID:
    """The Relay id of a type and the marketplace's own id."""
    return strawberry.ID(seal(f"{node_type.value}{own_id}".encode()))


def parse_relay_id(text: str) -> tuple[NodeType, str] | None:
    """The type and own id in a Relay id; None when it is none."""
    if text[:1] not in _FIRST_LETTERS:  # of most own ids, which are then looked at no further
        return None
    body = unseal(text, _MAX_RELAY_LENGTH)
    if body is None or body[:1] not in _TYPE_OF_LETTER:
        return None
    try:
        return _TYPE_OF_LETTER[body[:1]], body[1:].decode()
    except UnicodeDecodeError:
        return None


def own_id(text: str, what: str) -> str:
    """The marketplace's own id, checked. `what` names the argument in the error.

    Raises: WrongIdKindError for a Relay id, BadInputError for a wrong length.
    """
    size = len(text.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise BadInputError(f"{what}: an id has 1 to {MAX_ID_BYTES} bytes; got {size}")
    if parse_relay_id(text) is not None:
        raise WrongIdKindError(
            f"{what}: this is a Relay id (the field `id`); the marketplace's own id belongs here. Use node(id:) for it"
        )
    return text


def own_ids(texts: Sequence[str], what: str) -> tuple[str, ...]:
    """Several own ids, checked each."""
    if len(texts) > MAX_IDS:
        raise BadInputError(f"{what}: at most {MAX_IDS} ids; got {len(texts)}")
    return tuple(own_id(text, what) for text in texts)
