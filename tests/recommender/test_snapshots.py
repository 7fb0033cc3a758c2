"""Snapshots of lists that are being paged: which are kept, and how many."""

from __future__ import annotations

import numpy as np
import pytest

from recommender import snapshots
from recommender.query import Pins, Strategy
from recommender.scoring import Sparse
from recommender.snapshots import LIFE_MS, Snapshot, Snapshots

PINS = [Pins("m1", 0, as_of_ms) for as_of_ms in range(5)]


def content(items: int) -> Snapshot:
    shared = Sparse("content", np.arange(items, dtype=np.uint32), np.ones(items))
    return Snapshot(Strategy.CONTENT, None, (), shared)


def kept(store: Snapshots, now_ms: int = 0) -> list[int]:
    return [number for number, pins in enumerate(PINS) if store.get(pins, "d", now_ms) is not None]


def test_what_was_not_used_for_longest_goes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "KEPT", 3)
    store = Snapshots()
    for pins in PINS[:3]:
        store.put(pins, "d", content(1))
    assert store.get(PINS[0], "d", 0) is not None
    store.put(PINS[3], "d", content(1))
    assert kept(store) == [0, 2, 3]


def test_what_was_not_used_for_longest_goes_when_they_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "KEPT_BYTES", 300 * 12)
    store = Snapshots()
    for pins in PINS[:3]:
        store.put(pins, "d", content(100))
    for _ in range(5):  # the next pages of a list keep it as it is
        store.put(PINS[2], "d", content(100))
    assert kept(store) == [0, 1, 2]
    store.put(PINS[3], "d", content(101))
    assert kept(store) == [2, 3]
    store.put(PINS[4], "d", content(1_000))  # too large by itself: kept until another comes
    assert kept(store) == [4]
    store.put(PINS[0], "d", Snapshot(Strategy.POPULAR, None))
    assert kept(store) == [0]


def test_a_snapshot_older_than_its_cursors_is_not_given() -> None:
    store = Snapshots()
    store.put(PINS[0], "d", content(1))
    assert (kept(store, LIFE_MS), kept(store, LIFE_MS + 1)) == ([0], [])
