"""Spreading the jobs of one client over a list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recommender.rerank import WINDOW, spread_clients

CLIENTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), max_size=60)


def greedy(clients: list[str | None], most: int) -> list[int]:
    """The same rule, by looking through everything that is left at every row."""
    left, listed = list(range(len(clients))), list[int]()
    while left:
        recent = [clients[place] for place in listed[-(WINDOW - 1) :]]
        free = [place for place in left if clients[place] is None or recent.count(clients[place]) < most]
        listed.append(free[0] if free else left[0])
        left.remove(listed[-1])
    return listed


@given(CLIENTS, st.integers(1, 12))
def test_the_order_is_that_of_the_plain_rule(clients: list[str | None], most: int) -> None:
    assert spread_clients(clients, most) == greedy(clients, most)


@given(CLIENTS)
def test_a_limit_that_nobody_reaches_changes_nothing(clients: list[str | None]) -> None:
    assert spread_clients(clients, WINDOW) == list(range(len(clients)))


def test_a_client_alone_keeps_every_row() -> None:
    assert spread_clients(["a"] * 5, 1) == [0, 1, 2, 3, 4]


def test_items_pushed_back_keep_their_order() -> None:
    assert spread_clients(["a", "a", "a", "b", None, None], 1) == [0, 3, 4, 5, 1, 2]
