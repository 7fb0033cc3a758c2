"""Spreading the jobs of one client over a list."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender import rerank
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


def keeps(listed: list[str | None], most: int, window: int = WINDOW) -> bool:
    """Whether no window of the list has more than `most` of one client."""
    named = [[client for client in listed[row : row + window] if client] for row in range(len(listed))]
    return all(max(Counter(clients).values(), default=0) <= most for clients in named)


def can_be_kept(clients: list[str | None], most: int, window: int) -> bool:
    """Whether any order keeps the limit, by trying all that differ."""

    @cache
    def rest_fits(left: tuple[tuple[str | None, int], ...], recent: tuple[str | None, ...]) -> bool:
        return not left or any(
            rest_fits(
                tuple((name, count - (name == client)) for name, count in left if count > (name == client)),
                (*recent, client)[-(window - 1) :],
            )
            for client, _ in left
            if client is None or recent.count(client) < most
        )

    return rest_fits(tuple(Counter(clients).items()), ())


@given(CLIENTS, st.integers(1, 12))
def test_the_order_is_that_of_the_plain_rule_wherever_that_keeps_the_limit(
    clients: list[str | None], most: int
) -> None:
    plain, order = greedy(clients, most), spread_clients(clients, most)
    assert sorted(order) == list(range(len(clients)))
    if keeps([clients[place] for place in plain], most):
        assert order == plain
    elif order != plain:
        assert keeps([clients[place] for place in order], most)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=11), st.integers(1, 3), st.integers(3, 5))
def test_the_limit_is_kept_whenever_any_order_keeps_it(clients: list[str | None], most: int, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rerank, "WINDOW", window)
        order = spread_clients(clients, most)
    assert keeps([clients[place] for place in order], most, window) == can_be_kept(clients, most, window)


def test_jobs_of_one_client_at_the_end_of_a_list_are_taken_earlier() -> None:
    clients = [*"bcdefghijkl", "a", "a"]  # the two of a would be neighbours
    assert [clients[place] for place in spread_clients(clients, 1)] == list("bcadefghijkla")


@given(CLIENTS)
def test_a_limit_that_nobody_reaches_changes_nothing(clients: list[str | None]) -> None:
    assert spread_clients(clients, WINDOW) == list(range(len(clients)))


def test_a_client_alone_keeps_every_row() -> None:
    assert spread_clients(["a"] * 5, 1) == [0, 1, 2, 3, 4]


def test_items_pushed_back_keep_their_order() -> None:
    assert spread_clients(["a", "a", "a", "b", None, None], 1) == [0, 3, 4, 5, 1, 2]
