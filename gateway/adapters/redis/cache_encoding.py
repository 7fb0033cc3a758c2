"""A cached list or document as bytes: a mark and a schema number, a checksum over key and content, then the content.

A list is a short JSON array and the bytes of its arrays, little-endian: some 12 bytes for each item. The checksum tells
what is torn, was altered or was written under another key; whatever cannot be read is as good as absent.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from pyroaring import BitMap

from gateway.adapters.documents import document_from_stored, stored_from_document
from recommender.columns import bitmap_of, ordinals_in
from recommender.documents import Kind
from recommender.ports import CachedDocument, CachedList, CachedMutual
from recommender.query import Strategy

SCHEMA = 2  # raise it when the meaning of any byte changes: what is there then becomes garbage, and is written anew

_HEAD = struct.Struct("<2sBxI8s")  # mark, schema, size of the JSON array, checksum
_LIST, _DOCUMENT = b"TL", b"TD"
_WHOLE_UNITS = 65_535  # units are whole numbers, far below this: two bytes do for each

Array = npt.NDArray[Any]


class GarbageError(Exception):
    """The bytes are not what this version wrote under this key."""


def encoded_list(key: str, kept: CachedList) -> bytes:
    """The bytes of a list under a key."""
    shared = bitmap_of(kept.shared).serialize()  # runs and bits: a fraction of four bytes each where many share
    mutual = kept.mutual
    is_small = bool(np.all((kept.units >= 0) & (kept.units <= _WHOLE_UNITS) & (kept.units == np.floor(kept.units))))
    units = kept.units.astype("<u2") if is_small else kept.units.astype("<f8")
    facts = [
        kept.made_at_ms,
        kept.revision,
        kept.basis,
        kept.strategy.value,
        kept.traits,
        kept.is_whole,
        [len(kept.rows), len(kept.vector), len(shared), len(kept.units), len(kept.best)],
        is_small,
        [len(kept.suited), None if mutual is None else [len(mutual.rows), len(mutual.vector), len(mutual.suited)]],
        None if mutual is None else mutual.weight,
    ]
    parts = [
        kept.rows.astype("<i4").tobytes(),
        kept.weights.astype("<f8").tobytes(),
        kept.vector.astype("<f8").tobytes(),
        shared,
        units.tobytes(),
        kept.best.astype("<u4").tobytes(),
        kept.scores.astype("<f8").tobytes(),
        kept.suited.astype("<f8").tobytes(),
    ]
    if mutual is not None:
        parts += [
            mutual.rows.astype("<i4").tobytes(),
            mutual.weights.astype("<f8").tobytes(),
            mutual.vector.astype("<f8").tobytes(),
            mutual.suited.astype("<f8").tobytes(),
        ]
    return _sealed(_LIST, key, orjson.dumps(facts), b"".join(parts))


def decoded_list(key: str, value: bytes) -> CachedList:
    """The list of these bytes. Raises GarbageError."""
    facts, body = _opened(_LIST, key, value)
    try:
        made_at_ms, revision, basis, strategy, traits, is_whole, counts, is_small, others, weight = facts
        rows, width, shared, units, best = counts
        reader = _Reader(body)
        found = CachedList(
            made_at_ms=made_at_ms,
            revision=revision,
            basis=basis,
            strategy=Strategy(strategy),
            traits=tuple((field, text, count) for field, text, count in traits),
            is_whole=is_whole,
            rows=reader.array("<i4", rows),
            weights=reader.array("<f8", rows),
            vector=reader.array("<f8", width),
            shared=ordinals_in(BitMap.deserialize(reader.bytes(shared))),
            units=reader.array("<u2" if is_small else "<f8", units).astype(np.float64),
            best=reader.array("<u4", best),
            scores=reader.array("<f8", best),
            suited=reader.array("<f8", others[0]),
            mutual=None if others[1] is None else reader.mutual(others[1], float(weight)),
        )
        reader.end()
    except (ValueError, TypeError, KeyError) as error:
        raise GarbageError from error
    return found


def encoded_document(key: str, kind: Kind, kept: CachedDocument) -> bytes:
    """The bytes of a document under a key."""
    document = kept.document
    facts = [kept.revision, document.ordinal, document.id, stored_from_document(kind, document)]
    return _sealed(_DOCUMENT, key, orjson.dumps(facts), b"")


def decoded_document(key: str, kind: Kind, value: bytes) -> CachedDocument:
    """The document of these bytes. Raises GarbageError."""
    facts, _ = _opened(_DOCUMENT, key, value)
    try:
        revision, ordinal, document_id, stored = facts
        return CachedDocument(revision, document_from_stored(kind, ordinal, document_id, stored))
    except (ValueError, TypeError, KeyError) as error:
        raise GarbageError from error


class _Reader:
    """Takes one part after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def bytes(self, size: int) -> bytes:
        start, self._at = self._at, self._at + size
        if size < 0 or self._at > len(self._content):
            raise ValueError("too short")
        return self._content[start : self._at]

    def array(self, form: str, count: int) -> Array:
        kind = np.dtype(form)
        return np.frombuffer(self.bytes(count * kind.itemsize), kind)

    def mutual(self, counts: Sequence[int], weight: float) -> CachedMutual:
        rows, width, by_content = counts
        return CachedMutual(
            rows=self.array("<i4", rows),
            weights=self.array("<f8", rows),
            vector=self.array("<f8", width),
            suited=self.array("<f8", by_content),
            weight=weight,
        )

    def end(self) -> None:
        if self._at != len(self._content):
            raise ValueError("too long")


def _sealed(mark: bytes, key: str, facts: bytes, body: bytes) -> bytes:
    return b"".join([_HEAD.pack(mark, SCHEMA, len(facts), _checksum(key, facts, body)), facts, body])


def _opened(mark: bytes, key: str, value: bytes) -> tuple[Any, bytes]:
    if len(value) < _HEAD.size:
        raise GarbageError
    found, schema, size, checksum = _HEAD.unpack_from(value)
    facts, body = value[_HEAD.size : _HEAD.size + size], value[_HEAD.size + size :]
    if found != mark or schema != SCHEMA or checksum != _checksum(key, facts, body):
        raise GarbageError
    try:
        return orjson.loads(facts), body
    except orjson.JSONDecodeError as error:
        raise GarbageError from error


def _checksum(key: str, facts: bytes, body: bytes) -> bytes:
    digest = blake2b(key.encode(), digest_size=8)
    digest.update(facts)
    digest.update(body)
    return digest.digest()
