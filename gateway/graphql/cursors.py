"""Cursors and consistency tokens: opaque, checked against tearing, and cursors with the time they were given out.

Text form: a sealed JSON array. They hold no secret and grant nothing: a forged one only names
another place in a list that its bearer may read anyway.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from gateway.graphql.sealed import seal, unseal
from recommender.errors import BadInputError, CursorExpiredError
from recommender.query import Pins, Position
from recommender.search import SearchPosition

LIFETIME_MS = 24 * 3_600_000
_RANKED, _SEARCH, _INTERACTIONS, _TOKEN = "r", "s", "i", "t"
_MAX_LENGTH = 4_096  # a genuine one stays below: 256 bytes of id, each escaped to six, in base64


@dataclass(frozen=True, slots=True)
class SearchCursor:
    """A place in a search. digest: of the filter, text and order it was made for."""

    position: SearchPosition
    digest: str


@dataclass(frozen=True, slots=True)
class InteractionCursor:
    """A place in a log, newest first: the events with a lower seq come next."""

    seq: int
    digest: str


@dataclass(frozen=True, slots=True)
class ConsistencyToken:
    """How far each store had come: seq of the event log, revisions of the catalogue (0: says nothing)."""

    events: int = 0
    talents: int = 0
    jobs: int = 0


def digest_of(*parts: object) -> str:
    """A short digest of what a list was asked with; parts have a stable repr (frozen dataclasses, enums, text)."""
    return blake2b(repr(parts).encode(), digest_size=9).hexdigest()


def encode_position(position: Position, now_ms: int) -> str:
    """The cursor of one item of a ranked list."""
    pins = position.pins
    return _pack(
        [
            _RANKED,
            now_ms,
            pins.model_version,
            pins.history,
            pins.as_of_ms,
            pins.seed,
            position.score,
            position.id,
            position.rank,
            position.digest,
        ]
    )


def decode_position(cursor: str, now_ms: int) -> Position:
    """The place a ranked list's cursor names. Raises BadInputError, CursorExpiredError."""
    match _unpack(cursor, _RANKED, now_ms):
        case [
            str(version),
            int(history),
            int(as_of_ms),
            int(seed),
            int() | float() as score,
            str(id_),
            int(rank),
            str(digest),
        ] if math.isfinite(score) and rank >= 1:
            return Position(Pins(version, history, as_of_ms, seed), float(score), id_, rank, digest)
    raise _torn()


def encode_search(cursor: SearchCursor, now_ms: int) -> str:
    """The cursor of one document of a search."""
    return _pack([_SEARCH, now_ms, cursor.position.value, cursor.position.id, cursor.digest])


def decode_search(cursor: str, digest: str, now_ms: int, name: str = "after") -> SearchPosition:
    """The place a search's cursor names; `name` is the argument's, for the errors.

    Raises BadInputError (torn, of another list), CursorExpiredError.
    """
    match _unpack(cursor, _SEARCH, now_ms, name):
        case [None | int() | float() as value, str(id_), str(given)]:
            if given != digest:
                raise _foreign(name)
            return SearchPosition(None if value is None else float(value), id_)
    raise _torn(name)


def encode_interaction(cursor: InteractionCursor, now_ms: int) -> str:
    """The cursor of one event of an interactions list."""
    return _pack([_INTERACTIONS, now_ms, cursor.seq, cursor.digest])


def decode_interaction(cursor: str, digest: str, now_ms: int, name: str = "after") -> int:
    """The seq an interactions cursor names. Raises BadInputError (torn, of another list), CursorExpiredError."""
    match _unpack(cursor, _INTERACTIONS, now_ms, name):
        case [int(seq), str(given)]:
            if given != digest:
                raise _foreign(name)
            return seq
    raise _torn(name)


def encode_token(token: ConsistencyToken) -> str:
    """The text of a consistency token."""
    return _pack([_TOKEN, token.events, token.talents, token.jobs])


def decode_token(text: str) -> ConsistencyToken:
    """A consistency token that this service gave out. Raises BadInputError."""
    match _load(text):
        case [kind, int(events), int(talents), int(jobs)] if kind == _TOKEN and min(events, talents, jobs) >= 0:
            return ConsistencyToken(events, talents, jobs)
    raise BadInputError("Tandem-Consistency-Token: expected a `token` of an earlier answer, unchanged")


def _pack(values: list[Any]) -> str:
    return seal(orjson.dumps(values))


def _load(text: str) -> Any:
    """The array inside, None when the text was not made by `_pack`."""
    body = unseal(text, _MAX_LENGTH)
    try:
        return None if body is None else orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _unpack(cursor: str, kind: str, now_ms: int, name: str = "after") -> list[Any]:
    match _load(cursor):
        case [str(given), int(issued_ms), *values]:
            if given != kind:
                raise _foreign(name)
            if now_ms - issued_ms > LIFETIME_MS:
                raise CursorExpiredError(
                    f"{name}: cursors live 24 hours and this one is older; start again without `{name}`"
                )
            return values
    raise _torn(name)


def _torn(name: str = "after") -> BadInputError:
    return BadInputError(
        f"{name}: expected a cursor of this list (`endCursor` or an edge's `cursor`), unchanged; it is torn"
    )


def _foreign(name: str) -> BadInputError:
    return BadInputError(
        f"{name}: this cursor belongs to another list; expected one of the same list, filter, query and sort"
    )
